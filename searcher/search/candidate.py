"""One architecture as a search sees it, and what a whole search found, as a file.

History of the schema of search.json:
2: any score and any limits instead of φ and one latency: `score`, `measured`, `rung`, `costs` and `violation` of a
candidate; `limits`, `score`, `constraint` and `measurements` of the search.
1: the first.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from profiler_agent.records import TableKey
from searcher.documents import Document
from searcher.errors import BadInputError
from searcher.search.accounting import Spent
from searcher.search.limits import Cost, Limit

SCHEMA_VERSION = 2


@dataclass(frozen=True)
class Candidate:
    """An architecture that the search evaluated.

    Attributes:
        architecture: its text.
        score_key: of the architecture that was measured; equal for all that share its measurement.
        score: of the search's named score, more is better, computed among all that were measured at its rung; None
            where it was not measured, since it breaks its limits, or has a problem.
        measured: the values that the score is made of, by name, of the last rung that it was measured at.
        rung: how many rungs of halving it was measured at; 0 for none.
        costs: one for each limit of the search, in their order.
        violation: sum over limits of max(0, bound ÷ at_most - 1): without a unit, 0 within all limits.
        feasible: whether it keeps all limits and has no problem.
        parameters: trainable parameters.
        macs: multiply-accumulates of one image.
        problem: why it can have no score, such as that its training diverged; None if it can.
    """

    architecture: str
    score_key: str
    score: float | None
    measured: Mapping[str, float]
    rung: int
    costs: tuple[Cost, ...]
    violation: float
    feasible: bool
    parameters: int
    macs: int
    problem: str | None = None

    @property
    def predicted_ms(self) -> float:
        """Predicted latency for the first limit on latency, in ms.

        Raises:
            ValueError: no latency is limited.
        """
        for cost in self.costs:
            if cost.quantity == "latency":
                return cost.value
        raise ValueError(f"no latency is predicted of {self.architecture}")


@dataclass(frozen=True)
class Measurements:
    """How many architectures a search measured, and how many of them it had not to.

    Architectures are counted once, when they are first met. What a cache of earlier searches answers counts as
    measured, so that these numbers are of the search alone.

    Attributes:
        measured: for each rung, how many were measured, also those that got a problem there.
        shared: those whose `score_key` had been measured.
        over_limits: those that break a limit, and so were not measured.
        disconnected: those whose output does not depend on their input.
        halved: for each rung but the last, how many measured there were not good enough for the next.
    """

    measured: tuple[int, ...] = ()
    shared: int = 0
    over_limits: int = 0
    disconnected: int = 0
    halved: tuple[int, ...] = ()


@dataclass(frozen=True)
class GenerationRecord:
    """One generation: its best candidate and what the search had spent when it ended.

    Attributes:
        generation: 0 for the random first one.
        best_score: of the candidate that is preferred, as it was then; None if that has none.
        best_architecture: its text.
        trainings: measurements so far, over all rungs.
    """

    generation: int
    best_score: float | None
    best_architecture: str
    trainings: int


@dataclass(frozen=True)
class SearchResult:
    """What a search found; the candidates stand in the order of its preference.

    Attributes:
        space: name of the search space.
        export_cells: cells per stage of the networks that costs are predicted for.
        score_cells: cells per stage of the networks that the score is measured on.
        table_key: conditions of what the predictions for the first limit on latency are from; None where nobody knows
            them, as of published latencies of networks.
        sentinel_ms: the sentinel's latency when that table was measured, in ms; None if it is not known.
        limits: all limits; the first is on latency.
        score: name of the score.
        constraint: how limits were kept: deb, paper or reject.
        settings: of the search and its score.
        candidates: every architecture evaluated, best first.
        pareto: architectures that no other beats in score and in every cost.
        history: one record a generation.
        measurements: how many were measured, and how many not.
        spent: what the search cost; None where nobody kept account.
    """

    space: str
    export_cells: int
    score_cells: int
    table_key: TableKey | None
    limits: tuple[Limit, ...]
    score: str
    constraint: str
    settings: dict[str, Any]
    candidates: tuple[Candidate, ...]
    pareto: tuple[str, ...]
    history: tuple[GenerationRecord, ...]
    measurements: Measurements = field(default_factory=Measurements)
    sentinel_ms: float | None = None
    spent: Spent | None = None
    schema_version: int = SCHEMA_VERSION

    def __post_init__(self) -> None:
        """Refuse what no search writes.

        Raises:
            ValueError: no latency is limited, or a candidate has not a cost for each limit.
        """
        if not any(limit.quantity == "latency" for limit in self.limits):
            raise ValueError("a search limits a latency")
        quantities = tuple(limit.quantity for limit in self.limits)
        for candidate in self.candidates:
            if tuple(cost.quantity for cost in candidate.costs) != quantities:
                raise ValueError(f"the costs of {candidate.architecture} are not those that are limited")

    @property
    def max_latency_ms(self) -> float:
        """The first limit on latency, in ms."""
        return next(limit.at_most for limit in self.limits if limit.quantity == "latency")

    def require_table_key(self) -> TableKey:
        """Return the conditions behind the predictions.

        Raises:
            BadInputError: nobody knows them.
        """
        if self.table_key is None:
            raise BadInputError(
                "nobody knows how the latencies behind this search were measured: nothing can be compared with them"
            )
        return self.table_key


def best_distinct(candidates: Iterable[Candidate], count: int) -> tuple[Candidate, ...]:
    """Return the first feasible candidates that have a score, one for each `score_key`: equals need no second look.

    Args:
        candidates: in the order of preference, as a search result has them.
        count: how many at most.
    """
    chosen: dict[str, Candidate] = {}
    for candidate in candidates:
        if candidate.feasible and candidate.score is not None and len(chosen) < count:
            chosen.setdefault(candidate.score_key, candidate)
    return tuple(chosen.values())


SEARCH_DOCUMENT = Document(SearchResult, "search result", SCHEMA_VERSION)
