"""The raw record behind a table: every event of a job, on the disk as it comes, named when its table is whole."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from types import TracebackType
from typing import TextIO

from profiler_agent.records import Event, format_event
from searcher.artifacts import sha256_of
from searcher.errors import BadInputError


def journal_path(table: Path) -> Path:
    """Return where the raw samples behind a table are kept: its whole file name and `.journal.jsonl`.

    The table's own suffix stays in the name, so that no two tables of a folder share a journal.
    """
    return table.with_name(f"{table.name}.journal.jsonl")


def partial_path(journal: Path) -> Path:
    """Return where a journal is kept until its table is whole."""
    return journal.with_name(f"{journal.name}.partial")


class Journal:
    """Events of one job, one JSON line each; a context manager that closes the file.

    The file is made with the first event, so that a job that never begins leaves an earlier partial journal as it is.
    An error that leaves the context while there is a partial journal gets a note that says where it lies.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._partial = partial_path(path)
        self._file: TextIO | None = None

    def append(self, event: Event) -> None:
        """Write one event and wait until it is on the disk.

        Raises:
            BadInputError: the file cannot be written.
        """
        try:
            if self._file is None:
                self._file = self._begin()
            self._file.write(format_event(event) + "\n")
            self._file.flush()
            os.fsync(self._file.fileno())
        except OSError as e:
            raise BadInputError(f"cannot write the journal {self._partial}: {e.strerror or e}") from e

    def _begin(self) -> TextIO:
        """Open the partial journal for this run alone, and empty it only when it is ours.

        Raises:
            BadInputError: another run is writing it.
        """
        file = self._partial.open("a", encoding="utf-8")
        try:
            fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as e:
            file.close()
            raise BadInputError(f"{self._partial} is being written by another run") from e
        file.truncate(0)
        return file

    def sha256(self) -> str:
        """Return the hexadecimal hash of the bytes written so far."""
        return sha256_of(self._partial)

    def finish(self) -> None:
        """Give the file its name."""
        self._close()
        self._partial.replace(self._path)

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        begun = self._file is not None
        self._close()
        if error is not None and begun and self._partial.exists():
            error.add_note(f"what was measured until then is kept in {self._partial}")

    def _close(self) -> None:
        if self._file is not None:
            self._file.close()
