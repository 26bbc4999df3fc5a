"""One batch of raw samples of one session: warm-up, calibration of the inner loop, timing.

Aware of nothing but something to run and a clock; processes, rounds and statistics over rounds live elsewhere.
"""

from __future__ import annotations

import gc
from dataclasses import dataclass
from itertools import repeat
from typing import Callable, Tuple

from profiler_agent.statistics import median

Clock = Callable[[], int]
Run = Callable[[], None]

# Runtimes reach their pace after about five runs; two windows of samples must agree before the batch starts.
_WINDOW_SAMPLES = 5
_AGREEMENT = 0.02
_WARM_UP_LIMIT_NS = 400_000_000
_MAX_INNER_LOOPS = 1_000_000


@dataclass(frozen=True)
class Batch:
    """Raw samples of one block in one process.

    Attributes:
        samples_ns: durations of `inner_loops` back-to-back runs each, in ns.
        inner_loops: runs inside one sample.
        warmed_up: whether the warm-up windows agreed before its time was over.
    """

    samples_ns: Tuple[int, ...]
    inner_loops: int
    warmed_up: bool


def take_batch(run: Run, clock: Clock, samples: int, min_sample_ns: int) -> Batch:
    """Warm up, choose the inner loops so that a sample lasts `min_sample_ns`, and take the samples.

    Args:
        run: one inference.
        clock: a monotonic clock in ns.
        samples: raw samples to take.
        min_sample_ns: least duration of one, in ns.
    """
    inner_loops = calibrate(run, clock, min_sample_ns)
    warmed_up = warm_up(run, clock, inner_loops)
    collecting = gc.isenabled()
    gc.disable()
    try:
        taken = tuple(time_runs(run, clock, inner_loops) for _ in range(samples))
    finally:
        if collecting:
            gc.enable()
    return Batch(taken, inner_loops, warmed_up)


def time_runs(run: Run, clock: Clock, count: int) -> int:
    """Return the duration of `count` back-to-back runs, in ns."""
    start = clock()
    for _ in repeat(None, count):
        run()
    return clock() - start


def calibrate(run: Run, clock: Clock, min_sample_ns: int) -> int:
    """Return how many runs last at least `min_sample_ns` together.

    The first run is not timed: it allocates. A count that proved too small is raised until a sample is long
    enough, so that a slow start does not leave samples too short.
    """
    run()
    loops = 1
    while loops < _MAX_INNER_LOOPS:
        elapsed = time_runs(run, clock, loops)
        if elapsed >= min_sample_ns:
            return loops
        # A coarse clock may read 0; growth is bounded so that one odd reading cannot ask for hours.
        needed = loops * min_sample_ns // max(elapsed, 1) + 1
        loops = min(needed, loops * 10, _MAX_INNER_LOOPS)
    return loops


def warm_up(run: Run, clock: Clock, inner_loops: int) -> bool:
    """Run until the medians of two successive windows agree; False when time was over before that."""
    start = clock()
    previous = _window_median(run, clock, inner_loops)
    while clock() - start < _WARM_UP_LIMIT_NS:
        current = _window_median(run, clock, inner_loops)
        if abs(current - previous) <= _AGREEMENT * previous:
            return True
        previous = current
    return False


def _window_median(run: Run, clock: Clock, inner_loops: int) -> float:
    return median([time_runs(run, clock, inner_loops) for _ in range(_WINDOW_SAMPLES)])
