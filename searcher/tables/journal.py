"""The raw record behind a table: every event of a job, on the disk as it comes, named when its table is whole."""

from __future__ import annotations

import collections
import fcntl
import os
from pathlib import Path
from types import TracebackType
from typing import IO, Any, BinaryIO, TextIO

from profiler_agent.records import Event, Hello, RecordError, format_event, parse_event
from searcher.artifacts import sha256_of
from searcher.devices.answers import DeviceAnswerError
from searcher.errors import BadInputError


def journal_path(table: Path) -> Path:
    """Return where the raw samples behind a table are kept: its whole file name and `.journal.jsonl`.

    The table's own suffix stays in the name, so that no two tables of a folder share a journal.
    """
    return table.with_name(f"{table.name}.journal.jsonl")


def partial_path(journal: Path) -> Path:
    """Return where a journal is kept until its table is whole."""
    return journal.with_name(f"{journal.name}.partial")


class JournalInUseError(BadInputError):
    """Another run is writing the journal."""


def keep_others_out(file: IO[Any], path: Path) -> None:
    """Lock a file that was opened for writing, for this process alone, until it is closed.

    Args:
        file: is closed where that fails.
        path: says in the message which one it is.

    Raises:
        JournalInUseError: another process has locked it.
    """
    try:
        fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as e:
        file.close()
        raise JournalInUseError(f"{path} is being written by another run") from e


def write_to_disk(file: BinaryIO, content: bytes, after_bytes: int | None = None) -> None:
    """Write at the end of a file, or after so many bytes, and wait until it is on the disk.

    Raises:
        OSError: it cannot be written.
    """
    if after_bytes is not None:
        file.truncate(after_bytes)
    file.write(content)
    file.flush()
    os.fsync(file.fileno())


class Journal:
    """Events of one job, one JSON line each; a context manager that closes the file.

    The file is made with the first event, so that a job that never begins leaves an earlier partial journal as it is.
    Entering the context is refused while another run writes the same journal.
    A partial journal of a job that goes on is kept: what it holds is told again from its beginning, compared, and
    stays on the disk all the time. Any other is replaced.
    An error that leaves the context while there is a partial journal gets a note that says where it lies.

    Args:
        path: its name when it is finished.
        job_id: of a job that may have been begun earlier and goes on; None for events that are all at hand.
    """

    def __init__(self, path: Path, job_id: str | None = None) -> None:
        self._path = path
        self._partial = partial_path(path)
        self._job_id = job_id
        self._file: TextIO | None = None
        # Lines that the file holds and that have not been told again, and where the first of them begins.
        self._known: collections.deque[str] = collections.deque()
        self._told_bytes = 0

    def append(self, event: Event) -> None:
        """Write one event and wait until it is on the disk.

        Raises:
            BadInputError: the file cannot be written.
            DeviceAnswerError: what the device told of this very job before was something else.
        """
        line = format_event(event) + "\n"
        try:
            if self._file is None:
                self._file = self._begin()
            if self._known and self._is_known(line, event):
                return
            self._file.write(line)
            self._file.flush()
            os.fsync(self._file.fileno())
        except OSError as e:
            raise BadInputError(f"cannot write the journal {self._partial}: {e.strerror or e}") from e

    def _begin(self) -> TextIO:
        """Open the partial journal for this run alone, and empty it only when it is ours and of another job.

        Raises:
            JournalInUseError: another run is writing it.
        """
        file = self._locked()
        file.seek(0)
        lines = file.readlines()
        if self._job_id is not None and _is_of_job(lines, self._job_id):
            # A last line without its end was torn by a crash.
            self._known.extend(line for line in lines if line.endswith("\n"))
        file.truncate(sum(map(_size_bytes, self._known)))
        return file

    def _locked(self) -> TextIO:
        file = self._partial.open("a+", encoding="utf-8", errors="surrogateescape", newline="\n")
        keep_others_out(file, self._partial)
        return file

    def _is_known(self, line: str, event: Event) -> bool:
        """Compare an event with what the file holds in its place."""
        known = self._known.popleft()
        if known == line:
            self._told_bytes += _size_bytes(line)
            return True
        if not isinstance(event, Hello) or self._told_bytes == 0 or self._file is None:
            raise DeviceAnswerError(
                f"the device no longer has what {self._partial} holds of the job: begin anew, without --resume"
            )
        # The machine lost power before its last events were on its disk; its agent goes on without them.
        self._known.clear()
        self._file.truncate(self._told_bytes)
        return False

    def sha256(self) -> str:
        """Return the hexadecimal hash of the bytes written so far."""
        return sha256_of(self._partial)

    def finish(self) -> None:
        """Give the file its name."""
        self._close()
        self._partial.replace(self._path)

    def __enter__(self) -> Journal:
        # Before a job is begun that would only have to be stopped again.
        if self._partial.exists():
            self._locked().close()
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


def _size_bytes(line: str) -> int:
    return len(line.encode("utf-8", "surrogateescape"))


def _is_of_job(lines: list[str], job_id: str) -> bool:
    if not lines or not lines[0].endswith("\n"):
        return False
    try:
        first = parse_event(lines[0])
    except RecordError:
        return False
    return isinstance(first, Hello) and first.job_id == job_id
