"""From a search space to a lookup table: export its blocks, measure them on a device, write table and journal."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from profiler_agent.records import Settings
from searcher.artifacts import ExportedModel, cache_folder, write_text
from searcher.devices.device import Device, connect
from searcher.devices.driver import measure_on
from searcher.errors import BadInputError
from searcher.export.to_onnx import export_block, exporter_versions
from searcher.spaces.nasbench201 import NasBench201
from searcher.tables.fill import fill_table, journal_text
from searcher.tables.lookup_table import TABLE_DOCUMENT, LookupTable
from searcher.workflows.progress import Progress, Work, follow_job, requiring_key


@dataclass(frozen=True)
class ProfileRequest:
    """What to profile, where, how, and the table to write.

    Attributes:
        budget_s: seconds after which no new round of measuring starts; None for no bound.
        overwrite: replace an existing table also when its key differs.
    """

    space: NasBench201
    device: Device
    settings: Settings
    table: Path
    budget_s: float | None = None
    overwrite: bool = False


def journal_path(table: Path) -> Path:
    """Return where the raw samples behind a table are kept."""
    return table.with_suffix(".journal.jsonl")


def profile_space(request: ProfileRequest) -> Work[LookupTable]:
    """Measure every block of a space and write the table.

    Raises:
        KeyMismatchError: the file holds a table of another key, which is left as it is.
        SearcherError: the device cannot be reached or a block cannot be measured; nothing is written.
    """
    existing = TABLE_DOCUMENT.load(request.table) if request.table.exists() and not request.overwrite else None
    _check_writable(request.table)
    models = yield from export_blocks(request.space)
    with closing(connect(request.device)) as transport:
        events = measure_on(transport, request.device.interpreter, models, request.settings, request.budget_s)
        checked = events if existing is None else requiring_key(events, existing.key)
        result = yield from follow_job(checked, "measure blocks", len(models) * request.settings.rounds)
    table = fill_table(
        request.space.name,
        request.device.name,
        datetime.now(UTC).isoformat(timespec="seconds"),
        result,
        models,
        exporter_versions(),
    )
    write_text(journal_path(request.table), journal_text(result.events))
    TABLE_DOCUMENT.save(table, request.table)
    return table


def export_blocks(space: NasBench201) -> Work[list[ExportedModel]]:
    """Export the distinct blocks of a space, or find them in the cache."""
    specs = space.all_blocks()
    models = []
    for done, spec in enumerate(specs, start=1):
        models.append(export_block(spec, cache_folder() / "exports"))
        yield Progress("export blocks", done, len(specs))
    return models


def _check_writable(table: Path) -> None:
    """Fail before the measuring rather than after it."""
    try:
        table.parent.mkdir(parents=True, exist_ok=True)
    except OSError as e:
        raise BadInputError(f"cannot write the table {table}: {e.strerror}") from e
