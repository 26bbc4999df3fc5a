"""Ways to choose one cell under a latency limit, all of which see the same predicted costs and the same scores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchmarks.published_cells import Cells, Floats, KnownPrice
from searcher.cost_models.prices import PARAMETERS, CountPrice
from searcher.search.candidate import Candidate
from searcher.search.evaluator import Evaluator, Rung, trained_key
from searcher.search.evolution import EvolutionSettings, evolve
from searcher.search.limits import Constraint, Limit
from searcher.search.preference import DEB, preference_named, rank
from searcher.search.scores.counted import Counted
from searcher.search.scores.joined import measurer_of
from searcher.search.scores.measuring import Measurer
from searcher.search.scores.score import Score
from searcher.spaces.architecture import Architecture
from searcher.spaces.nasbench201 import NasBench201


@dataclass(frozen=True)
class Chosen:
    """The cell that a strategy ends with, and what it took.

    Attributes:
        row: of the cell.
        measurements: distinct trainings.
        architectures: distinct architectures that were looked at, those among them that were only priced.
    """

    row: int
    measurements: int
    architectures: int


@dataclass(frozen=True, eq=False)
class Task:
    """What is to be solved.

    Attributes:
        cells: all there are.
        bounds_ms: (n,) what is held against the limit, of every cell.
        limit_ms: the limit; None for none.
        measurers: of the values that scores need.
    """

    cells: Cells
    bounds_ms: Floats
    limit_ms: float | None
    measurers: Sequence[Measurer]

    @property
    def constraints(self) -> tuple[Constraint, ...]:
        """The limit as a search takes it."""
        if self.limit_ms is None:
            return ()
        price = KnownPrice("bounds", self.cells, self.bounds_ms)
        return (Constraint(Limit("latency", self.limit_ms), price),)

    def evaluator(self, score: Score, screens: bool) -> Evaluator:
        """Return what evaluates cells by a score."""
        rung = Rung(measurer_of(score.values, self.measurers))
        return Evaluator(NasBench201(), self.constraints, [rung], score, screens)


def evolved(task: Task, score: Score, constraint: str, settings: EvolutionSettings) -> Chosen:
    """Search with the genetic algorithm.

    Args:
        task: what to solve.
        score: what is maximised.
        constraint: `deb`, or `paper` with the penalty of HW-EvRSNAS.
        settings: of the algorithm.
    """
    evaluator = task.evaluator(score, screens=constraint == DEB)
    preference = preference_named(constraint, [one.limit for one in task.constraints])
    for _ in evolve(NasBench201(), evaluator.evaluate, preference, settings):
        pass
    return _chosen(task, evaluator, rank(evaluator.candidates, preference)[0])


def drawn(task: Task, score: Score, measurements: int, seed: int) -> Chosen:
    """Draw cells at random, those within the bounds measured, until as many keys are measured as are given."""
    space = NasBench201()
    keys: set[str] = set()
    taken: list[Architecture] = []
    for row in np.random.default_rng([seed, 1]).permutation(_within(task)):
        architecture = task.cells.architecture(row)
        key = trained_key(space, architecture)
        if taken and key not in keys and len(keys) >= measurements:
            break
        keys.add(key)
        taken.append(architecture)
    evaluator = task.evaluator(score, screens=True)
    evaluator.evaluate(taken)
    preference = preference_named(DEB, [one.limit for one in task.constraints])
    return _chosen(task, evaluator, rank(evaluator.candidates, preference)[0])


def drawn_anywhere(task: Task, score: Score, architectures: int, seed: int) -> Chosen:
    """Draw so many connected cells at random from all there are; those within the bounds are measured."""
    rows = np.random.default_rng([seed, 2]).permutation(np.flatnonzero(task.cells.connected))[:architectures]
    evaluator = task.evaluator(score, screens=True)
    evaluator.evaluate([task.cells.architecture(row) for row in rows])
    preference = preference_named(DEB, [one.limit for one in task.constraints])
    return _chosen(task, evaluator, rank(evaluator.candidates, preference)[0])


def most_parameters(task: Task, living: bool = False) -> Chosen:
    """Take the cell with the most parameters within the bounds, of equals the fastest.

    Args:
        task: what to solve.
        living: leaves out those of edges that compute nothing of the output.
    """
    within = _within(task)
    if living:
        cells = [task.cells.architecture(row) for row in within]
        counted = np.array([one.values["live_parameters"] for one in Counted(NasBench201()).measure(cells)])
    else:
        counted = CountPrice(NasBench201(), PARAMETERS).costs(task.cells.genotypes[within])
    best = np.lexsort((task.bounds_ms[within], -counted))[0]
    return Chosen(int(within[best]), 0, len(within))


def best_within(task: Task, data: str) -> Chosen:
    """Take the cell within the bounds that is most accurate on a data set, which no strategy knows."""
    within = _within(task)
    return Chosen(int(within[task.cells.accuracy[data][within].argmax()]), 0, len(within))


def _within(task: Task) -> NDArray[np.intp]:
    """Return the rows of the connected cells within the bounds; where there are none, of the one that is nearest."""
    bounds_ms = np.where(task.cells.connected, task.bounds_ms, np.inf)
    within = np.flatnonzero(bounds_ms <= (np.finfo(float).max if task.limit_ms is None else task.limit_ms))
    return within if len(within) else np.array([bounds_ms.argmin()])


def _chosen(task: Task, evaluator: Evaluator, best: Candidate) -> Chosen:
    measured = sum(evaluator.measurements.measured)
    return Chosen(task.cells.row(NasBench201().parse(best.architecture)), measured, len(evaluator.candidates))
