"""From the events of a job to its table: the one road for all, whoever tells the events and however late."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from profiler_agent.records import Event, TableKey
from searcher.artifacts import replacing, require_writable
from searcher.devices.answers import checked
from searcher.errors import BadInputError
from searcher.history.history import History
from searcher.tables.fill import fill_table
from searcher.tables.journal import Journal, journal_path
from searcher.tables.lookup_table import TABLE_DOCUMENT, KeyMismatchError, LookupTable
from searcher.tables.plan import Plan
from searcher.workflows.progress import Work, follow_job, recording, remembering, requiring_key


@dataclass(frozen=True)
class Target:
    """Where a table goes.

    Attributes:
        path: its file; the journal goes beside it.
        overwrite: replace an existing table also when its key differs.
    """

    path: Path
    overwrite: bool = False

    def require_usable(self) -> TableKey | None:
        """Find out before long work whether table and journal can be written.

        Returns:
            The key that the new table must have because of the one that is there; None for any.

        Raises:
            BadInputError: one cannot be written, or what is there is no table.
        """
        existing = TABLE_DOCUMENT.load(self.path) if self.path.is_file() and not self.overwrite else None
        TABLE_DOCUMENT.require_writable(self.path)
        require_writable(journal_path(self.path), "journal")
        return None if existing is None else existing.key


def make_table(
    target: Target, plan: Plan, events: Iterator[Event], history: History, *, goes_on: bool = False
) -> Work[LookupTable]:
    """Keep every event in the journal and in the history, and write the table when the job is done.

    The journal grows with the events and gets its name with the table; whatever fails leaves it as
    `*.journal.jsonl.partial`, and a note on the error says where.

    Args:
        target: where the table goes.
        plan: of a job that the history knows.
        events: of the whole job from its beginning, checked.
        history: keeps them too.
        goes_on: whether the job may have been begun earlier, so that the journal may hold some of them.

    Raises:
        KeyMismatchError: the file holds a table of another key, which is left as it is.
        BadInputError: the table cannot be written.
        SearcherError: a block could not be measured, or the events end early; no table is written.
    """
    key = target.require_usable()
    with Journal(journal_path(target.path), plan.job_id if goes_on else None) as journal:
        wanted = events if key is None else requiring_key(events, key)
        kept = remembering(recording(wanted, journal), history, plan.job_id)
        try:
            result = yield from follow_job(kept, "measure blocks", plan.batches)
        except KeyMismatchError as e:
            raise KeyMismatchError(f"{e}; --overwrite replaces {target.path}") from e
        table = fill_table(
            plan.space,
            plan.device,
            history.table_created(plan.job_id),
            result,
            plan.models,
            plan.versions,
            journal.sha256(),
            plan.calibration,
        )
        _commit(table, journal, target.path)
    return table


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


def remembered(plan: Plan, history: History) -> Iterator[Event]:
    """Tell a job's events from the history alone, with all the checks of a device's answer."""
    return checked(history.lines(plan.job_id), plan.job, "the history")
