"""How long work reports on itself: a generator yields Progress and returns its result."""

from __future__ import annotations

import contextlib
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from typing import TypeVar

from profiler_agent.records import Event, Failed, Hello, Measured, TableKey, Warned
from searcher.devices.answers import JobResult, collect
from searcher.devices.transport import printable
from searcher.tables.journal import Journal
from searcher.tables.lookup_table import require_same_key

Result = TypeVar("Result")

# The stage before measuring: agent, runtime and files are brought, which takes long where a radio is slow.
PREPARING = "prepare the device"


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
        total: batches to expect: blocks times rounds.
    """
    kept: list[Event] = []
    batches = 0
    with _ending(events):
        for event in events:
            kept.append(event)
            if isinstance(event, Measured):
                batches += 1
                yield Progress(stage, batches, total)
            elif isinstance(event, Warned | Failed):
                yield Progress(stage, batches, total, printable(event.sentence))
            elif isinstance(event, Hello):
                key = event.key
                who = f"{key.runtime} {key.runtime_version} on {key.device_fingerprint}"
                yield Progress(stage, 0, total, printable(who))
    yield Progress(stage, total, total)
    return collect(kept)


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


@contextlib.contextmanager
def _ending(events: Iterator[Event]) -> Iterator[None]:
    """Close events that a generator makes, so that the agent behind them ends now and not when they are collected."""
    try:
        yield
    finally:
        if isinstance(events, Generator):
            events.close()
