"""GA+RMI under limits: a table and a reference in, ranked candidates out."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from searcher.cost_models.calibration import Calibration
from searcher.cost_models.prices import LATENCY
from searcher.errors import BadInputError, SearcherError
from searcher.search.accounting import Account, Rates
from searcher.search.candidate import Candidate, SearchResult
from searcher.search.evaluator import Evaluator
from searcher.search.evolution import EvolutionSettings, evolve
from searcher.search.journalled import Journalled
from searcher.search.limits import Constraint
from searcher.search.pareto import pareto_front
from searcher.search.possible import CostRange, connected_encodings, require_possible
from searcher.search.preference import CONSTRAINTS, DEB, PAPER, REJECT, preference_named, rank
from searcher.search.run_journal import RunJournal
from searcher.spaces.nasbench201 import NasBench201
from searcher.training.datasets import ImageDataset, load_dataset
from searcher.training.reference import Reference
from searcher.workflows.prepare_reference import prepare_reference
from searcher.workflows.price_limits import Prices, WantedLimit, constraints_of, table_key_of
from searcher.workflows.progress import Progress, Work
from searcher.workflows.scoring import Scoring, rungs_of
from searcher.workflows.search_identity import search_identity
from searcher.workflows.search_run import SearchRun

Seconds = Callable[[], float]


@dataclass(frozen=True)
class SearchRequest:
    """What to search, and how.

    Attributes:
        space: with the depth of the networks whose costs count.
        scoring: what is maximised, and how that is measured.
        table: of the device, or its calibration, which predicts better and knows by how much it may be wrong, or a
            model of whole networks there.
        limit_ms: the greatest latency on that device; None takes the middle of the predicted range.
        confidence: the probability with which a candidate's measured latency is to keep its limit, where prices know
            how wrong they may be: calibrations, models, and tables with predicted entries; None holds predictions
            themselves against the limits.
        data: name of the data set.
        reference: weights of the reference; None trains one.
        deadline_s: seconds of all sessions after which no new generation starts that would end later; None for no
            bound.
        limits: more of them, on that device, on others or on the networks themselves.
        constraint: how limits are kept, one of CONSTRAINTS: by Deb's rules, by the paper's penalty, or by rejection.
        source: what the user calls the table, such as its file.
        journal: where the search's journal goes; None keeps none.
        resume: go on with the unfinished search of that journal, if there is one.
        rates: what turns processor time into energy and CO₂.
    """

    space: NasBench201
    scoring: Scoring
    table: Prices
    limit_ms: float | None
    data: str
    reference: Path | None
    evolution: EvolutionSettings
    deadline_s: float | None = None
    confidence: float | None = None
    limits: tuple[WantedLimit, ...] = ()
    constraint: str = DEB
    source: str | None = None
    journal: Path | None = None
    resume: bool = False
    rates: Rates = field(default_factory=Rates)

    def __post_init__(self) -> None:
        """Refuse a limit that is none, and a confidence that nothing is known of.

        Raises:
            BadInputError: a limit is not positive and finite, plain tables alone are to keep limits with a confidence,
                or there is no such way to keep limits.
        """
        if self.confidence is not None and not any(one.bounded for one in self.wanted):
            raise BadInputError("a table alone cannot tell how wrong it may be: --confidence takes a --calibration")
        if self.constraint not in CONSTRAINTS:
            raise BadInputError(f"--penalty takes one of {', '.join(CONSTRAINTS)}, not {self.constraint!r}")

    @property
    def wanted(self) -> tuple[WantedLimit, ...]:
        """All limits, that on the device's latency first."""
        return (WantedLimit(LATENCY, self.limit_ms, self.table, self.source), *self.limits)


def search_space(request: SearchRequest, clock_s: Seconds = time.monotonic) -> Work[SearchResult]:
    """Search and return every candidate, ranked.

    Raises:
        ImpossibleLimitError: no architecture can keep the limits; the message tells the least possible.
        MissingBlockError: a table lacks a block of the space.
        NotAdditiveError: a calibration has failed its own check.
        BadInputError: there is an unfinished search that is not to go on, or that is another.
    """
    account = Account(clock_s)
    with RunJournal(request.journal, request.resume) as journal:
        return (yield from _search(request, journal, account))


def _search(request: SearchRequest, journal: RunJournal, account: Account) -> Work[SearchResult]:
    genotypes = connected_encodings(request.space)
    constraints = constraints_of(request.space, request.wanted, request.confidence, genotypes)
    ranges = require_possible(request.space, constraints, genotypes)
    yield Progress("price the space", 1, 1, _range_note(constraints, ranges))
    scoring, score = request.scoring, request.scoring.score
    dataset = load_dataset(request.data) if scoring.looks_at_images else None
    reference = None
    if dataset is not None and scoring.trains:
        reference = yield from prepare_reference(dataset, request.reference)
    screens = request.constraint != PAPER
    prepared = rungs_of(scoring, request.space, dataset, reference)
    found = (constraints, request.constraint, dataset, reference, score, prepared.rungs, request.evolution)
    note = journal.begin(search_identity(request.space, request.wanted, *found), account.session())
    yield Progress("reference", 1, 1, note)
    account.go_on(journal.earlier)
    journalled = [replace(rung, measurer=Journalled(rung.measurer, request.space, journal)) for rung in prepared.rungs]
    evaluator = Evaluator(request.space, constraints, journalled, score, screens)
    limits = tuple(one.limit for one in constraints)
    preference = preference_named(request.constraint, limits)
    violation = evaluator.violation if request.constraint == REJECT else None
    generations = evolve(request.space, evaluator.evaluate, preference, request.evolution, violation)
    run = SearchRun(evaluator, journal, account, request.deadline_s, lambda: prepared.cached)
    history = yield from run.follow(generations, request.evolution.generations + 1)
    journal.finish()
    if prepared.trouble is not None:
        yield Progress("search", 1, 1, prepared.trouble)
    candidates = rank(evaluator.candidates, preference)
    if not any(candidate.feasible for candidate in candidates):
        raise SearcherError(_nothing_found(candidates, constraints))
    return SearchResult(
        space=request.space.name,
        export_cells=request.space.cells_per_stage,
        score_cells=scoring.cells_per_stage,
        table_key=table_key_of(request.table),
        sentinel_ms=request.table.sentinel_ms,
        limits=limits,
        score=score.name,
        constraint=request.constraint,
        settings=_settings(request, dataset, reference, constraints),
        candidates=candidates,
        pareto=tuple(candidate.architecture for candidate in pareto_front(candidates)),
        history=tuple(history),
        measurements=evaluator.measurements,
        spent=run.spent(request.rates),
    )


def _settings(
    request: SearchRequest, dataset: ImageDataset | None, reference: Reference | None, constraints: Sequence[Constraint]
) -> dict[str, Any]:
    return {
        "rmi": dataclasses.asdict(request.scoring.rmi) if request.scoring.trains else None,
        "halving": [dataclasses.asdict(rung) for rung in request.scoring.halving],
        "evolution": dataclasses.asdict(request.evolution),
        "data": None if dataset is None else dataset.name,
        "reference_accuracy_pct": None if reference is None else reference.test_accuracy,
        "reference_sha256": None if reference is None else reference.sha256,
        "calibrated": isinstance(request.table, Calibration),
        "confidence": request.confidence,
        "bound_over_prediction": None if constraints[0].upper is not None else constraints[0].bound_ratio,
    }


def _nothing_found(candidates: Sequence[Candidate], constraints: Sequence[Constraint]) -> str:
    if all(candidate.problem is not None for candidate in candidates):
        return f"none of {len(candidates)} architectures has a score: of the first, {candidates[0].problem}"
    limits = " and ".join(one.limit.text for one in constraints)
    return f"the search met no architecture within {limits}; give it more generations"


def _range_note(constraints: Sequence[Constraint], ranges: Sequence[CostRange]) -> str:
    """Say of each limit what the space can do, a line for each."""
    return "\n".join(_range_line(one, found) for one, found in zip(constraints, ranges, strict=True))


def _range_line(constraint: Constraint, found: CostRange) -> str:
    limit = constraint.limit
    what = "predicted" if limit.confidence is None else f"with a confidence of {100 * limit.confidence:g}% below"
    source = "" if limit.source is None else f" ({limit.source})"
    return (
        f"{limit.quantity}{source}: {what} {found.low:.3f} to {found.high:.3f} {limit.unit} in this space; "
        f"limit {limit.at_most:.3f} {limit.unit}"
    )
