"""How long work reports on itself: a generator yields Progress and returns its result."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from dataclasses import dataclass
from typing import TypeVar

from profiler_agent.records import Event, Failed, Hello, Measured, TableKey, Warned
from searcher.devices.driver import JobResult, collect
from searcher.devices.transport import printable
from searcher.tables.lookup_table import require_same_key

Result = TypeVar("Result")


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
    """Report a job's batches as progress and return the whole job.

    Args:
        events: of one job, as the driver yields them.
        stage: what the measuring is for.
        total: batches to expect: blocks times rounds.
    """
    kept: list[Event] = []
    batches = 0
    for event in events:
        kept.append(event)
        if isinstance(event, Measured):
            batches += 1
            yield Progress(stage, batches, total)
        elif isinstance(event, Warned | Failed):
            yield Progress(stage, batches, total, printable(event.sentence))
        elif isinstance(event, Hello):
            key = event.key
            yield Progress(
                stage, 0, total, printable(f"{key.runtime} {key.runtime_version} on {key.device_fingerprint}")
            )
    yield Progress(stage, total, total)
    return collect(kept)


def requiring_key(events: Iterator[Event], key: TableKey) -> Iterator[Event]:
    """Pass events on, unless they are measured under another key: that ends the job at its first line.

    Raises:
        KeyMismatchError: the keys differ; the message names in what.
    """
    for event in events:
        if isinstance(event, Hello):
            require_same_key(key, event.key)
        yield event
