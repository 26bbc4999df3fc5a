"""How much resident memory opening and running each model adds at most, each in a process of its own.

Memory that one model gave back would be used again by the next, unseen. So the worker, which has loaded the runtime
but opened nothing, forks a child for each model: as fresh as a new process, without loading the runtime again. What
the runtime's first session costs whatever the model is paid before: the child opens the sentinel first.
"""

from __future__ import annotations

import os
import signal
import tempfile
import threading
from pathlib import Path
from typing import Iterator, Optional

from profiler_agent.memory import peak_bytes, reset_peak, resident_bytes
from profiler_agent.orders import Reply, Started, Weighed, WorkOrder
from profiler_agent.records import JobBlock, Settings
from profiler_agent.runtimes.session import Runtime

_RUNS = 2
# A child that hangs ends before the agent counts the worker itself as hanging.
_TIMEOUT_SHARE = 0.8
_ANSWER_BYTES = 32


def weigh(order: WorkOrder, runtime: Runtime) -> Iterator[Reply]:
    """Weigh the blocks of an order, one after the other."""
    for block in order.blocks:
        yield Started(block.block_id)
        yield Weighed(block.block_id, _in_child(block, order.settings, runtime))


def peak_growth(block: JobBlock, settings: Settings, runtime: Runtime) -> Optional[int]:
    """Return by how much opening and running a model raises this process's peak of resident memory, in bytes.

    None where the system does not tell, or where an earlier peak hides this one.

    Raises:
        SessionError: the model cannot be opened.
    """
    with tempfile.TemporaryDirectory() as folder:
        model = Path(folder, "sentinel.model")
        model.write_bytes(runtime.sentinel_model)
        sentinel = runtime.open(model, settings, {})
        sentinel.run()
    restarted = reset_peak()
    before, earlier = resident_bytes(), peak_bytes()
    session = runtime.open(Path(block.file), settings, block.input_shapes)
    for _ in range(_RUNS):
        session.run()
    after = peak_bytes()
    sentinel.close()
    session.close()
    if before is None or earlier is None or after is None or (not restarted and after <= earlier):
        return None
    return max(0, after - before)


def _in_child(block: JobBlock, settings: Settings, runtime: Runtime) -> Optional[int]:
    """Return the peak growth that a forked child found; None if it failed, crashed or hung."""
    receiving, sending = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.close(receiving)
            signal.setitimer(signal.ITIMER_REAL, _TIMEOUT_SHARE * settings.timeout_s)
            threading.Thread(target=_end_with_standard_input, daemon=True).start()
            grown = peak_growth(block, settings, runtime)
            os.write(sending, b"" if grown is None else b"%d" % grown)
        finally:
            # Whatever happened: none of the parent's clean-up is this process's.
            os._exit(0)
    os.close(sending)
    with os.fdopen(receiving, "rb") as answer:
        text = answer.read(_ANSWER_BYTES)
    os.waitpid(child, 0)
    return int(text) if text.isdigit() else None


def _end_with_standard_input() -> None:
    """Wait, asleep, for the end of standard input: the agent is gone. The parent's own waiting was not inherited."""
    while os.read(0, 1):
        pass
    os._exit(1)
