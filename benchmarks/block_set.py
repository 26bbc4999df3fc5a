"""What the benchmarks of whole jobs share: the NAS-Bench-201 blocks as a job, and a job run to its end with times."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from pathlib import Path

from profiler_agent.measure import measure
from profiler_agent.records import (
    Done,
    Event,
    Failed,
    Hello,
    Job,
    JobBlock,
    Measured,
    Measurement,
    Rejected,
    Settings,
    format_event,
    measurements_of,
)
from searcher.export.exporter import exporter_for
from searcher.spaces.nasbench201 import NasBench201


class BenchmarkError(Exception):
    """A benchmark cannot say what it was asked; the message says why."""


def export_block_set(folder: Path) -> tuple[JobBlock, ...]:
    """Export the blocks that `searcher profile` measures, the call overhead among them."""
    exporter = exporter_for("onnxruntime")
    models = [exporter.export_block(spec, folder) for spec in NasBench201().all_blocks()]
    return tuple(JobBlock(model.name, str(model.path), model.sha256) for model in models)


@dataclass(frozen=True)
class JobRun:
    """A job that has run.

    Attributes:
        events: everything that the agent said, in order.
        times_s: when each event came, in s since the job began.
    """

    events: tuple[Event, ...]
    times_s: tuple[float, ...]

    @property
    def hello(self) -> Hello:
        """The first event."""
        return next(event for event in self.events if isinstance(event, Hello))

    @property
    def done(self) -> Done:
        """The last event; a job that was stopped from outside has none.

        Raises:
            StopIteration: there is none.
        """
        return next(event for event in self.events if isinstance(event, Done))

    @property
    def measurements(self) -> dict[str, Measurement]:
        """What came of each block."""
        return {one.block_id: one for one in measurements_of(self.events)}

    @property
    def batches(self) -> int:
        """Batches that were taken."""
        return sum(isinstance(event, Measured) for event in self.events)

    @property
    def rejected(self) -> int:
        """Batches that were rejected, at once or later."""
        taken = {(e.block_id, e.process_index) for e in self.events if isinstance(e, Measured) and e.rejected}
        return len(taken | {(e.block_id, e.process_index) for e in self.events if isinstance(e, Rejected)})


def run_job(
    blocks: Sequence[JobBlock],
    settings: Settings,
    budget_s: float | None,
    journal: Path | None = None,
    enough: Callable[[Event, float], bool] = lambda _event, _seconds: False,
) -> JobRun:
    """Run a job with real workers.

    Args:
        blocks: what to measure.
        settings: how.
        budget_s: seconds after which no round starts; None for no bound.
        journal: a file for the events, one JSON object a line; None keeps none.
        enough: told every event and when it came; the job is stopped when it says so.

    Raises:
        BenchmarkError: a block cannot be measured.
    """
    events: list[Event] = []
    times_s: list[float] = []
    start = time.monotonic()
    stream = measure(Job("benchmark", tuple(blocks), settings, budget_s))
    try:
        for event in stream:
            if isinstance(event, Failed):
                raise BenchmarkError(f"{event.block_id} cannot be measured: {event.sentence}")
            events.append(event)
            times_s.append(time.monotonic() - start)
            if enough(event, times_s[-1]):
                break
    finally:
        # Ends the worker that a job which stops early listens to.
        if isinstance(stream, Generator):
            stream.close()
    if journal is not None:
        journal.write_text("".join(format_event(event) + "\n" for event in events))
    return JobRun(tuple(events), tuple(times_s))
