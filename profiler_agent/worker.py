"""A fresh process that carries out one order: it reads it on standard input and answers in JSON lines.

It alone loads a runtime. It knows nothing of rounds, statistics or journals; its wire stands in orders.py.
"""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import IO, Iterator, Optional, Tuple

from profiler_agent.errors import AgentError, BadInputError, SessionError
from profiler_agent.exercise import exercise
from profiler_agent.memory_bound import bound_own_memory
from profiler_agent.orders import (
    BAD_ORDER,
    ENERGY,
    MEMORY,
    PROBE,
    BatchTaken,
    BlockFailed,
    Ready,
    Reply,
    SentinelTaken,
    Started,
    WorkOrder,
    format_reply,
    parse_order,
)
from profiler_agent.records import JobBlock, provider_text
from profiler_agent.runtimes import load_runtime
from profiler_agent.runtimes.placement import operation_texts, require_placed
from profiler_agent.runtimes.session import Runtime, Session
from profiler_agent.sampling import Clock, prepare, take_batch, take_samples
from profiler_agent.signs import read_counters, signs_between
from profiler_agent.weighing import weigh

SENTINEL_SAMPLES = 5
_ON_PROCESSORS = (None, "cpu", "xnnpack", "none")


def work(order: WorkOrder, runtime: Runtime, clock: Clock) -> Iterator[Reply]:
    """Carry out an order.

    Args:
        order: its settings hold the threads after clamping, and what else is in effect.
        runtime: the runtime that the order names.
        clock: a monotonic clock in ns.
    """
    if order.task == MEMORY:
        return weigh(order, runtime)
    if order.task == ENERGY:
        return exercise(order, runtime, clock, time.sleep)
    return _measure(order, runtime, clock)


def _measure(order: WorkOrder, runtime: Runtime, clock: Clock) -> Iterator[Reply]:
    with tempfile.TemporaryDirectory() as folder:
        model = Path(folder, "sentinel.model")
        model.write_bytes(runtime.sentinel_model)
        sentinel = runtime.open(model, order.settings, {})
        sentinel.run()
        engaged = _engaged(order, runtime, model) if order.task == PROBE else ""
    yield _ready(order, runtime, engaged)
    if order.task == PROBE:
        return
    inner_loops = _steady_loops(sentinel, order.settings.min_sample_ns, clock)
    yield _read_sentinel(sentinel, clock, inner_loops, position=0)
    for position, block in enumerate(order.blocks):
        yield Started(block.block_id)
        try:
            yield _measure_block(block, order, runtime, clock, position)
        except SessionError as e:
            yield BlockFailed(block.block_id, e.code, str(e))
        yield _read_sentinel(sentinel, clock, inner_loops, position + 1)


def _engaged(order: WorkOrder, runtime: Runtime, sentinel: Path) -> str:
    """Return the provider that was asked for if it computes anything of the sentinel or else of a block, or the own.

    What is registered or loaded may still take no operator.
    """
    asked = runtime.provider(order.settings)
    if asked == runtime.own_provider:
        return asked
    models = [(sentinel, {}), *((Path(block.file), block.input_shapes) for block in order.blocks)]
    for model, shapes in models:
        # A block that cannot be opened fails when it is measured.
        with contextlib.suppress(SessionError):
            if any(one.provider == asked for one in runtime.placement(model, order.settings, shapes)):
                return asked
    return runtime.own_provider


def _steady_loops(sentinel: Session, min_sample_ns: int, clock: Clock) -> int:
    """Return the inner loops of a warm sentinel."""
    return take_batch(sentinel.run, clock, SENTINEL_SAMPLES, min_sample_ns).inner_loops


def _read_sentinel(sentinel: Session, clock: Clock, inner_loops: int, position: int) -> SentinelTaken:
    # The first sample finds the caches full of another model.
    samples_ns = take_samples(sentinel.run, clock, inner_loops, 1 + SENTINEL_SAMPLES)[1:]
    return SentinelTaken(position, samples_ns, inner_loops)


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
    if set(usable_processors()) != set(affinity):
        raise BadInputError(f"cannot pin to all of the processors {list(affinity)}: {list(usable_processors())} remain")


def usable_processors() -> Tuple[int, ...]:
    """Return the processors that this process may run on, as the kernel tells them."""
    try:
        return tuple(sorted(os.sched_getaffinity(0)))
    except AttributeError:  # systems without it
        return tuple(range(os.cpu_count() or 1))


def affinity_text(usable: Tuple[int, ...], processors: int) -> str:
    """Return the affinity as a table's key holds it: `any` for all processors, else their list, such as `0,1`.

    A mask that was inherited (taskset, a container) restricts as much as one that was asked for.
    """
    return "any" if len(usable) >= processors else ",".join(map(str, usable))


def main() -> None:
    """Read an order, answer on standard output, and end without the runtime's own clean-up, which may crash."""
    replies = private_output()
    try:
        order = parse_order(sys.stdin.readline())
        threading.Thread(target=end_with_standard_input, daemon=True).start()
        pin(order.settings.affinity)
        # More threads than processors made one runtime 500 times slower.
        threads = max(1, min(order.settings.threads, len(usable_processors())))
        order = replace(order, settings=replace(order.settings, threads=threads))
        runtime = load_runtime(order.runtime)
        order = replace(order, settings=runtime.effective(order.settings))
        if order.settings.asked_provider in _ON_PROCESSORS:
            # Drivers of accelerators map more than they use.
            bound_own_memory()
        for reply in work(order, runtime, time.perf_counter_ns):
            _say(replies, reply)
    except AgentError as e:
        _say(replies, BlockFailed("", getattr(e, "code", BAD_ORDER), str(e)))
    os._exit(0)


def end_with_standard_input() -> None:
    """Wait, asleep, for the end of standard input: the agent is gone, and the order with it."""
    sys.stdin.read()
    os._exit(1)


def _ready(order: WorkOrder, runtime: Runtime, engaged: str) -> Ready:
    asked = runtime.provider(order.settings)
    return Ready(
        runtime=order.runtime,
        runtime_version=runtime.version,
        provider=provider_text(engaged, order.settings.provider_options) if engaged == asked else engaged,
        optimization=order.settings.optimization,
        spinning=order.settings.spinning,
        threads=order.settings.threads,
        affinity=affinity_text(usable_processors(), os.cpu_count() or 1),
        unengaged=asked if engaged and engaged != asked and order.settings.asked_provider is not None else "",
    )


def _measure_block(block: JobBlock, order: WorkOrder, runtime: Runtime, clock: Clock, position: int) -> BatchTaken:
    model = Path(block.file)
    settings = order.settings
    session = runtime.open(model, settings, block.input_shapes)
    usable = usable_processors()
    try:
        # Opening has found out whether the model and its inputs can be had at all.
        operations = _operations(block, order, runtime) if order.list_operations else None
        begun = read_counters(usable)
        plan = prepare(session.run, clock, settings.samples, settings.min_sample_ns)
        sampling = read_counters(usable)
        samples_ns = take_samples(session.run, clock, plan.inner_loops, plan.samples)
        signs = signs_between(begun, sampling, read_counters(usable), usable)
    finally:
        session.close()
    return BatchTaken(
        block_id=block.block_id,
        samples_ns=samples_ns,
        inner_loops=plan.inner_loops,
        position=position,
        warmed_up=plan.warmed_up,
        operations=operations,
        signs=signs,
    )


def _operations(block: JobBlock, order: WorkOrder, runtime: Runtime) -> Tuple[str, ...]:
    """Return a block's operators and where they run.

    Raises:
        SessionError: the job requires a provider that does not run them all.
    """
    model = Path(block.file)
    placed = runtime.placement(model, order.settings, block.input_shapes)
    if order.settings.require is not None:
        require_placed(placed, runtime.provider(order.settings), model.name)
    return operation_texts(placed, runtime.own_provider)


def private_output() -> IO[str]:
    """Keep standard output for replies alone: what a runtime prints goes to standard error."""
    private = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return private


def _say(output: IO[str], reply: Reply) -> None:
    output.write(format_reply(reply) + "\n")
    output.flush()


if __name__ == "__main__":
    main()
