"""Gives architectures their fitness: one training per `score_key`, one prediction per full string."""

from __future__ import annotations

from collections.abc import Callable

from searcher.cost_models.cost_model import CostModel
from searcher.search.candidate import Candidate
from searcher.spaces.architecture import Architecture
from searcher.spaces.space import SearchSpace

ScoreRmi = Callable[[Architecture], float]


def penalty(predicted_ms: float, limit_ms: float) -> float:
    """Return 0 within the limit, else limit minus latency in ms: negative (HW-EvRSNAS, Eq. 5)."""
    return min(0.0, limit_ms - predicted_ms)


class Evaluator:
    """Evaluates architectures under one limit and remembers every one.

    Cells of one `score_key` train alike but differ in latency, up to threefold: the score is shared, the
    constraint is not.
    """

    def __init__(self, space: SearchSpace, score_rmi: ScoreRmi, cost_model: CostModel, limit_ms: float) -> None:
        self._space = space
        self._score_rmi = score_rmi
        self._cost_model = cost_model
        self._limit_ms = limit_ms
        self._scores: dict[str, float] = {}
        self._candidates: dict[Architecture, Candidate] = {}

    @property
    def candidates(self) -> tuple[Candidate, ...]:
        """Every architecture evaluated so far, in order of first evaluation."""
        return tuple(self._candidates.values())

    @property
    def trainings(self) -> int:
        """How many scores were computed."""
        return len(self._scores)

    def __call__(self, architecture: Architecture) -> Candidate:
        """Return the candidate of an architecture, evaluating it if it is new."""
        if architecture not in self._candidates:
            self._candidates[architecture] = self._evaluate(architecture)
        return self._candidates[architecture]

    def _evaluate(self, architecture: Architecture) -> Candidate:
        key = self._space.score_key(architecture)
        if key not in self._scores:
            self._scores[key] = self._score_rmi(architecture)
        predicted_ms = self._cost_model.latency_ms(architecture)
        return Candidate(
            architecture=self._space.format(architecture),
            score_key=key,
            rmi=self._scores[key],
            predicted_ms=predicted_ms,
            fitness=self._scores[key] + penalty(predicted_ms, self._limit_ms),
            feasible=predicted_ms <= self._limit_ms and self._space.is_connected(architecture),
            parameters=self._space.parameters(architecture),
            macs=self._space.macs(architecture),
        )
