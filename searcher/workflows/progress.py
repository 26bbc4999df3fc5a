"""How long work reports on itself: a generator yields Progress and returns its result."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from typing import TypeVar

from profiler_agent.records import Done, Event, Failed, Hello, Measured, Rejected, TableKey, Warned
from searcher.devices.answers import JobResult, collect
from searcher.devices.transport import printable
from searcher.history.history import History
from searcher.tables.journal import Journal
from searcher.tables.lookup_table import require_same_key

Result = TypeVar("Result")

# The stage before measuring: agent, runtime and files are brought, which takes long where a radio is slow.
PREPARING = "prepare the device"
MEASURING = "measure blocks"

# A transaction for each event would cost more than all else; what a crash takes is told again.
_BATCH_EVENTS, _BATCH_S = 200, 2.0
# Fewer batches that do not count are nothing to tell of.
_OFTEN_DISTURBED = 10


@dataclass(frozen=True)
class Progress:
    """How far one stage of the work is.

    Attributes:
        stage: what is being done.
        done: units finished.
        total: units in all.
        note: a sentence worth keeping on the screen, or empty.
    """

    stage: str
    done: int
    total: int
    note: str = ""


Work = Generator[Progress, None, Result]


def follow_job(events: Iterator[Event], stage: str, total: int) -> Work[JobResult]:
    """Report a job's batches as progress and return the whole job; the job ends when its follower stops.

    Args:
        events: of one job, as the driver yields them.
        stage: what the measuring is for.
        total: batches that count to expect, at most: blocks times rounds. Disturbed ones are measured again.
    """
    kept: list[Event] = []
    tally = _Tally(total)
    boot_id: str | None = None
    with _ending(events):
        for event in events:
            kept.append(event)
            if isinstance(event, Measured):
                note = tally.add(event)
                yield Progress(stage, tally.done, total, note)
            elif isinstance(event, Rejected):
                tally.drop(event)
            elif isinstance(event, Warned | Failed):
                yield Progress(stage, tally.done, total, printable(event.sentence))
            elif isinstance(event, Hello):
                note = _who(event) if len(kept) == 1 else _again(event, boot_id)
                boot_id = event.boot_id
                yield Progress(stage, tally.done, total, note)
    yield Progress(stage, total, total)
    return collect(kept)


class _Tally:
    """Counts a job's batches: those that count are progress, disturbed ones are measured again."""

    def __init__(self, total: int) -> None:
        # Once in a job, and never for the few that a quiet machine has.
        self._worth_telling = max(_OFTEN_DISTURBED, total // 2)
        self._counting: set[tuple[str, int]] = set()
        self._disturbed = 0
        self.done = 0

    def add(self, batch: Measured) -> str:
        """Count one; return what is to be told of it, or nothing."""
        if batch.rejected is None:
            self._counting.add((batch.block_id, batch.process_index))
            # What is rejected later stays done: progress never goes back.
            self.done = max(self.done, len(self._counting))
            return ""
        self._disturbed += 1
        if self._disturbed != self._worth_telling:
            return ""
        told = f"{self._disturbed} batches were disturbed and are measured again, the last because {batch.rejected}"
        return printable(told)

    def drop(self, rejection: Rejected) -> None:
        """A batch that counted does so no more."""
        self._counting.discard((rejection.block_id, rejection.process_index))


def _who(hello: Hello) -> str:
    key = hello.key
    return printable(f"{key.runtime} {key.runtime_version} on {key.device_fingerprint}")


def _again(hello: Hello, boot_id: str | None) -> str:
    """Say why an agent says hello again."""
    if hello.boot_id != boot_id:
        return "the device was started again; the job goes on"
    # It cannot tell whether it was killed, or interrupted by somebody who then started it again.
    return "the agent had ended before its job was done, and was started again; the job goes on"


def requiring_key(events: Iterator[Event], key: TableKey) -> Iterator[Event]:
    """Pass events on, unless they are measured under another key: that ends the job at its first line.

    Raises:
        KeyMismatchError: the keys differ; the message names in what.
    """
    with _ending(events):
        for event in events:
            if isinstance(event, Hello):
                require_same_key(key, event.key)
            yield event


def recording(events: Iterator[Event], journal: Journal) -> Iterator[Event]:
    """Pass events on, each when it is in the journal.

    Raises:
        BadInputError: the journal cannot be written.
    """
    with _ending(events):
        for event in events:
            journal.append(event)
            yield event


def remembering(
    events: Iterator[Event], history: History, job_id: str, clock_s: Callable[[], float] = time.monotonic
) -> Iterator[Event]:
    """Pass all events of a job on and keep them in the history too: several at a time, and all when it ends.

    Raises:
        HistoryError: the history cannot be written.
    """
    waiting: list[Event] = []
    kept, kept_s = 0, clock_s()
    try:
        with _ending(events):
            for event in events:
                waiting.append(event)
                due = len(waiting) >= _BATCH_EVENTS or clock_s() - kept_s >= _BATCH_S
                if due or isinstance(event, Hello | Done):
                    history.append(job_id, kept, waiting)
                    kept, kept_s = kept + len(waiting), clock_s()
                    waiting.clear()
                yield event
    finally:
        if waiting:
            history.append(job_id, kept, waiting)


@contextlib.contextmanager
def _ending(events: Iterator[Event]) -> Iterator[None]:
    """Close events that a generator makes, so that the agent behind them ends now and not when they are collected."""
    try:
        yield
    finally:
        if isinstance(events, Generator):
            events.close()
