"""What tests of the search share: a space, measurers and prices that are known, and candidates."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from searcher.cost_models.prices import LatencyPrice
from searcher.search.candidate import Candidate
from searcher.search.limits import Constraint, Cost, Limit
from searcher.search.scores.measuring import Measured
from searcher.spaces.architecture import Architecture
from searcher.spaces.cell import OPERATIONS
from searcher.spaces.nasbench201 import NasBench201

SPACE = NasBench201()
NOTHING = SPACE.parse("|none~0|+|none~0|none~1|+|none~0|none~1|none~2|")


class CountingCost:
    """Latency: one ms for each 3×3 convolution, also a dead one."""

    def latency_ms(self, architecture: Architecture) -> float:
        return float(SPACE.operations(architecture).count("nor_conv_3x3"))

    def latencies_ms(self, genotypes: NDArray[np.integer[Any]]) -> NDArray[np.float64]:
        convolutions = genotypes == OPERATIONS.index("nor_conv_3x3")
        return np.asarray(convolutions.sum(axis=1), np.float64)


def latency_limit(at_most: float, bound_ratio: float = 1.0) -> Constraint:
    return Constraint(Limit("latency", at_most), LatencyPrice("counted", CountingCost()), bound_ratio)


def convolutions(architecture: Architecture) -> float:
    """A score that likes what costs: live convolutions, as every cell of one `score_key` has them."""
    return SPACE.score_key(architecture).count("nor_conv_3x3") / 2


class Known:
    """Measures what a function says and keeps what it was asked; fits `Measurer`."""

    names = ("worth",)

    def __init__(self, worth: Callable[[Architecture], float] = convolutions, problem: str | None = None) -> None:
        self.identity: Mapping[str, Any] = {}
        self.asked: list[list[Architecture]] = []
        self._worth = worth
        self._problem = problem

    def measure(self, architectures: Sequence[Architecture]) -> list[Measured]:
        self.asked.append(list(architectures))
        if self._problem is not None:
            return [Measured({}, self._problem)] * len(architectures)
        return [Measured({"worth": self._worth(one)}) for one in architectures]


class Worth:
    """The value itself; fits `Score`."""

    name = "worth"
    values = ("worth",)

    def scores(self, measured: Sequence[Mapping[str, float]]) -> NDArray[np.float64]:
        return np.array([one["worth"] for one in measured], np.float64)


class Ranks(Worth):
    """Its rank among those given, as a share; fits `Score`."""

    def scores(self, measured: Sequence[Mapping[str, float]]) -> NDArray[np.float64]:
        values = super().scores(measured)
        return np.asarray([(values < value).mean() for value in values], np.float64)


def candidate(
    name: str,
    score: float | None,
    ms: float,
    *,
    key: str = "",
    rung: int = 1,
    limit_ms: float = 100.0,
    problem: str | None = None,
) -> Candidate:
    """A candidate of one limit on latency."""
    broken = max(0.0, ms / limit_ms - 1)
    feasible = broken == 0 and problem is None
    measured = {} if score is None else {"rmi": score}
    return Candidate(
        name, key or name, score, measured, rung, (Cost("latency", ms, ms),), broken, feasible, 1, 1, problem
    )
