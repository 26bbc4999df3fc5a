"""The agent's batches against a bare loop of the same runtime, in turn: what `benchmarks.overhead` judges.

Needs the agent and the standard library only, so that it also runs where a runtime has an environment of its own.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

from profiler_agent.records import Settings
from profiler_agent.sampling import take_batch

_LIMIT_US, _LIMIT_PCT = 1.0, 2.0


def compare(
    agent_run: Callable[[], None],
    bare_run: Callable[[], None],
    settings: Settings,
    pairs: int,
    after_pair: Callable[[int, float], None] = lambda _pair, _agent_us: None,
) -> dict[str, Any]:
    """Alternate the agent's batches with bare loops of the same length, and compare their medians.

    Args:
        agent_run: one inference by the agent's session.
        bare_run: one inference of the same model, opened by hand.
        settings: of the agent's batches.
        pairs: batches of each kind.
        after_pair: is told each pair's number and the agent's latency, in µs, before the next begins.
    """
    agent_us: list[float] = []
    bare_us: list[float] = []
    for pair in range(pairs):
        batch = take_batch(agent_run, time.perf_counter_ns, settings.samples, settings.min_sample_ns)
        agent_us.append(statistics.median(batch.samples_ns) / batch.inner_loops / 1e3)
        bare_us.append(bare_loop_us(bare_run, batch.inner_loops, settings.samples))
        after_pair(pair, agent_us[-1])
    pairs_us = list(zip(agent_us, bare_us, strict=True))
    # Pair by pair: a slow spell of the machine falls on both of a pair, but on more batches of one kind than the other.
    difference_us = statistics.median(mine - theirs for mine, theirs in pairs_us)
    ratio = statistics.median(mine / theirs for mine, theirs in pairs_us)
    return {
        "agent_us": round(statistics.median(agent_us), 3),
        "bare_us": round(statistics.median(bare_us), 3),
        "difference_us": round(difference_us, 3),
        "ratio": round(ratio, 4),
        "holds": abs(difference_us) <= _LIMIT_US or abs(ratio - 1) <= _LIMIT_PCT / 100,
    }


def bare_loop_us(run: Callable[[], None], loops: int, repetitions: int) -> float:
    """Return the median over repetitions of the mean duration of one run in a plain loop, in µs."""
    for _ in range(loops * 5):
        run()
    durations = []
    for _ in range(repetitions):
        start = time.perf_counter_ns()
        for _ in range(loops):
            run()
        durations.append((time.perf_counter_ns() - start) / loops / 1e3)
    return statistics.median(durations)
