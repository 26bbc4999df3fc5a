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
# A batch of a slow model takes fewer samples rather than minutes.
_BATCH_LIMIT_NS = 2_000_000_000
_FEWEST_SAMPLES = 5


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


@dataclass(frozen=True)
class WarmUp:
    """How the warm-up ended: whether its windows agreed, and the last window's median sample, in ns."""

    settled: bool
    sample_ns: float


@dataclass(frozen=True)
class Plan:
    """How the samples of a warm session are to be taken: their inner loops, and how many of them."""

    inner_loops: int
    samples: int
    warmed_up: bool


def take_batch(run: Run, clock: Clock, samples: int, min_sample_ns: int) -> Batch:
    """Warm up, choose the inner loops so that a sample lasts `min_sample_ns`, and take the samples; see `prepare`."""
    plan = prepare(run, clock, samples, min_sample_ns)
    return Batch(take_samples(run, clock, plan.inner_loops, plan.samples), plan.inner_loops, plan.warmed_up)


def prepare(run: Run, clock: Clock, samples: int, min_sample_ns: int) -> Plan:
    """Warm up, and choose the inner loops so that a sample lasts `min_sample_ns`.

    Args:
        run: one inference.
        clock: a monotonic clock in ns.
        samples: raw samples to take; fewer, at least five, where they would last longer than 2 s.
        min_sample_ns: least duration of one, in ns.
    """
    inner_loops = calibrate(run, clock, min_sample_ns)
    warmed = warm_up(run, clock, inner_loops)
    if warmed.sample_ns < min_sample_ns:
        # The first runs were slow and hid how short a warm one is.
        inner_loops = calibrate(run, clock, min_sample_ns)
        warmed = warm_up(run, clock, inner_loops)
    affordable = int(_BATCH_LIMIT_NS // max(warmed.sample_ns, 1))
    return Plan(inner_loops, min(samples, max(_FEWEST_SAMPLES, affordable)), warmed.settled)


def take_samples(run: Run, clock: Clock, inner_loops: int, count: int) -> Tuple[int, ...]:
    """Return the durations, in ns, of `count` samples of `inner_loops` runs, with the garbage collector off."""
    collecting = gc.isenabled()
    gc.disable()
    try:
        return tuple([time_runs(run, clock, inner_loops) for _ in range(count)])
    finally:
        if collecting:
            gc.enable()


def time_runs(run: Run, clock: Clock, count: int) -> int:
    """Return the duration of `count` back-to-back runs, in ns."""
    start = clock()
    for _ in repeat(None, count):
        run()
    return clock() - start


def calibrate(run: Run, clock: Clock, min_sample_ns: int) -> int:
    """Return how many runs last at least `min_sample_ns` together, with a tenth to spare.

    The first run is not timed: it allocates. A count that proved too small is raised until a sample is long enough.
    """
    run()
    wanted_ns = min_sample_ns * 11 // 10
    loops = 1
    while loops < _MAX_INNER_LOOPS:
        elapsed = time_runs(run, clock, loops)
        if elapsed >= wanted_ns or (loops == 1 and elapsed >= min_sample_ns):
            return loops
        # A coarse clock may read 0; growth is bounded so that one odd reading cannot ask for hours.
        needed = loops * wanted_ns // max(elapsed, 1) + 1
        loops = min(needed, loops * 10, _MAX_INNER_LOOPS)
    return loops


def warm_up(run: Run, clock: Clock, inner_loops: int) -> WarmUp:
    """Run until the medians of two successive windows agree, or until time is over after two windows at least."""
    start = clock()
    previous = _window_median(run, clock, inner_loops)
    while True:
        current = _window_median(run, clock, inner_loops)
        if abs(current - previous) <= _AGREEMENT * previous:
            return WarmUp(settled=True, sample_ns=current)
        if clock() - start >= _WARM_UP_LIMIT_NS:
            return WarmUp(settled=False, sample_ns=current)
        previous = current


def _window_median(run: Run, clock: Clock, inner_loops: int) -> float:
    return median([time_runs(run, clock, inner_loops) for _ in range(_WINDOW_SAMPLES)])
