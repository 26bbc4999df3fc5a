"""An append-only file of JSON lines: each is on the disk before the next begins; whole only when finished.

The first line is the job, so that a broken journal tells what to go on with. Until it is finished it is called
`PATH.partial`, and a good file of its name stays as it was.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import IO, List, NamedTuple, Optional, Tuple, Type

from profiler_agent.decoding import decode, encode, parse_object
from profiler_agent.disk import sync_folder
from profiler_agent.errors import AgentError, BadInputError
from profiler_agent.records import Event, Job, JobBlock, format_event, parse_event
from profiler_agent.records.version import check_version


class JournalError(AgentError):
    """The journal cannot be written on: the disk is full, say."""


class Journal:
    """The events of one job on disk; made by `begin` or `resume`."""

    def __init__(self, path: Path, file: IO[str]) -> None:
        self._path = path
        self._file = file

    def append(self, event: Event) -> None:
        """Write one event and wait until it is on the disk.

        Raises:
            JournalError: the disk refuses.
        """
        self._write(format_event(event))

    def finish(self) -> None:
        """Give the file its name.

        Raises:
            JournalError: the name cannot be given.
        """
        try:
            partial_path(self._path).replace(self._path)
            sync_folder(self._path.parent)
        except OSError as e:
            raise JournalError(f"cannot finish the journal {self._path}: {e.strerror}") from e

    def _write(self, line: str) -> None:
        try:
            self._file.write(line + "\n")
            self._file.flush()
            os.fsync(self._file.fileno())
        except OSError as e:
            raise JournalError(f"cannot write the journal {partial_path(self._path)}: {e.strerror}") from e

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self, kind: Optional[Type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        # What could not be flushed was never acknowledged, and has been reported when it was written.
        with contextlib.suppress(OSError):
            self._file.close()


class Resumed(NamedTuple):
    """A broken journal, open again: what it holds, and the journal to go on with."""

    journal: Journal
    job: Job
    events: Tuple[Event, ...]


def partial_path(path: Path) -> Path:
    """Return where a journal is while it is not finished."""
    return path.with_name(path.name + ".partial")


def begin(path: Path, job: Job) -> Journal:
    """Start a journal with its job.

    Raises:
        BadInputError: it cannot be written, or an unfinished one is there.
    """
    partial = partial_path(path)
    if path.is_dir():
        raise BadInputError(f"cannot write {path}: it is a folder")
    try:
        file = partial.open("x", encoding="utf-8")
    except FileExistsError as e:
        raise BadInputError(f"{partial} holds an unfinished job: go on with --resume, or remove it") from e
    except OSError as e:
        raise BadInputError(f"cannot write {partial}: {e.strerror}") from e
    _lock(file, partial)
    journal = Journal(path, file)
    journal._write(json.dumps({"event": "job", **encode(job)}, separators=(",", ":")))
    return journal


def resume(path: Path, job: Job) -> Resumed:
    """Open an unfinished journal again, and cut off a torn last line.

    Args:
        path: the journal's final name.
        job: what is asked for now; its id and its budget may differ from those of the journal's job.

    Raises:
        BadInputError: it cannot be read, is damaged elsewhere than at its end, or is of another job.
    """
    partial = partial_path(path)
    try:
        file = partial.open("r+", encoding="utf-8", newline="\n")
        _lock(file, partial)
        text = file.read()
    except (OSError, UnicodeDecodeError) as e:
        raise BadInputError(f"cannot read the journal {partial}: {e}") from e
    whole = text[: text.rfind("\n") + 1]
    if not whole:
        file.close()
        raise BadInputError(f"{partial} does not even hold its job: remove it and start anew")
    known, events = _parse(whole, partial)
    if not same_job(known, job):
        file.close()
        raise BadInputError(f"{partial} holds another job: other models or settings")
    file.seek(len(whole.encode("utf-8")))
    file.truncate()
    return Resumed(Journal(path, file), replace(known, budget_s=job.budget_s, blocks=job.blocks), events)


def same_job(known: Job, job: Job) -> bool:
    """Tell whether two jobs ask for the same latencies; their ids, budgets, other costs and folders may differ."""
    settings = replace(job.settings, costs=known.settings.costs)
    blocks = _without_paths(job)
    return replace(job, job_id=known.job_id, budget_s=known.budget_s, settings=settings, blocks=blocks) == replace(
        known, blocks=_without_paths(known)
    )


def _without_paths(job: Job) -> Tuple[JobBlock, ...]:
    """Return a job's blocks without where their files lie: the hash tells which files they are."""
    return tuple(replace(block, file="") for block in job.blocks)


def read_journal(path: Path) -> Tuple[Job, Tuple[Event, ...]]:
    """Read a finished journal.

    Raises:
        BadInputError: the file cannot be read, or a line is no record of this version.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as e:
        raise BadInputError(f"cannot read the journal {path}: {e}") from e
    return _parse(text, path)


def _parse(text: str, path: Path) -> Tuple[Job, Tuple[Event, ...]]:
    lines: List[str] = [line for line in text.split("\n") if line]
    first = parse_object(lines[0]) if lines else {}
    if first.get("event") != "job":
        raise BadInputError(f"{path} is no journal: its first line is no job")
    check_version(first.get("schema_version"), "journal")
    return decode(Job, first, "job"), tuple(parse_event(line) for line in lines[1:])


def _lock(file: IO[str], partial: Path) -> None:
    """Keep a second agent out for as long as this process lives."""
    try:
        fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as e:
        file.close()
        raise BadInputError(f"{partial} is being written by another agent") from e
