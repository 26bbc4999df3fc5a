"""An append-only file of JSON lines: each is on the disk before the next begins; whole only when finished."""

from __future__ import annotations

import os
from pathlib import Path
from types import TracebackType
from typing import List, Optional, Type

from profiler_agent.errors import BadInputError
from profiler_agent.records import Event, format_event, parse_event


class Journal:
    """Events of one job, written to `PATH.partial` and renamed to PATH by `finish`.

    Until then a good file of that name stays as it was.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._partial = path.with_name(path.name + ".partial")
        try:
            self._file = self._partial.open("w", encoding="utf-8")
        except OSError as e:
            raise BadInputError(f"cannot write {self._partial}: {e.strerror}") from e

    def append(self, event: Event) -> None:
        """Write one event and wait until it is on the disk."""
        self._file.write(format_event(event) + "\n")
        self._file.flush()
        os.fsync(self._file.fileno())

    def finish(self) -> None:
        """Give the file its name."""
        self._file.close()
        self._partial.replace(self._path)

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self,
        kind: Optional[Type[BaseException]],
        error: Optional[BaseException],
        trace: Optional[TracebackType],
    ) -> None:
        self._file.close()


def read_journal(path: Path) -> List[Event]:
    """Read all events of a finished journal.

    Raises:
        BadInputError: the file cannot be read, or a line is no record of this version.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as e:
        raise BadInputError(f"cannot read the journal {path}: {e}") from e
    return [parse_event(line) for line in text.splitlines() if line]
