"""What every cost model answers, and what can be asked of any of them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from searcher.errors import SearcherError
from searcher.spaces.architecture import Architecture
from searcher.spaces.space import SearchSpace

# Architectures priced at once: their counts, as floating-point numbers, stay in a processor's second cache.
_PRICED_AT_ONCE = 4096


class CostModel(Protocol):
    """Predicts what an architecture costs on one device."""

    def latency_ms(self, architecture: Architecture) -> float:
        """Return the predicted median latency of one inference, in ms."""

    def latencies_ms(self, genotypes: NDArray[np.integer[Any]]) -> NDArray[np.float64]:
        """Predict a whole population at once.

        Args:
            genotypes: (n, genes) integer encodings.

        Returns:
            (n,) what `latency_ms` says of each, but for rounding.

        Raises:
            BadInputError: these are no encodings of the model's space.
        """


class BoundedCostModel(CostModel, Protocol):
    """A cost model that knows by how much it may be wrong."""

    def upper_ms(self, architecture: Architecture, confidence: float) -> float:
        """Return a latency that the measured one stays below with this probability, in ms.

        Raises:
            BadInputError: the confidence is no share, or too high for what the model was judged by.
        """

    def uppers_ms(self, genotypes: NDArray[np.integer[Any]], confidence: float) -> NDArray[np.float64]:
        """Bound a whole population at once: (n,) what `upper_ms` says of each of (n, genes) encodings, in ms."""


class LinearCostModel(CostModel, Protocol):
    """A cost model that gives each execution of a block its price: latency = counts · prices."""

    @property
    def space(self) -> SearchSpace:
        """The space that counts blocks as the prices expect it."""

    @property
    def block_ms(self) -> NDArray[np.float64]:
        """(B,) the price of one execution of each of the space's `all_blocks()`, in ms; that of the call is paid once.

        A fitted model may have negative ones.
        """


class ImpossibleLimitError(SearcherError):
    """No architecture of the space can keep the limit."""


@dataclass(frozen=True)
class LatencyRange:
    """The predicted latencies of a space's connected architectures, in ms.

    Attributes:
        low_ms: the least latency.
        high_ms: the greatest latency.
        fastest: an architecture that has the least.
        slowest: an architecture that has the greatest.
    """

    low_ms: float
    high_ms: float
    fastest: Architecture
    slowest: Architecture

    @property
    def middle_ms(self) -> float:
        """The middle of the range."""
        return (self.low_ms + self.high_ms) / 2

    def times(self, ratio: float) -> LatencyRange:
        """Return the range of what is the same multiple of every latency, such as an upper bound."""
        return replace(self, low_ms=self.low_ms * ratio, high_ms=self.high_ms * ratio)

    def require_possible(self, limit_ms: float) -> None:
        """Raise ImpossibleLimitError, with the minimum possible, for a limit below the range."""
        if limit_ms < self.low_ms:
            raise ImpossibleLimitError(
                f"no architecture can keep the limit of {limit_ms:g} ms: the least possible is {self.low_ms:.4f} ms"
            )


def latency_range(cost_model: LinearCostModel) -> LatencyRange:
    """Find the fastest and the slowest connected architecture of a model's space by the structure of that.

    A disconnected network computes a constant: that is fast, and no answer to any task.
    """
    found = cost_model.space.extremes(cost_model.block_ms)
    low_ms, high_ms = cost_model.latency_ms(found.least), cost_model.latency_ms(found.most)
    return LatencyRange(low_ms, high_ms, found.least, found.most)


def linear_latencies_ms(
    space: SearchSpace, block_ms: NDArray[np.float64], genotypes: NDArray[np.integer[Any]]
) -> NDArray[np.float64]:
    """Price a whole population: counts · prices, worked out in parts that fit the cache.

    Args:
        space: that counts the blocks.
        block_ms: (B,) the price of one execution of each of its `all_blocks()`, in ms.
        genotypes: (n, genes) integer encodings.

    Returns:
        (n,) latencies in ms.

    Raises:
        BadInputError: these are no encodings of the space.
    """
    latencies = np.empty(len(genotypes))
    # At least one part, so that an empty array of a wrong shape is refused like any other.
    for start in range(0, max(len(genotypes), 1), _PRICED_AT_ONCE):
        rows = slice(start, start + _PRICED_AT_ONCE)
        latencies[rows] = space.block_counts(genotypes[rows]).astype(np.float64) @ block_ms
    return latencies
