"""A dataset that grows: rows and card, written again whenever rows join, by one process at a time."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from profiler_agent.records import TableKey
from searcher.artifacts import require_writable, sha256_of, utc_now
from searcher.devices.answers import JobResult
from searcher.errors import BadInputError
from searcher.export.exporter import Exporter
from searcher.tables.dataset import KernelRow
from searcher.tables.dataset_card import AddedReport, Conditions, DatasetCard, Draw, card_beside, empty_card, save_card
from searcher.tables.dataset_file import read_dataset, require_dataset_name, write_dataset
from searcher.tables.journal import keep_others_out


class DatasetStore:
    """The rows of a file and its card; made by `opened`.

    Attributes:
        path: of the file.
        rows: all that it holds.
        card: what is known of them; as it was last written, or is to be.
    """

    def __init__(self, path: Path, rows: list[KernelRow], card: DatasetCard) -> None:
        self.path = path
        self.rows = rows
        self.card = card

    def measured(self, key: TableKey) -> list[KernelRow]:
        """Return the rows of a key that were measured, not estimated."""
        return [row for row in self.rows if row.key == key and not row.estimated]

    def note_draw(self, draw: Draw) -> None:
        """Keep how kernels are drawn; a build that goes on as the one before is told once."""
        last = self.card.draws[-1] if self.card.draws else None
        if last is None or replace(last, created=draw.created) != draw:
            self.card = replace(self.card, draws=(*self.card.draws, draw))

    def note_job(self, result: JobResult, device: str, exporter: Exporter) -> None:
        """Keep who measured, where, what wrote the files, and what could not be measured."""
        hello = result.hello
        before = self.card.conditions_of(hello.key)
        failures = {**(before.failures if before else {}), **{one.block_id: one.sentence for one in result.failures}}
        now = Conditions(
            key=hello.key,
            rows=0,
            device=device,
            agent_version=hello.agent_version,
            environment=hello.environment,
            exporter_versions=exporter.versions,
            failures=failures,
            calibration=exporter.calibration_identity,
        )
        others = tuple(one for one in self.card.conditions if one.key != hello.key)
        self.card = replace(self.card, conditions=(*others, now))

    def join(self, rows: Sequence[KernelRow]) -> None:
        """Add rows, and write file and card: first the file, so that nothing measured is ever lost.

        Raises:
            BadInputError: one of them cannot be written.
        """
        joined = [*self.rows, *rows]
        write_dataset(joined, self.path)
        # Only now: what is told of a build that ends here is what the file holds.
        self.rows = joined
        self.card = save_card(self.card, self.rows, self.path, utc_now())

    def settle(self) -> None:
        """Write the card once more if it does not fit the file, as after a crash between the two.

        Raises:
            BadInputError: nothing was measured, or the card cannot be written.
        """
        if not self.rows:
            raise BadInputError(f"the budget was over before a kernel was measured: {self.path} is not written")
        if self.card.file_sha256 != sha256_of(self.path):
            self.card = save_card(self.card, self.rows, self.path, utc_now())

    def require_new(self, report: AddedReport) -> None:
        """Refuse a report whose rows are there already.

        Raises:
            BadInputError: they are.
        """
        if any(report.sha256 == known.sha256 for known in self.card.added_reports):
            raise BadInputError(f"the operators of {report.model} (report {report.sha256[:12]}) are in it already")

    def add_report(self, rows: Sequence[KernelRow], report: AddedReport, conditions: Conditions) -> None:
        """Add the estimates of a whole model's operators.

        Raises:
            BadInputError: its rows are there already, or the file cannot be written.
        """
        self.require_new(report)
        self.card = replace(self.card, added_reports=(*self.card.added_reports, report))
        if self.card.conditions_of(conditions.key) is None:
            self.card = replace(self.card, conditions=(*self.card.conditions, conditions))
        self.join(rows)


@contextlib.contextmanager
def opened(path: Path) -> Iterator[DatasetStore]:
    """Read a dataset that is there, or begin a new one, and keep other writers out meanwhile.

    Raises:
        BadInputError: the file or its card is none, holds columns that would be lost, or cannot be written.
        JournalInUseError: another run is writing it.
    """
    require_dataset_name(path)
    require_writable(path, "dataset")
    lock_path = path.with_name(f".{path.name}.lock")
    try:
        lock = lock_path.open("ab")
    except OSError as e:
        raise BadInputError(f"cannot write the dataset {path}: {e.strerror or e}") from e
    keep_others_out(lock, path)
    with lock:
        rows = read_dataset(path, to_extend=True) if path.exists() else []
        card = card_beside(path, utc_now())
        if not rows:
            # Of a file that is gone: nothing in it tells of the new one but what its publisher wrote.
            card = replace(empty_card(path, utc_now()), licence=card.licence)
        yield DatasetStore(path, rows, card)
