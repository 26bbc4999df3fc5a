"""From a journal back to its table: what the raw samples say, by the road that every table is made on."""

from __future__ import annotations

import math
from collections.abc import Generator, Iterator
from pathlib import Path

from profiler_agent.records import Event, Hello, Job, JobBlock, RecordError, parse_event
from searcher.artifacts import ExportedModel
from searcher.devices.answers import checked, collect
from searcher.errors import BadInputError
from searcher.tables.fill import fill_table
from searcher.tables.lookup_table import Entry, LookupTable

# Tables hold ms with six digits; the last of them may be rounded otherwise.
_ROUNDING_MS = 1.5e-6
_ROUNDING = 1e-4


def recompute(table: LookupTable, journal: Path) -> LookupTable:
    """Make a table again from its journal.

    What no journal tells is taken from the table: the hashes and numerical errors of its models, and its provenance.

    Raises:
        BadInputError: the journal cannot be read, or the table names a block twice or none.
        SearcherError: the journal does not hold a whole job that measured the table's blocks.
    """
    models = tuple(
        ExportedModel(block, Path(block), entry.model_sha256, entry.numerical_error)
        for block, entry in table.entries.items()
    )
    blocks = tuple(JobBlock(model.name, model.name, model.sha256) for model in models)
    hello = _hello(journal)
    try:
        job = Job(hello.job_id, blocks, hello.settings)
    except RecordError as e:
        raise BadInputError(f"{journal} is no journal of this table: {e}") from e
    result = collect(_events(journal, job))
    origin = table.provenance
    return fill_table(
        table.space,
        origin.device,
        origin.created,
        result,
        models,
        origin.versions,
        origin.journal_sha256 or "",
        origin.calibration,
    )


def entry_differences(written: Entry, recomputed: Entry) -> list[str]:
    """Return in what an entry differs from what its raw samples say, each in a few words."""
    numbers = (
        ("median_ms", written.median_ms, recomputed.median_ms, _ROUNDING_MS),
        ("the low end of interval_ms", written.interval_ms[0], recomputed.interval_ms[0], _ROUNDING_MS),
        ("the high end of interval_ms", written.interval_ms[1], recomputed.interval_ms[1], _ROUNDING_MS),
        ("confidence", written.confidence, recomputed.confidence, _ROUNDING),
    )
    different = [
        f"{name} is {one:g}, not {other:g}"
        for name, one, other, allowed in numbers
        if not math.isclose(one, other, rel_tol=1e-9, abs_tol=allowed)
    ]
    for name in ("rounds", "samples", "converged", "operations", "peak_memory_bytes", "file_bytes", "energy_mj"):
        one, other = getattr(written, name), getattr(recomputed, name)
        if one != other:
            different.append(f"{name} is {one!r}, not {other!r}")
    return different


def _hello(journal: Path) -> Hello:
    lines = _lines(journal)
    try:
        first: Event | None = next((parse_event(line) for line in lines), None)
    except RecordError as e:
        raise BadInputError(f"{journal} is no journal: {e}") from e
    finally:
        lines.close()
    if not isinstance(first, Hello):
        raise BadInputError(f"{journal} is no journal of a job: its `hello` is missing")
    return first


def _events(journal: Path, job: Job) -> Iterator[Event]:
    return checked(_lines(journal), job, str(journal))


def _lines(journal: Path) -> Generator[str, None, None]:
    try:
        with journal.open(encoding="utf-8", errors="replace") as file:
            yield from file
    except OSError as e:
        raise BadInputError(f"cannot read the journal {journal}: {e.strerror or e}") from e
