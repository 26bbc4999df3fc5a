"""What every cost model answers, and what can be asked of any of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from searcher.errors import SearcherError
from searcher.spaces.architecture import Architecture
from searcher.spaces.space import SearchSpace


class CostModel(Protocol):
    """Predicts what an architecture costs on one device."""

    def latency_ms(self, architecture: Architecture) -> float:
        """Return the predicted median latency of one inference, in ms."""


class ImpossibleLimitError(SearcherError):
    """No architecture of the space can keep the limit."""


@dataclass(frozen=True)
class LatencyRange:
    """The predicted latencies of a space's connected architectures, in ms."""

    low_ms: float
    high_ms: float

    @property
    def middle_ms(self) -> float:
        """The middle of the range."""
        return (self.low_ms + self.high_ms) / 2

    def require_possible(self, limit_ms: float) -> None:
        """Raise ImpossibleLimitError, with the minimum possible, for a limit below the range."""
        if limit_ms < self.low_ms:
            raise ImpossibleLimitError(
                f"no architecture can keep the limit of {limit_ms:g} ms: the least possible is {self.low_ms:.4f} ms"
            )


def latency_range(space: SearchSpace, cost_model: CostModel) -> LatencyRange:
    """Predict every connected architecture of an enumerable space.

    A disconnected network computes a constant: that is fast, and no answer to any task.
    """
    latencies = [
        cost_model.latency_ms(architecture)
        for architecture in space.architectures()
        if space.is_connected(architecture)
    ]
    return LatencyRange(min(latencies), max(latencies))
