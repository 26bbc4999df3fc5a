"""Entries for the blocks that a table lacks, predicted instead of measured, and marked so.

An entry holds one call of the runtime, as those of measured blocks do: the table's own call, so that what is left when
it is taken off is what the predictor says of the block. The call of a table without any measured entry is the
predictor's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from profiler_agent.records import TableKey
from searcher.errors import BadInputError
from searcher.spaces.block import CALL_OVERHEAD
from searcher.tables.lookup_table import (
    Entry,
    KeyMismatchError,
    LookupTable,
    MissingBlockError,
    Provenance,
    key_differences,
)
from searcher.tables.merge import TableFile, parts_of
from searcher.tables.share import TOLERANCE_PCT, percent_off

_MS_DIGITS = 6  # down to 1 ns, as in measured entries


@dataclass(frozen=True)
class Predicting:
    """What a table tells of a predictor that completes it.

    Attributes:
        file: name of the predictor's file.
        sha256: of its bytes.
        device: what its device is called.
        created: when it was made, UTC, ISO 8601.
        key: conditions of the measurements behind it.
        sentinel_ms: latency of the agent's sentinel meanwhile, in ms; None if unknown.
        call_ms: what one call of the runtime took meanwhile, in ms.
        confidence: of its intervals.
    """

    file: str
    sha256: str
    device: str
    created: str
    key: TableKey
    sentinel_ms: float | None
    call_ms: float
    confidence: float


@dataclass(frozen=True)
class PredictedBlock:
    """What a predictor says of a block, without the runtime's call.

    Attributes:
        own_ms: latency, in ms.
        interval_ms: in which it lies with the predictor's confidence, in ms.
        operations: the kernels whose estimates were added up; empty where the block has a model of its own.
        model_sha256: hash of the block's file.
    """

    own_ms: float
    interval_ms: tuple[float, float]
    operations: tuple[str, ...]
    model_sha256: str


def require_completable(space: str, source: TableFile | None, predicting: Predicting) -> None:
    """Refuse a table that a predictor knows nothing of.

    Args:
        space: name of the search space.
        source: the table; None for none.
        predicting: the predictor.

    Raises:
        KeyMismatchError: the predictor is of measurements under other conditions.
        BadInputError: the table is of another space or holds estimates, or the machine was not as fast.
    """
    if source is None:
        return
    table, pair = source.table, f"{source.path} cannot be completed by {predicting.file}"
    if table.space != space:
        raise BadInputError(f"{pair}: it is of the space {table.space!r}, not of {space!r}")
    if table.provenance.estimated_from is not None:
        raise BadInputError(f"{pair}: it holds estimates from whole models, not measured blocks")
    different = key_differences(table.key, predicting.key)
    if different:
        raise KeyMismatchError(f"{pair}: its {'; its '.join(different)}")
    before_ms, now_ms = table.sentinel_ms, predicting.sentinel_ms
    # With a sentinel that is not positive, too, which no job tells but a file may.
    if before_ms is None or now_ms is None:
        return
    if before_ms <= 0 or abs(percent_off(now_ms, before_ms)) > TOLERANCE_PCT:
        raise BadInputError(
            f"{pair}: the machine was not as fast, its sentinel took {now_ms:.4f} ms, not {before_ms:.4f} ms, and "
            f"{TOLERANCE_PCT:g}% is allowed: measure one of them again, while the machine is as it was for the other"
        )


def completed_table(
    space: str,
    source: TableFile | None,
    predicting: Predicting,
    blocks: Mapping[str, PredictedBlock],
    versions: Mapping[str, str],
) -> LookupTable:
    """Return a table with entries for predicted blocks beside those that it has.

    Nothing in it depends on when it is made: a search that goes on makes the very same table again.

    Args:
        space: name of the search space.
        source: the table, which `require_completable` let pass; None for none, and then the call is among the blocks.
        predicting: the predictor.
        blocks: by their keys, none of which the table has.
        versions: of the packages that exported and cut them.

    Raises:
        MissingBlockError: what is predicted of a block is no latency.
    """
    key = predicting.key if source is None else source.table.key
    call = CALL_OVERHEAD.in_dtype(key.precision).key
    measured = {} if source is None else dict(source.table.entries)
    call_ms = measured[call].median_ms if call in measured else predicting.call_ms
    predicted = {
        block: _entry(block, one, 0.0 if block == call else call_ms, predicting) for block, one in blocks.items()
    }
    entries = dict(sorted({**measured, **predicted}.items()))
    if source is None:
        own = Provenance(predicting.created, predicting.device, "", None, dict(versions))
        table = LookupTable(space, key, None, own, {}, predicting.sentinel_ms)
    else:
        origin = source.table.provenance
        own = replace(
            origin,
            journal_sha256=None,
            versions={**versions, **origin.versions},
            shares=None,
            # The parts tell what was imported.
            imported_from=None,
            merged_from=tuple(parts_of(source, measured.keys())) or None,
        )
        table = source.table
    return replace(table, provenance=replace(own, predictors=_predictors(own, predicting)), entries=entries)


def _predictors(origin: Provenance, predicting: Predicting) -> dict[str, str]:
    known = dict(origin.predictors or {})
    if predicting.sha256 not in known.values():
        name = predicting.file if predicting.file not in known else f"{predicting.file} ({predicting.sha256[:8]})"
        known[name] = predicting.sha256
    return known


def _entry(block: str, predicted: PredictedBlock, call_ms: float, predicting: Predicting) -> Entry:
    low_ms, high_ms = predicted.interval_ms
    try:
        return Entry(
            median_ms=round(call_ms + predicted.own_ms, _MS_DIGITS),
            interval_ms=(round(call_ms + low_ms, _MS_DIGITS), round(call_ms + high_ms, _MS_DIGITS)),
            confidence=predicting.confidence,
            rounds=0,
            samples=0,
            converged=False,
            operations=predicted.operations,
            model_sha256=predicted.model_sha256,
            predicted_by=predicting.sha256,
        )
    except ValueError as e:
        raise MissingBlockError(f"what {predicting.file} predicts of {block} cannot be used: {e}") from e
