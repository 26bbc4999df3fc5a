"""Gives architectures their fitness: one training per `score_key`, one prediction per full string."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from searcher.cost_models.cost_model import CostModel
from searcher.errors import SearcherError
from searcher.search.candidate import Candidate
from searcher.spaces.architecture import Architecture
from searcher.spaces.space import SearchSpace

ScoreRmi = Callable[[Architecture], float]

DISCONNECTED = "its output does not depend on its input"


class UnscorableError(SearcherError):
    """An architecture cannot be given a score; the message says why."""


@dataclass(frozen=True)
class _Score:
    """φ, or why there is none."""

    rmi: float | None
    problem: str | None = None


def penalty(predicted_ms: float, limit_ms: float) -> float:
    """Return 0 within the limit, else limit minus latency in ms: negative (HW-EvRSNAS, Eq. 5)."""
    return min(0.0, limit_ms - predicted_ms)


class Evaluator:
    """Evaluates architectures under one limit and remembers every one.

    Cells of one `score_key` train alike but differ in latency, up to threefold: the score is shared, the
    constraint is not. What has no score (a disconnected architecture, a training that diverged) becomes a candidate
    with a problem, which ranks below all others and is never trained again.
    """

    def __init__(self, space: SearchSpace, score_rmi: ScoreRmi, cost_model: CostModel, limit_ms: float) -> None:
        self._space = space
        self._score_rmi = score_rmi
        self._cost_model = cost_model
        self._limit_ms = limit_ms
        self._scores: dict[str, _Score] = {}
        self._candidates: dict[Architecture, Candidate] = {}

    @property
    def candidates(self) -> tuple[Candidate, ...]:
        """Every architecture evaluated so far, in order of first evaluation."""
        return tuple(self._candidates.values())

    @property
    def trainings(self) -> int:
        """How many architectures were trained, also those whose training diverged."""
        return len(self._scores)

    def __call__(self, architecture: Architecture) -> Candidate:
        """Return the candidate of an architecture, evaluating it if it is new."""
        if architecture not in self._candidates:
            self._candidates[architecture] = self._evaluate(architecture)
        return self._candidates[architecture]

    def _evaluate(self, architecture: Architecture) -> Candidate:
        score = self._score(architecture)
        predicted_ms = self._cost_model.latency_ms(architecture)
        return Candidate(
            architecture=self._space.format(architecture),
            score_key=self._space.score_key(architecture),
            rmi=score.rmi,
            predicted_ms=predicted_ms,
            fitness=None if score.rmi is None else score.rmi + penalty(predicted_ms, self._limit_ms),
            feasible=score.problem is None and predicted_ms <= self._limit_ms,
            parameters=self._space.parameters(architecture),
            macs=self._space.macs(architecture),
            problem=score.problem,
        )

    def _score(self, architecture: Architecture) -> _Score:
        if not self._space.is_connected(architecture):
            return _Score(None, DISCONNECTED)
        key = self._space.score_key(architecture)
        if key not in self._scores:
            try:
                self._scores[key] = _Score(self._score_rmi(architecture))
            except UnscorableError as e:
                self._scores[key] = _Score(None, str(e))
        return self._scores[key]
