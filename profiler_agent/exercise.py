"""Keeps a model busy, and idle just before, while the agent reads the machine's power: no latency is taken here."""

from __future__ import annotations

from pathlib import Path
from typing import Callable, Iterator

from profiler_agent.errors import SessionError
from profiler_agent.orders import BlockFailed, Ran, Reply, Resting, Running, Started, WorkOrder
from profiler_agent.records import JobBlock
from profiler_agent.runtimes.session import Runtime
from profiler_agent.sampling import Clock, calibrate, time_runs, warm_up

# Supplies and sensors follow a change of load with some delay.
SETTLE_S = 0.3
REST_S = 1.0
RUN_S = 1.5


def exercise(order: WorkOrder, runtime: Runtime, clock: Clock, sleep: Callable[[float], None]) -> Iterator[Reply]:
    """Rest and run each block of an order, and say when."""
    for block in order.blocks:
        yield Started(block.block_id)
        try:
            yield from _exercise(block, order, runtime, clock, sleep)
        except SessionError as e:
            yield BlockFailed(block.block_id, e.code, str(e))


def _exercise(
    block: JobBlock, order: WorkOrder, runtime: Runtime, clock: Clock, sleep: Callable[[float], None]
) -> Iterator[Reply]:
    session = runtime.open(Path(block.file), order.settings, block.input_shapes)
    try:
        loops = calibrate(session.run, clock, order.settings.min_sample_ns)
        warm_up(session.run, clock, loops)
        sleep(SETTLE_S)
        yield Resting(block.block_id)
        sleep(REST_S)
        yield Running(block.block_id)
        inferences, duration_ns = 0, 0
        while duration_ns < (SETTLE_S + RUN_S) * 1e9:
            duration_ns += time_runs(session.run, clock, loops)
            inferences += loops
        yield Ran(block.block_id, inferences, duration_ns)
    finally:
        session.close()
