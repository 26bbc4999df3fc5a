"""What is predicted of NAS-Bench-201 cells by prices of operations under rules of what a device executes.

The prices are a fit's (`network_fit`); what is kept of its sample are the errors that it judges itself by.

The bound of a latency is its prediction plus so many of its standard deviations that a share of at least `confidence`
of the sample stays below, each network held against the fit to the others (the jackknife in the form of normalised
conformal prediction: Lei et al., JASA 2018, 5.2; Barber et al., Annals of Statistics 49, 2021, on what such bounds
guarantee: in practice the confidence, under the worst distribution less). Cells on which the rules agree and those on
which they do not are bounded apart (Mondrian conformal prediction: Vovk, Gammerman and Shafer, Algorithmic Learning in
a Random World, 2005, 4.5), since the latter err more on some devices, and a search's winners are mostly of the former.
Where the rules disagree, the bound is not below what the cell would cost if every edge were executed, either: a search
finds the cells whose dead edges the sample did not tell of.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from searcher.cost_models.conformal import conformal_ratio, networks_for
from searcher.cost_models.cost_model import LatencyRange
from searcher.cost_models.grouped_ridge import Floats, GroupedPrices
from searcher.errors import BadInputError
from searcher.spaces.architecture import Architecture
from searcher.spaces.cell import NONE, OPERATIONS
from searcher.spaces.executed_edges import RULES, executed_edges
from searcher.spaces.nasbench201 import NasBench201

_COMPUTING = [index for index, name in enumerate(OPERATIONS) if name != NONE]
_COEFFICIENTS = 1 + len(RULES) * len(OPERATIONS)


@dataclass(frozen=True)
class CellPrices:
    """All that a prediction is made of; plain numbers, so that they can be written down.

    Attributes:
        coefficients: (1 + rules · operations,): the base, then prices by rule and operation, in ms.
        covariance: of these, row by row, in ms².
        absolute_ms: standard deviation of the part of an error that is the same for all latencies.
        relative: of the part that grows with the latency, as a share of it.
        least_ms: the least latency of the sample; nothing is predicted to be below it.
        errors: of networks on which the rules agree, each measured minus what the fit to the others says, in standard
            deviations; in ascending order.
        doubtful_errors: the same of networks on which they disagree.
    """

    coefficients: tuple[float, ...]
    covariance: tuple[tuple[float, ...], ...]
    absolute_ms: float
    relative: float
    least_ms: float
    errors: tuple[float, ...]
    doubtful_errors: tuple[float, ...]

    def __post_init__(self) -> None:
        """Refuse what no fit has.

        Raises:
            ValueError: numbers are missing, not finite, or of the wrong sign.
        """
        sizes = {len(self.coefficients), len(self.covariance), *map(len, self.covariance)}
        if sizes != {_COEFFICIENTS}:
            raise ValueError(f"prices of cells are {_COEFFICIENTS} coefficients and their covariance")
        numbers = (*self.coefficients, *(number for row in self.covariance for number in row))
        if not all(map(math.isfinite, (*numbers, *self.errors, *self.doubtful_errors))):
            raise ValueError("prices and errors are finite")
        if not (0 < self.least_ms < math.inf and 0 <= self.absolute_ms < math.inf and 0 <= self.relative < math.inf):
            raise ValueError("the least latency is positive, and deviations are not negative")
        if any(self.covariance[place][place] < 0 for place in range(_COEFFICIENTS)):
            raise ValueError("a variance is not negative")

    @classmethod
    def of(cls, prices: GroupedPrices, of_all: Floats, least_ms: float, of_doubtful: NDArray[np.bool_]) -> CellPrices:
        """Take what is needed from a fit.

        Args:
            prices: of the fit.
            of_all: (k, n) errors by which it judges itself, k of each network of its sample, in standard deviations.
            least_ms: the least latency of its sample.
            of_doubtful: (n,) whether the rules disagree on each network of the sample.
        """
        errors, doubted = (np.sort(of_all[:, kind], axis=None) for kind in (~of_doubtful, of_doubtful))
        return cls(
            coefficients=tuple(prices.coefficients.tolist()),
            covariance=tuple(map(tuple, prices.covariance.tolist())),
            absolute_ms=prices.absolute,
            relative=prices.relative,
            least_ms=least_ms,
            errors=tuple(errors.tolist()),
            doubtful_errors=tuple(doubted.tolist()),
        )


class CellModel:
    """Predicts latency, and bounds it; fits `CostModel` and `BoundedCostModel`."""

    def __init__(self, space: NasBench201, prices: CellPrices) -> None:
        """Take prices.

        Args:
            space: of the cells.
            prices: of a fit to networks of that space.
        """
        self._space = space
        self.prices = prices
        self._ridge = GroupedPrices(
            np.array(prices.coefficients), np.array(prices.covariance), prices.absolute_ms, prices.relative
        )

    @property
    def space(self) -> NasBench201:
        """The space whose cells are priced."""
        return self._space

    def latency_ms(self, architecture: Architecture) -> float:
        """Return the predicted median latency of one inference, in ms."""
        return float(self.latencies_ms(self._encoded(architecture))[0])

    def latencies_ms(self, genotypes: NDArray[np.integer[Any]]) -> Floats:
        """Return (n,) predicted latencies in ms, of (n, 6) integer encodings; none is below the sample's least.

        Raises:
            BadInputError: these are no encodings of the space.
        """
        return np.maximum(self._ridge.predict(rule_counts(genotypes)), self.prices.least_ms)

    def upper_ms(self, architecture: Architecture, confidence: float) -> float:
        """Return a latency that the measured one stays below with this probability, in ms.

        It holds for networks drawn at random, as the sample was; a search that looks for low bounds finds those that
        are too low more often than not, so that its winners are measured again.

        Raises:
            BadInputError: the confidence is no share, or too high for the size of the sample.
        """
        return float(self.uppers_ms(self._encoded(architecture), confidence)[0])

    def uppers_ms(self, genotypes: NDArray[np.integer[Any]], confidence: float) -> Floats:
        """Return (n,) bounds as `upper_ms`, of (n, 6) integer encodings, never below the predictions.

        Raises:
            BadInputError: these are no encodings of the space, or the confidence cannot be had.
        """
        features, unsure = rule_counts(genotypes), doubtful(genotypes)
        steps = np.where(unsure, self._steps(True, confidence), self._steps(False, confidence))
        bounds: Floats = self.latencies_ms(genotypes) + steps * self._ridge.deviations(features)
        whole_ms = self._ridge.predict(rule_counts(genotypes, whole=True))
        return np.where(unsure, np.maximum(bounds, whole_ms), bounds)

    def intervals_ms(self, genotypes: NDArray[np.integer[Any]], confidence: float) -> Floats:
        """Return (n, 2) intervals that hold the measured latencies with this probability, in ms, none of them negative.

        Either end leaves out half of what the confidence leaves; the upper one is that of `uppers_ms`.

        Raises:
            BadInputError: these are no encodings of the space, or the confidence cannot be had.
        """
        one_sided = (1 + confidence) / 2
        unsure = doubtful(genotypes)
        steps = np.where(unsure, self._steps(True, one_sided, -1), self._steps(False, one_sided, -1))
        lows = self.latencies_ms(genotypes) - steps * self._ridge.deviations(rule_counts(genotypes))
        return np.stack([np.maximum(lows, 0.0), self.uppers_ms(genotypes, one_sided)], axis=1)

    def latency_range(self, confidence: float | None = None) -> LatencyRange:
        """Return the range of the connected cells' predictions, or of their bounds.

        Raises:
            BadInputError: the confidence cannot be had.
        """
        genotypes = np.indices((len(OPERATIONS),) * 6).reshape(6, -1).T
        genotypes = genotypes[connected_cells(self._space, genotypes)]
        costs = self.latencies_ms(genotypes) if confidence is None else self.uppers_ms(genotypes, confidence)
        ends = (int(costs.argmin()), int(costs.argmax()))
        least, most = (Architecture(self._space.name, tuple(genotypes[at].tolist())) for at in ends)
        return LatencyRange(float(costs.min()), float(costs.max()), least, most)

    def _steps(self, of_doubtful: bool, confidence: float, sign: int = 1) -> float:
        """Return how many standard deviations from its prediction a bound is; all count where one kind is too few.

        Args:
            of_doubtful: whether cells on which the rules disagree are bounded.
            confidence: of the bound.
            sign: 1 for bounds above predictions, -1 for those below.
        """
        own = self.prices.doubtful_errors if of_doubtful else self.prices.errors
        errors = own if len(own) >= networks_for(confidence) else (*self.prices.errors, *self.prices.doubtful_errors)
        return max(0.0, conformal_ratio([sign * error for error in errors], confidence))

    def _encoded(self, architecture: Architecture) -> NDArray[np.int64]:
        if architecture.space != self._space.name:
            raise BadInputError(f"{architecture} is not an architecture of {self._space.name}.")
        return np.array([architecture.genotype], np.int64)


def doubtful(genotypes: NDArray[np.integer[Any]]) -> NDArray[np.bool_]:
    """Return (n,) whether the rules disagree on which operations of a cell are executed.

    Raises:
        BadInputError: these are no encodings of the space.
    """
    counts = executed_edges(genotypes)[:, :, _COMPUTING]
    disagreeing: NDArray[np.bool_] = (counts[RULES.index("all")] != counts[RULES.index("live")]).any(axis=1)
    return disagreeing


def rule_counts(genotypes: NDArray[np.integer[Any]], whole: bool = False) -> Floats:
    """Return (n, rules · operations) counts of operations, rule by rule; `whole` as if none left an edge out.

    Raises:
        BadInputError: these are no encodings of the space.
    """
    counts = executed_edges(genotypes)
    if whole:
        counts[:, :, _COMPUTING] = counts[RULES.index("all")][:, _COMPUTING]
    return np.concatenate(list(counts), axis=1)


def connected_cells(space: NasBench201, genotypes: NDArray[np.integer[Any]]) -> NDArray[np.bool_]:
    """Return (n,) whether the output of each of (n, 6) encodings depends on its input.

    Raises:
        BadInputError: these are no encodings of the space.
    """
    # The stem, which only networks execute whose output depends on their input.
    return np.asarray(space.block_counts(genotypes)[:, 1] > 0)
