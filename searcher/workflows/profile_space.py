"""From a search space to a lookup table: export its blocks, measure them on a device, write table and journal."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from profiler_agent.records import Settings
from searcher.artifacts import ExportedModel, cache_folder, replacing, require_writable
from searcher.devices.device import Connect, Device, connect
from searcher.devices.driver import Assignment, measure_on
from searcher.devices.link import Link
from searcher.devices.prepare import python_setup
from searcher.errors import BadInputError
from searcher.export.exporter import Exporter
from searcher.spaces.nasbench201 import NasBench201
from searcher.tables.fill import fill_table
from searcher.tables.journal import Journal, journal_path
from searcher.tables.lookup_table import TABLE_DOCUMENT, KeyMismatchError, LookupTable
from searcher.workflows.prepare_exporter import prepare_exporter
from searcher.workflows.progress import PREPARING, Progress, Work, follow_job, recording, requiring_key


@dataclass(frozen=True)
class ProfileRequest:
    """What to profile, where, how, and the table to write.

    Attributes:
        budget_s: seconds after which no new round of measuring starts; None for no bound.
        overwrite: replace an existing table also when its key differs.
        data: images that blocks of other numbers than fp32 are calibrated and judged on.
    """

    space: NasBench201
    device: Device
    settings: Settings
    table: Path
    budget_s: float | None = None
    overwrite: bool = False
    data: str = "digits"


def profile_space(request: ProfileRequest, connect: Connect = connect) -> Work[LookupTable]:
    """Measure every block of a space and write the table, its journal beside it.

    The journal grows with the measuring and gets its name with the table; whatever fails leaves it as
    `*.journal.jsonl.partial`, and a note on the error says where.

    Args:
        request: what to profile.
        connect: opens the way to the device.

    Raises:
        KeyMismatchError: the file holds a table of another key, which is left as it is.
        BadInputError: the table cannot be written; found before the measuring where it can be.
        SearcherError: the device cannot be reached or a block cannot be measured; no table is written.
    """
    existing = TABLE_DOCUMENT.load(request.table) if request.table.is_file() and not request.overwrite else None
    TABLE_DOCUMENT.require_writable(request.table)
    require_writable(journal_path(request.table), "journal")
    settings = request.settings
    exporter = prepare_exporter(request.space, settings.runtime, settings.precision, request.data)
    models = yield from export_blocks(request.space, exporter)
    setup = python_setup(request.device, settings.runtime, None if existing is None else existing.key)
    with Journal(journal_path(request.table)) as journal:
        with closing(Link(lambda: connect(request.device))) as link:
            yield Progress(PREPARING, 0, 1)
            events = measure_on(link, setup, Assignment(models, settings, request.budget_s))
            yield Progress(PREPARING, 1, 1)
            checked = events if existing is None else requiring_key(events, existing.key)
            recorded = recording(checked, journal)
            try:
                result = yield from follow_job(recorded, "measure blocks", len(models) * settings.rounds)
            except KeyMismatchError as e:
                raise KeyMismatchError(f"{e}; --overwrite replaces {request.table}") from e
        table = fill_table(
            request.space.name,
            request.device.name,
            datetime.now(UTC).isoformat(timespec="seconds"),
            result,
            models,
            exporter.versions,
            journal.sha256(),
            exporter.calibration_identity,
        )
        _commit(table, journal, request.table)
    return table


def export_blocks(space: NasBench201, exporter: Exporter) -> Work[list[ExportedModel]]:
    """Export the distinct blocks of a space in the exporter's numbers, or find them in the cache."""
    specs = space.all_blocks()
    models = []
    for done, spec in enumerate(specs, start=1):
        models.append(exporter.export_block(spec, cache_folder() / "exports"))
        yield Progress("export blocks", done, len(specs))
    return models


def _commit(table: LookupTable, journal: Journal, path: Path) -> None:
    """Give journal and table their names, one right after the other.

    Between the two renames, a crash would leave the new journal beside the old table. The table is the commit point:
    it belongs with the journal whose hash it holds, and with no other.
    """
    try:
        with replacing(path) as temporary:
            TABLE_DOCUMENT.save(table, temporary)
            journal.finish()
    except OSError as e:
        raise BadInputError(f"cannot write the lookup table {path}: {e.strerror or e}") from e
