"""A fresh process that measures one round: it reads one order on standard input and answers in JSON lines.

It alone loads a runtime. It knows nothing of rounds, statistics or journals; its wire stands in orders.py.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import IO, Iterator, Optional, Tuple

from profiler_agent.errors import AgentError, BadInputError, SessionError
from profiler_agent.orders import (
    BAD_ORDER,
    BatchTaken,
    BlockFailed,
    Ready,
    Reply,
    Started,
    WorkOrder,
    format_reply,
    parse_order,
)
from profiler_agent.records import JobBlock
from profiler_agent.runtimes import load_runtime
from profiler_agent.runtimes.session import Runtime
from profiler_agent.sampling import Clock, take_batch


def work(order: WorkOrder, runtime: Runtime, clock: Clock) -> Iterator[Reply]:
    """Carry out an order.

    Args:
        order: its settings hold the threads after clamping.
        runtime: the runtime that the order names.
        clock: a monotonic clock in ns.
    """
    yield _probe(order, runtime)
    for block in order.blocks:
        yield Started(block.block_id)
        try:
            yield _measure_block(block, order, runtime, clock)
        except SessionError as e:
            yield BlockFailed(block.block_id, e.code, str(e))


def pin(affinity: Optional[Tuple[int, ...]]) -> None:
    """Pin this process to processors; None changes nothing.

    Raises:
        BadInputError: the machine has no such processors, or cannot pin.
    """
    if affinity is None:
        return
    try:
        os.sched_setaffinity(0, affinity)
    except (AttributeError, OSError, ValueError) as e:
        raise BadInputError(f"cannot pin to processors {list(affinity)}: {e}") from e


def usable_processors() -> Tuple[int, ...]:
    """Return the processors that this process may run on, as the kernel tells them."""
    try:
        return tuple(sorted(os.sched_getaffinity(0)))
    except AttributeError:  # systems without it
        return tuple(range(os.cpu_count() or 1))


def main() -> None:
    """Read an order, answer on standard output."""
    replies = _private_output()
    try:
        order = parse_order(sys.stdin.readline())
        pin(order.settings.affinity)
        # More threads than processors made one runtime 500 times slower.
        threads = max(1, min(order.settings.threads, len(usable_processors())))
        order = replace(order, settings=replace(order.settings, threads=threads))
        for reply in work(order, load_runtime(order.runtime), time.perf_counter_ns):
            _say(replies, reply)
    except AgentError as e:
        _say(replies, BlockFailed("", getattr(e, "code", BAD_ORDER), str(e)))


def _probe(order: WorkOrder, runtime: Runtime) -> Ready:
    with tempfile.TemporaryDirectory() as folder:
        model = Path(folder, "probe.model")
        model.write_bytes(runtime.probe_model)
        session = runtime.open(model, order.settings, {})
        session.run()
        provider = session.provider
        session.close()
    affinity = order.settings.affinity
    return Ready(
        runtime=order.runtime,
        runtime_version=runtime.version,
        provider=provider,
        threads=order.settings.threads,
        affinity="any" if affinity is None else ",".join(map(str, usable_processors())),
    )


def _measure_block(block: JobBlock, order: WorkOrder, runtime: Runtime, clock: Clock) -> BatchTaken:
    model = Path(block.file)
    settings = order.settings
    operations = runtime.operations(model, settings) if order.list_operations else None
    session = runtime.open(model, settings, block.input_shapes)
    try:
        batch = take_batch(session.run, clock, settings.samples, settings.min_sample_ns)
    finally:
        session.close()
    return BatchTaken(block.block_id, batch.samples_ns, batch.inner_loops, batch.warmed_up, operations)


def _private_output() -> IO[str]:
    """Keep standard output for replies alone: what a runtime prints goes to standard error."""
    private = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return private


def _say(output: IO[str], reply: Reply) -> None:
    output.write(format_reply(reply) + "\n")
    output.flush()


if __name__ == "__main__":
    main()
