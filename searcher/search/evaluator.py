"""Gives architectures their costs and their scores, a generation at a time.

Costs go by the full string, measurements by `score_key`: cells of one key train alike but differ in latency, up to
threefold. What no score can be had of (a disconnected architecture, a training that diverged) becomes a candidate with
a problem and is never measured again; nor is what breaks a limit, where limits are rules and not penalties.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from searcher.errors import BadInputError
from searcher.search.candidate import Candidate, Measurements
from searcher.search.limits import Constraint, Cost, violation
from searcher.search.scores.measuring import Measured, Measurer
from searcher.search.scores.score import Score
from searcher.spaces.architecture import Architecture
from searcher.spaces.space import SearchSpace

DISCONNECTED = "its output does not depend on its input"


@dataclass(frozen=True)
class Rung:
    """One stage of halving.

    Attributes:
        measurer: finds out the values that the score needs.
        keep: of the new ones measured here those go on whose score is among this share of all measured here so far,
            as ASHA promotes (Li et al., A System for Massively Parallel Hyperparameter Tuning, 2020); of the last
            rung without meaning.
    """

    measurer: Measurer
    keep: float = 1.0

    def __post_init__(self) -> None:
        """Refuse a share that is none.

        Raises:
            BadInputError: it is not above 0 and at most 1.
        """
        if not 0 < self.keep <= 1:
            raise BadInputError(f"a rung keeps a share above 0 and at most 1, not {self.keep:g}")


@dataclass(frozen=True)
class _Known:
    """What is known of an architecture without measuring it."""

    architecture: Architecture
    text: str
    score_key: str
    costs: tuple[Cost, ...]
    violation: float
    connected: bool
    parameters: int
    macs: int


@dataclass
class _Level:
    """What was measured at one rung, by `score_key` in the order of measuring."""

    rung: Rung
    found: dict[str, Measured] = field(default_factory=dict)
    scores: dict[str, float] = field(default_factory=dict)
    halved: int = 0


class Evaluator:
    """Evaluates architectures under limits and remembers every one."""

    def __init__(
        self, space: SearchSpace, constraints: Sequence[Constraint], rungs: Sequence[Rung], score: Score, screens: bool
    ) -> None:
        """Take what prices, measures and compares.

        Args:
            space: of the architectures.
            constraints: limits and their prices.
            rungs: at least one, the cheapest first; a higher rung is always preferred to a lower one.
            score: made of values that every rung measures.
            screens: whether what breaks a limit is left unmeasured.

        Raises:
            BadInputError: there is no rung, or one lacks a value that the score needs.
        """
        if not rungs:
            raise BadInputError("an evaluation takes at least one rung")
        for rung in rungs:
            missing = [name for name in score.values if name not in rung.measurer.names]
            if missing:
                raise BadInputError(f"the score {score.name} needs {missing[0]}, which is not measured")
        self._space = space
        self._constraints = tuple(constraints)
        self._levels = [_Level(rung) for rung in rungs]
        self._score = score
        self._screens = screens
        self._known: dict[Architecture, _Known] = {}
        self._shared = 0

    @property
    def candidates(self) -> tuple[Candidate, ...]:
        """Every architecture evaluated so far, in order of first evaluation, with the scores that it has now."""
        return tuple(self._candidate(known) for known in self._known.values())

    @property
    def measurements(self) -> Measurements:
        """What was measured so far, and what not."""
        return Measurements(
            measured=tuple(len(level.found) for level in self._levels),
            shared=self._shared,
            over_limits=sum(one.connected and self._is_screened(one) for one in self._known.values()),
            disconnected=sum(not one.connected for one in self._known.values()),
            halved=tuple(level.halved for level in self._levels[:-1]),
        )

    def evaluate(self, architectures: Sequence[Architecture]) -> list[Candidate]:
        """Return the candidate of each architecture, in their order, evaluating all that are new together.

        Scores are those among all that have been measured so far, so that candidates of one call compare.
        """
        new: dict[str, Architecture] = {}
        for architecture in architectures:
            if architecture in self._known:
                continue
            known = self._known[architecture] = self._look_at(architecture)
            if not known.connected or self._is_screened(known):
                continue
            if known.score_key in new or known.score_key in self._levels[0].found:
                self._shared += 1
            else:
                new[known.score_key] = self._space.representative(architecture)
        self._measure(new)
        return [self._candidate(self._known[architecture]) for architecture in architectures]

    def violation(self, architecture: Architecture) -> float:
        """Return by how much an architecture breaks the limits, without measuring it; infinite if disconnected."""
        if not self._space.is_connected(architecture):
            return math.inf
        return violation(self._costs(architecture), (one.limit for one in self._constraints))

    def _costs(self, architecture: Architecture) -> tuple[Cost, ...]:
        return tuple(one.cost(architecture) for one in self._constraints)

    def _look_at(self, architecture: Architecture) -> _Known:
        costs = self._costs(architecture)
        return _Known(
            architecture=architecture,
            text=self._space.format(architecture),
            score_key=self._space.score_key(architecture),
            costs=costs,
            violation=violation(costs, (one.limit for one in self._constraints)),
            connected=self._space.is_connected(architecture),
            parameters=self._space.parameters(architecture),
            macs=self._space.macs(architecture),
        )

    def _is_screened(self, known: _Known) -> bool:
        return self._screens and known.violation > 0

    def _measure(self, new: Mapping[str, Architecture]) -> None:
        """Measure new architectures, by `score_key`, rung by rung."""
        going_on = dict(new)
        for level in self._levels:
            if not going_on:
                return
            found = level.rung.measurer.measure(list(going_on.values()))
            level.found.update(zip(going_on, found, strict=True))
            self._compare(level)
            fit = [key for key in going_on if key in level.scores]
            best = _best(level)
            going_on = {key: going_on[key] for key in fit if key in best}
            if level is not self._levels[-1]:
                level.halved += len(fit) - len(going_on)

    def _compare(self, level: _Level) -> None:
        """Score all that a rung measured; what has a score that is no finite number has a problem."""
        fit = {key: one.values for key, one in level.found.items() if one.problem is None}
        scores = self._score.scores(list(fit.values())) if fit else np.empty(0)
        level.scores = dict(zip(fit, scores.tolist(), strict=True))
        odd = [key for key, score in level.scores.items() if not math.isfinite(score)]
        if odd:
            for key in odd:
                level.found[key] = Measured({}, f"its score {self._score.name} is no finite number")
            self._compare(level)

    def _candidate(self, known: _Known) -> Candidate:
        score, measured, rung, problem = self._standing(known)
        return Candidate(
            architecture=known.text,
            score_key=known.score_key,
            score=score,
            measured=measured,
            rung=rung,
            costs=known.costs,
            violation=known.violation,
            feasible=problem is None and known.violation == 0,
            parameters=known.parameters,
            macs=known.macs,
            problem=problem,
        )

    def _standing(self, known: _Known) -> tuple[float | None, Mapping[str, float], int, str | None]:
        """Return score, values, rung and problem of an architecture, by the last rung that measured its key."""
        if not known.connected:
            return None, {}, 0, DISCONNECTED
        for rung in range(len(self._levels), 0, -1):
            level = self._levels[rung - 1]
            if known.score_key in level.found:
                found = level.found[known.score_key]
                return level.scores.get(known.score_key), dict(found.values), rung, found.problem
        return None, {}, 0, None


def _best(level: _Level) -> frozenset[str]:
    """Return the keys that a rung lets go on, of equal scores those that were measured first."""
    ordered = sorted(level.scores, key=lambda key: level.scores[key], reverse=True)
    return frozenset(ordered[: math.ceil(level.rung.keep * len(ordered) - 1e-9)])
