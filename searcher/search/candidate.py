"""One architecture as a search sees it, and what a whole search found, as a file.

History of the schema of search.json: 1, the first.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from profiler_agent.records import TableKey
from searcher.documents import Document

SCHEMA_VERSION = 1


@dataclass(frozen=True)
class Candidate:
    """An architecture that the search evaluated.

    Attributes:
        architecture: its text.
        score_key: equal for architectures that share one training.
        rmi: φ, representation mutual information with the reference; None where there is a problem.
        predicted_ms: predicted latency.
        fitness: φ plus the penalty (HW-EvRSNAS, Eq. 4); None where there is a problem.
        feasible: whether the predicted latency is within the limit, and there is no problem.
        parameters: trainable parameters.
        macs: multiply-accumulates of one image.
        problem: why it has no score, such as that its training diverged; None if it has one.
    """

    architecture: str
    score_key: str
    rmi: float | None
    predicted_ms: float
    fitness: float | None
    feasible: bool
    parameters: int
    macs: int
    problem: str | None = None

    @property
    def preference(self) -> tuple[bool, float]:
        """What selection and ranking compare, more is better: by fitness, and below all those that have none."""
        return (self.fitness is not None, self.fitness or 0.0)


@dataclass(frozen=True)
class GenerationRecord:
    """One generation: its best fitness (None if none has any) and what the search had spent when it ended."""

    generation: int
    best_fitness: float | None
    best_architecture: str
    trainings: int
    seconds: float


@dataclass(frozen=True)
class SearchResult:
    """What a search found; the candidates stand in the order of its preference.

    Attributes:
        space: name of the search space.
        export_cells: cells per stage of the networks that latency is predicted for.
        score_cells: cells per stage of the networks that are trained for the score.
        table_key: key of the lookup table behind the predictions.
        sentinel_ms: the sentinel's latency when that table was measured, in ms; None if it is not known.
        max_latency_ms: the limit.
        settings: of the search and its score.
        candidates: every architecture evaluated, best first.
        pareto: architectures that no other beats in both φ and latency.
        history: one record a generation.
    """

    space: str
    export_cells: int
    score_cells: int
    table_key: TableKey
    max_latency_ms: float
    settings: dict[str, Any]
    candidates: tuple[Candidate, ...]
    pareto: tuple[str, ...]
    history: tuple[GenerationRecord, ...]
    sentinel_ms: float | None = None
    schema_version: int = SCHEMA_VERSION


def rank(candidates: Iterable[Candidate]) -> tuple[Candidate, ...]:
    """Order candidates by preference; of equals the faster first, then by text, so that the order is one."""
    ordered = sorted(candidates, key=lambda one: (one.predicted_ms, one.architecture))
    return tuple(sorted(ordered, key=lambda one: one.preference, reverse=True))


def best_distinct(candidates: Iterable[Candidate], count: int) -> tuple[Candidate, ...]:
    """Return the best feasible candidates, one for each `score_key`: equals would only be measured twice."""
    chosen: dict[str, Candidate] = {}
    for candidate in rank(candidates):
        if candidate.feasible and len(chosen) < count:
            chosen.setdefault(candidate.score_key, candidate)
    return tuple(chosen.values())


SEARCH_DOCUMENT = Document(SearchResult, "search result", SCHEMA_VERSION)
