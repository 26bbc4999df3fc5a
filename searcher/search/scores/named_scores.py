"""The scores that a user chooses by name, and how several become one."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from searcher.errors import BadInputError
from searcher.search.scores.score import Score


@dataclass(frozen=True)
class ValueScore:
    """One measured value as it is, or its negative; implements Score.

    Attributes:
        name: of the score.
        value: the name of the measured value.
        less_is_better: whether the score is the negative of the value.
    """

    name: str
    value: str
    less_is_better: bool = False

    @property
    def values(self) -> tuple[str, ...]:
        """The name of the one value that it needs."""
        return (self.value,)

    def scores(self, measured: Sequence[Mapping[str, float]]) -> NDArray[np.float64]:
        """Return (n,) scores, each of its own architecture alone."""
        values = np.array([one[self.value] for one in measured], np.float64)
        return -values if self.less_is_better else values


@dataclass(frozen=True)
class FusedScore:
    """The average of an architecture's ranks by several scores, within the population given; implements Score.

    Ranks need no common unit, and no part can outweigh the others by its spread.

    Attributes:
        parts: the scores.
        name: of the fused score.
        weights: one for each part; none weighs all the same.

    Raises:
        BadInputError: there are no parts, or the weights are not one for each, or not positive.
    """

    parts: tuple[Score, ...]
    name: str = "fused"
    weights: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if not self.parts:
            raise BadInputError(f"the score {self.name} needs at least one part")
        if self.weights and (
            len(self.weights) != len(self.parts) or not all(0 < one < math.inf for one in self.weights)
        ):
            raise BadInputError(f"the score {self.name} takes a positive weight for each part, not {self.weights}")

    @property
    def values(self) -> tuple[str, ...]:
        """The names of the values that its parts need, each once."""
        return tuple(dict.fromkeys(value for part in self.parts for value in part.values))

    def scores(self, measured: Sequence[Mapping[str, float]]) -> NDArray[np.float64]:
        """Return (n,) averages of rank ÷ n: above 0, and 1 for what is best by every part; ties share their mean rank.

        Where all parts agree that nobody is better, all have (n + 1) ÷ 2n.
        """
        ranks = np.array([stats.rankdata(part.scores(measured)) for part in self.parts])
        weights = np.array(self.weights or [1.0] * len(self.parts))
        averages: NDArray[np.float64] = weights @ ranks / weights.sum() / max(1, len(measured))
        return averages


RMI = ValueScore("rmi", "rmi")
RMI_LOSS = ValueScore("rmi-loss", "loss", less_is_better=True)
LIVE_PARAMETERS = ValueScore("live-parameters", "live_parameters")
FUSED = FusedScore((RMI, LIVE_PARAMETERS))

# What takes a training stands first, the paper's own before what became of it; then what takes one pass over a network;
# then what is counted. So a list of them for a user goes from the dearest to the cheapest.
NAMED_SCORES: tuple[Score, ...] = (
    RMI,
    RMI_LOSS,
    FUSED,
    ValueScore("synflow", "synflow"),
    ValueScore("naswot", "naswot"),
    ValueScore("parameters", "parameters"),
    ValueScore("flops", "macs"),
)


def score_named(name: str) -> Score:
    """Return the score of a name.

    Raises:
        BadInputError: there is none; the message lists them.
    """
    for score in NAMED_SCORES:
        if score.name == name:
            return score
    names = ", ".join(score.name for score in NAMED_SCORES)
    raise BadInputError(f"there is no score {name!r}, only {names}")
