"""A neighbour that switches on and off: memory traffic and arithmetic on one processor, for random spans of 2 to 8 s.

`with disturbing(processor, seed):` runs this file as a process of its own for the length of the block. It ends with
the block, also when that fails, and by itself when whoever started it is gone.
"""

from __future__ import annotations

import contextlib
import os
import random
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

SPAN_S = (2.0, 8.0)
# Beyond what a processor's own caches hold.
_ARRAY_BYTES = 32 << 20


def spans(seed: int) -> Iterator[tuple[bool, float]]:
    """Yield without end whether the neighbour is busy, and for how many seconds; it begins busy."""
    generator = random.Random(seed)
    busy = True
    while True:
        yield busy, generator.uniform(*SPAN_S)
        busy = not busy


def busy_share(seed: int, seconds: float) -> float:
    """Return the share of the first `seconds` in which the neighbour is busy."""
    left, busy_s = seconds, 0.0
    for busy, span_s in spans(seed):
        busy_s += min(span_s, left) if busy else 0.0
        left -= span_s
        if left <= 0:
            break
    return busy_s / seconds


@contextlib.contextmanager
def disturbing(processor: int, seed: int) -> Iterator[None]:
    """Disturb one processor while the block runs.

    Raises:
        RuntimeError: the disturbance ended, or did not even begin, by itself: what ran beside it was not disturbed.
    """
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.disturber", str(processor), str(seed)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=Path(__file__).resolve().parents[1],
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        if not process.stdout.readline():
            raise RuntimeError(f"cannot disturb processor {processor}")
        yield
        if process.poll() is not None:
            raise RuntimeError(f"the disturbance ended by itself, with status {process.poll()}")
    finally:
        process.kill()
        process.wait()
        process.stdin.close()
        process.stdout.close()


def work(end_s: float) -> None:
    """Copy and multiply arrays until the monotonic clock passes `end_s`."""
    source = np.ones(_ARRAY_BYTES // 8)
    target = np.empty_like(source)
    while time.monotonic() < end_s:
        np.copyto(target, source)
        np.multiply(target, 1.0001, out=target)


def main() -> None:
    """Switch on and off until standard input ends."""
    processor, seed = map(int, sys.argv[1:])
    os.sched_setaffinity(0, {processor})
    threading.Thread(target=_end_with_standard_input, daemon=True).start()
    print("ready", flush=True)
    for busy, span_s in spans(seed):
        if busy:
            work(time.monotonic() + span_s)
        else:
            time.sleep(span_s)


def _end_with_standard_input() -> None:
    sys.stdin.read()
    os._exit(0)


if __name__ == "__main__":
    main()
