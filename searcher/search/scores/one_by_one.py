"""The plain way to φ: architectures trained one after the other."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from searcher.search.scores.measuring import Measured
from searcher.search.scores.rmi import RmiScorer, RmiSettings, TrainingDivergedError
from searcher.spaces.architecture import Architecture


class OneByOne:
    """Measures `rmi` and `loss` with an `RmiScorer`; fits `Measurer`."""

    names = ("rmi", "loss")

    def __init__(self, scorer: RmiScorer, settings: RmiSettings, trained_on: Mapping[str, Any]) -> None:
        """Take a scorer.

        Args:
            scorer: trains.
            settings: that it trains with.
            trained_on: what else its answers depend on, such as the data and the reference, as JSON has it.
        """
        self._scorer = scorer
        self.identity: Mapping[str, Any] = {"training": dataclasses.asdict(settings), **trained_on}

    def measure(self, architectures: Sequence[Architecture]) -> list[Measured]:
        """Train each architecture; a training that diverges is a problem."""
        return [self._measured(architecture) for architecture in architectures]

    def _measured(self, architecture: Architecture) -> Measured:
        try:
            score = self._scorer.score(architecture)
        except TrainingDivergedError as e:
            return Measured({}, str(e))
        return Measured({"rmi": score.rmi, "loss": score.loss})


class PlainRmi:
    """φ itself; fits `Score`."""

    name = "rmi"
    values = ("rmi",)

    def scores(self, measured: Sequence[Mapping[str, float]]) -> NDArray[np.float64]:
        """Return (n,) φ of n architectures."""
        return np.array([values["rmi"] for values in measured], np.float64)
