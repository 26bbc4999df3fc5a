"""GA+RMI under limits: a table and a reference in, ranked candidates out."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from searcher.cost_models.calibration import Calibration
from searcher.cost_models.prices import LATENCY
from searcher.errors import BadInputError, SearcherError
from searcher.search.candidate import Candidate, GenerationRecord, SearchResult
from searcher.search.evaluator import Evaluator, Rung
from searcher.search.evolution import EvolutionSettings, Generation, evolve
from searcher.search.limits import Constraint
from searcher.search.pareto import pareto_front
from searcher.search.possible import CostRange, connected_encodings, require_possible
from searcher.search.preference import CONSTRAINTS, DEB, PAPER, REJECT, Preference, preference_named, rank
from searcher.search.scores.one_by_one import OneByOne, PlainRmi
from searcher.search.scores.rmi import RmiScorer, RmiSettings
from searcher.spaces.nasbench201 import NasBench201
from searcher.training.datasets import ImageDataset, load_dataset
from searcher.training.reference import Reference
from searcher.workflows.prepare_reference import prepare_reference
from searcher.workflows.price_limits import Prices, WantedLimit, constraints_of
from searcher.workflows.progress import Progress, Work

Seconds = Callable[[], float]


@dataclass(frozen=True)
class SearchRequest:
    """What to search, and how.

    Attributes:
        space: with the depth of the networks whose costs count.
        score_cells: cells per stage of the networks that the score is measured on.
        table: of the device, or its calibration, which predicts better and knows by how much it may be wrong.
        limit_ms: the greatest latency on that device; None takes the middle of the predicted range.
        confidence: the probability with which a candidate's measured latency is to keep its limit, for calibrations;
            None holds predictions themselves against the limits.
        data: name of the data set.
        reference: weights of the reference; None trains one.
        deadline_s: seconds after which no new generation starts that would end later; None for no bound.
        limits: more of them, on that device, on others or on the networks themselves.
        constraint: how limits are kept, one of CONSTRAINTS: by Deb's rules, by the paper's penalty, or by rejection.
        source: what the user calls the table, such as its file.
    """

    space: NasBench201
    score_cells: int
    table: Prices
    limit_ms: float | None
    data: str
    reference: Path | None
    rmi: RmiSettings
    evolution: EvolutionSettings
    deadline_s: float | None = None
    confidence: float | None = None
    limits: tuple[WantedLimit, ...] = ()
    constraint: str = DEB
    source: str | None = None

    def __post_init__(self) -> None:
        """Refuse a limit that is none, and a confidence that nothing is known of.

        Raises:
            BadInputError: a limit is not positive and finite, plain tables alone are to keep limits with a confidence,
                or there is no such way to keep limits.
        """
        calibrated = any(isinstance(one.prices, Calibration) for one in self.wanted)
        if self.confidence is not None and not calibrated:
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
    """
    start = clock_s()
    genotypes = connected_encodings(request.space)
    constraints = constraints_of(request.space, request.wanted, request.confidence, genotypes)
    ranges = require_possible(request.space, constraints, genotypes)
    yield Progress("price the space", 1, 1, _range_note(constraints, ranges))
    dataset = load_dataset(request.data)
    reference = yield from prepare_reference(dataset, request.reference)
    score = PlainRmi()
    screens = request.constraint != PAPER
    evaluator = Evaluator(request.space, constraints, _rungs(request, dataset, reference), score, screens)
    limits = tuple(one.limit for one in constraints)
    preference = preference_named(request.constraint, limits)
    history = yield from _evolve(request, evaluator, preference, start, clock_s)
    candidates = rank(evaluator.candidates, preference)
    if not any(candidate.feasible for candidate in candidates):
        raise SearcherError(_nothing_found(candidates, constraints))
    table_key = request.table.table_key if isinstance(request.table, Calibration) else request.table.key
    return SearchResult(
        space=request.space.name,
        export_cells=request.space.cells_per_stage,
        score_cells=request.score_cells,
        table_key=table_key,
        sentinel_ms=request.table.sentinel_ms,
        limits=limits,
        score=score.name,
        constraint=request.constraint,
        settings={
            "rmi": dataclasses.asdict(request.rmi),
            "evolution": dataclasses.asdict(request.evolution),
            "data": dataset.name,
            "reference_accuracy_pct": reference.test_accuracy,
            "reference_sha256": reference.sha256,
            "calibrated": isinstance(request.table, Calibration),
            "confidence": request.confidence,
            "bound_over_prediction": constraints[0].bound_ratio,
        },
        candidates=candidates,
        pareto=tuple(candidate.architecture for candidate in pareto_front(candidates)),
        history=tuple(history),
        measurements=evaluator.measurements,
    )


def _rungs(request: SearchRequest, dataset: ImageDataset, reference: Reference) -> tuple[Rung, ...]:
    space = replace(request.space, cells_per_stage=request.score_cells)
    scorer = RmiScorer(space, reference, dataset, request.rmi)
    trained_on = {"space": repr(space), "data": dataset.name, "reference_sha256": reference.sha256}
    return (Rung(OneByOne(scorer, request.rmi, trained_on)),)


def _evolve(
    request: SearchRequest, evaluator: Evaluator, preference: Preference, start: float, clock_s: Seconds
) -> Work[list[GenerationRecord]]:
    history: list[GenerationRecord] = []
    violation = evaluator.violation if request.constraint == REJECT else None
    generations = evolve(request.space, evaluator.evaluate, preference, request.evolution, violation)
    total = request.evolution.generations + 1
    longest = 0.0
    while len(history) < total:
        before = clock_s()
        if history and request.deadline_s is not None and before - start + longest > request.deadline_s:
            note = f"the time budget ends the search after {len(history)} generations"
            yield replace(_progress(total, total, request.deadline_s, request.deadline_s), note=note)
            break
        generation = next(generations)
        longest = max(longest / 2, clock_s() - before)
        history.append(_record(generation, evaluator, clock_s() - start))
        yield _progress(len(history), total, clock_s() - start, request.deadline_s)
    return history


def _progress(done: int, total: int, elapsed_s: float, deadline_s: float | None) -> Progress:
    """Count generations; where a deadline will end them, count the seconds to it."""
    if deadline_s is None:
        return Progress("search, generations", done, total)
    return Progress("search, seconds", min(int(elapsed_s), int(deadline_s)), int(deadline_s))


def _record(generation: Generation, evaluator: Evaluator, seconds: float) -> GenerationRecord:
    best = generation.best
    return GenerationRecord(
        generation=generation.number,
        best_score=best.score,
        best_architecture=best.architecture,
        trainings=sum(evaluator.measurements.measured),
        seconds=round(seconds, 3),
    )


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
