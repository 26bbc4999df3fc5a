"""GA+RMI under a latency limit: a table and a reference in, ranked candidates out."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from profiler_agent.records import TableKey
from searcher.cost_models.block_sum import BlockSum
from searcher.cost_models.calibrated import CalibratedModel
from searcher.cost_models.calibration import Calibration
from searcher.cost_models.cost_model import LatencyRange, LinearCostModel, latency_range
from searcher.errors import BadInputError, SearcherError
from searcher.search.candidate import Candidate, GenerationRecord, SearchResult, rank
from searcher.search.evaluator import Evaluator
from searcher.search.evolution import EvolutionSettings, Generation, evolve
from searcher.search.pareto import pareto_front
from searcher.search.scores.rmi import RmiScorer, RmiSettings
from searcher.spaces.nasbench201 import NasBench201
from searcher.tables.lookup_table import LookupTable
from searcher.training.datasets import load_dataset
from searcher.workflows.prepare_reference import prepare_reference
from searcher.workflows.progress import Progress, Work

Seconds = Callable[[], float]


@dataclass(frozen=True)
class SearchRequest:
    """What to search, and how.

    Attributes:
        space: with the depth of the networks whose latency counts.
        score_cells: cells per stage of the networks that are trained for the score.
        table: of the device, or its calibration, which predicts better and knows by how much it may be wrong.
        limit_ms: the greatest latency; None takes the middle of the predicted range.
        confidence: the probability with which a candidate's measured latency is to keep the limit, for a calibration;
            None holds predictions themselves against the limit.
        data: name of the data set.
        reference: weights of the reference; None trains one.
        deadline_s: seconds after which no new generation starts that would end later; None for no bound.
    """

    space: NasBench201
    score_cells: int
    table: LookupTable | Calibration
    limit_ms: float | None
    data: str
    reference: Path | None
    rmi: RmiSettings
    evolution: EvolutionSettings
    deadline_s: float | None = None
    confidence: float | None = None

    def __post_init__(self) -> None:
        """Refuse a limit that is none, and a confidence that nothing is known of.

        Raises:
            BadInputError: the limit is not positive and finite, or a plain table is to keep it with a confidence.
        """
        if self.confidence is not None and not isinstance(self.table, Calibration):
            raise BadInputError("a table alone cannot tell how wrong it may be: --confidence takes a --calibration")
        if self.limit_ms is not None and not 0 < self.limit_ms < math.inf:
            raise BadInputError(f"a latency limit is a positive number of ms, not {self.limit_ms:g}")


def search_space(request: SearchRequest, clock_s: Seconds = time.monotonic) -> Work[SearchResult]:
    """Search and return every candidate, ranked.

    Raises:
        ImpossibleLimitError: no architecture can keep the limit; the message tells the least possible.
        MissingBlockError: the table lacks a block of the space.
        NotAdditiveError: the calibration has failed its own check.
    """
    start = clock_s()
    priced = _priced(request)
    bounds = latency_range(priced.model).times(priced.bound_ratio)
    limit_ms = bounds.middle_ms if request.limit_ms is None else request.limit_ms
    bounds.require_possible(limit_ms)
    yield Progress("price the space", 1, 1, _range_note(bounds, limit_ms, request.confidence))
    dataset = load_dataset(request.data)
    reference = yield from prepare_reference(dataset, request.reference)
    scorer = RmiScorer(replace(request.space, cells_per_stage=request.score_cells), reference, dataset, request.rmi)
    # A bound is the same multiple of every prediction, so that predictions are held against the limit's part.
    within_ms = limit_ms / priced.bound_ratio
    evaluator = Evaluator(request.space, lambda architecture: scorer.score(architecture).rmi, priced.model, within_ms)
    history = yield from _evolve(request, evaluator, start, clock_s)
    candidates = rank(evaluator.candidates)
    if not any(candidate.feasible for candidate in candidates):
        raise SearcherError(_nothing_found(candidates, limit_ms))
    return SearchResult(
        space=request.space.name,
        export_cells=request.space.cells_per_stage,
        score_cells=request.score_cells,
        table_key=priced.table_key,
        sentinel_ms=request.table.sentinel_ms,
        max_latency_ms=limit_ms,
        settings={
            "rmi": dataclasses.asdict(request.rmi),
            "evolution": dataclasses.asdict(request.evolution),
            "data": dataset.name,
            "reference_accuracy_pct": reference.test_accuracy,
            "reference_sha256": reference.sha256,
            "calibrated": isinstance(request.table, Calibration),
            "confidence": request.confidence,
            "bound_over_prediction": priced.bound_ratio,
        },
        candidates=candidates,
        pareto=tuple(candidate.architecture for candidate in pareto_front(candidates)),
        history=tuple(history),
    )


@dataclass(frozen=True)
class _Priced:
    """What predicts latencies, and what bounds them."""

    model: LinearCostModel
    table_key: TableKey
    bound_ratio: float


def _priced(request: SearchRequest) -> _Priced:
    if not isinstance(request.table, Calibration):
        return _Priced(BlockSum(request.space, request.table), request.table.key, 1.0)
    model = CalibratedModel(request.space, request.table)
    ratio = 1.0 if request.confidence is None else model.upper_ratio(request.confidence)
    return _Priced(model, request.table.table_key, ratio)


def _evolve(
    request: SearchRequest, evaluator: Evaluator, start: float, clock_s: Seconds
) -> Work[list[GenerationRecord]]:
    history: list[GenerationRecord] = []
    generations = evolve(request.space, evaluator, request.evolution)
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
        best_fitness=best.fitness,
        best_architecture=best.architecture,
        trainings=evaluator.trainings,
        seconds=round(seconds, 3),
    )


def _nothing_found(candidates: Sequence[Candidate], limit_ms: float) -> str:
    scored = sum(candidate.problem is None for candidate in candidates)
    if scored == 0:
        return f"none of {len(candidates)} architectures has a score: of the first, {candidates[0].problem}"
    return f"the search met no architecture within {limit_ms:g} ms; give it more generations"


def _range_note(bounds: LatencyRange, limit_ms: float, confidence: float | None) -> str:
    what = "predicted" if confidence is None else f"with a confidence of {100 * confidence:g}% below"
    return f"{what} {bounds.low_ms:.3f} to {bounds.high_ms:.3f} ms in this space; limit {limit_ms:.3f} ms"
