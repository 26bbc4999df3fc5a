"""A job as a folder that can be carried around: the job, its journal, and how it ended.

job.json        the job; files of models are relative to the folder
journal.jsonl   what was measured; `journal.jsonl.partial` until the job is done
running         a lease: locked while an agent works on the job
log             what a detached agent said on standard error
ended.json      written last: exit status, and the sentence that goes with a failure
"""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import dataclass, replace
from enum import Enum
from pathlib import Path
from typing import Optional

from profiler_agent.decoding import decode, parse_object
from profiler_agent.disk import sync_folder
from profiler_agent.errors import AgentError, BadInputError
from profiler_agent.journal import partial_path, same_job
from profiler_agent.lease import holder
from profiler_agent.records import Job, format_job, parse_job

JOB_FILE = "job.json"
# Of a job that was given up by its owner; it is never begun again.
CANCELLED_STATUS = 130
_RESERVE_BYTES = 8192
_END_FILE = "ended.json"


class State(Enum):
    """How far a job is. A broken one was neither finished nor given up: its agent died, or the machine did."""

    NEW = "new"
    RUNNING = "running"
    BROKEN = "broken"
    ENDED = "ended"


@dataclass(frozen=True)
class End:
    """How a job ended: with which exit status, and what was said about it, or None."""

    status: int
    sentence: Optional[str] = None


@dataclass(frozen=True)
class JobFolder:
    """One job on disk.

    Attributes:
        path: the folder.
    """

    path: Path

    @property
    def journal(self) -> Path:
        """Where the journal is when it is finished."""
        return self.path / "journal.jsonl"

    @property
    def lease(self) -> Path:
        """What is locked while an agent works on the job."""
        return self.path / "running"

    @property
    def log(self) -> Path:
        """What a detached agent said on standard error."""
        return self.path / "log"

    @property
    def _end_file(self) -> Path:
        return self.path / _END_FILE

    @property
    def _reserve(self) -> Path:
        return self.path / "reserve"

    def job(self) -> Job:
        """Read the job; the paths of its models are good from the current folder.

        Raises:
            BadInputError: there is none, or it is no job of this version.
        """
        file = self.path / JOB_FILE
        try:
            job = parse_job(file.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError) as e:
            raise BadInputError(f"cannot read the job {file}: {e}") from e
        # Absolute: the workers' current folder is not this process's affair.
        blocks = (replace(block, file=os.path.abspath(str(self.path / block.file))) for block in job.blocks)
        return replace(job, blocks=tuple(blocks))

    def prepare(self, job: Job) -> None:
        """Make the folder and write the job down; of the same job that is there already, the budget may change.

        Raises:
            BadInputError: another job is there.
            AgentError: the disk refuses.
        """
        file = self.path / JOB_FILE
        if file.exists() and not same_job(parse_job(file.read_text(encoding="utf-8")), job):
            raise BadInputError(f"{self.path} holds another job")
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            self._write(file, format_job(job))
            if self.end() is None:
                self._reserve.write_bytes(bytes(_RESERVE_BYTES))
        except OSError as e:
            raise AgentError(f"cannot write {file}: {e.strerror}") from e

    def state(self) -> State:
        """Tell how far the job is.

        Raises:
            AgentError: the folder cannot be looked at.
        """
        # In this order: a job that ends meanwhile is never taken for a broken one.
        running = holder(self.lease) is not None
        if self.end() is not None:
            return State.ENDED
        if running:
            return State.RUNNING
        begun = self.journal.exists() or partial_path(self.journal).exists()
        return State.BROKEN if begun else State.NEW

    def end(self) -> Optional[End]:
        """Return how the job ended; None if it did not yet."""
        try:
            text = self._end_file.read_text(encoding="utf-8")
        except FileNotFoundError:
            return None
        except OSError as e:
            raise AgentError(f"cannot read how {self.path} ended: {e.strerror}") from e
        return decode(End, parse_object(text), "end")

    def finish(self, end: End) -> None:
        """Write down how the job ended.

        Raises:
            AgentError: the disk refuses.
        """
        file = self._end_file
        try:
            self._reserve.unlink(missing_ok=True)
            self._write(file, json.dumps({"status": end.status, "sentence": end.sentence}))
        except OSError as e:
            raise AgentError(f"cannot write {file}: {e.strerror}") from e

    def reopen(self) -> None:
        """Forget how the job ended if it failed before its time, so that it can be tried again.

        Raises:
            AgentError: the disk refuses.
        """
        end = self.end()
        if end is None or end.status == CANCELLED_STATUS or self.journal.exists():
            return
        try:
            self._end_file.unlink()
        except OSError as e:
            raise AgentError(f"cannot begin {self.path} again: {e.strerror}") from e

    def _write(self, file: Path, text: str) -> None:
        """Write a file whole or not at all."""
        temporary = file.with_name(f".{file.name}.{os.getpid()}")
        with temporary.open("w", encoding="utf-8") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(file)
        sync_folder(self.path)


def remove_oldest(jobs: Path, kept: int) -> None:
    """Remove the folders of ended jobs, but for those that ended last.

    By count and not by age: the clock of a board without a battery jumps by years when it first hears the time.

    Args:
        jobs: holds job folders.
        kept: how many ended ones stay.
    """
    ended = sorted(jobs.glob(f"*/{_END_FILE}"), key=lambda file: file.stat().st_mtime, reverse=True)
    for file in ended[kept:]:
        shutil.rmtree(str(file.parent), ignore_errors=True)
