"""Whether blocks measured twice, minutes apart, give the same latencies: the agent beside the plain protocol.

`python -m benchmarks.repeatability` measures the NAS-Bench-201 blocks by the agent and by `benchmarks.naive`, pauses,
and measures them by both again in the other order; then all of it once more while a neighbour on one processor switches
on and off. The plain protocol may spend as many seconds as the agent spent in its latest pass. A block repeats when
the ratio of its two latencies is within 3% of 1.

By default the agent's second pass knows nothing of the first and finds the level of its sentinel anew. With
`--known-level` it gets the first pass's level, as whoever compares with an earlier table does.

The last line is one JSON object. At its top level, in percent of blocks: `agent_within_3pct`, `naive_within_3pct` (the
mean of all repetitions, which is what counts), `naive_median_within_3pct` (their median instead) and
`naive_single_within_3pct` (the first alone); further `median_half_width_pct` over the agent's blocks of both passes,
`noise_floor_pct` (the larger of both passes), `converged_share` and `rejected_share` of the agent, and `goal_met` with
the clause that holds (20 points above naive counts only where the noise floor is above 1%); the same with the prefix
`disturbed_`. `agent_minus_naive_interval` is over blocks, which share one drift history, not over runs.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.agreement import (
    LEAD_INTERVAL_IS,
    LIMIT_PCT,
    deviations_pct,
    goal_clause,
    lead_interval,
    within_pct,
    worst,
)
from benchmarks.block_set import JobRun, export_block_set, run_job
from benchmarks.disturber import SPAN_S, busy_share, disturbing
from benchmarks.machine import describe_machine
from benchmarks.naive import TIMED_RUNS, WARM_UP_RUNS, NaivePass, measure_naively
from profiler_agent.records import JobBlock, Settings, Warned

_WORST = 3


@dataclass(frozen=True)
class Plan:
    """What one run of the benchmark does.

    Attributes:
        settings: of the agent.
        budget_s: for each of the agent's passes.
        gap_s: pause between first and second passes.
        known_level: whether the agent's second pass is told the first one's sentinel level.
        seed: of disturbance and bootstrap.
        out_dir: where journals and the plain protocol's results are kept; None keeps none.
    """

    settings: Settings
    budget_s: float
    gap_s: float
    known_level: bool
    seed: int
    out_dir: Path | None


@dataclass(frozen=True)
class Condition:
    """Two passes of each protocol, and the seconds from the first's end to the second's start for each of them."""

    agent: tuple[JobRun, JobRun]
    naive: tuple[NaivePass, NaivePass]
    agent_gap_s: float
    naive_gap_s: float
    seconds: float


def run_condition(blocks: Sequence[JobBlock], plan: Plan, name: str) -> Condition:
    """Measure agent, plain, pause, plain, agent."""
    start = time.monotonic()
    first = _agent(blocks, plan, plan.settings, f"{name}-agent-1")
    agent_end = time.monotonic()
    first_naive = _naive(blocks, plan, first.done.seconds, f"{name}-naive-1")
    naive_end = time.monotonic()
    time.sleep(plan.gap_s)
    naive_start = time.monotonic()
    # The agent's second pass is still to come: the plain protocol has as much time as its first one took.
    second_naive = _naive(blocks, plan, first.done.seconds, f"{name}-naive-2")
    agent_start = time.monotonic()
    level_ns = first.done.sentinel_ns if plan.known_level else None
    second = _agent(blocks, plan, dataclasses.replace(plan.settings, sentinel_ns=level_ns), f"{name}-agent-2")
    return Condition(
        agent=(first, second),
        naive=(first_naive, second_naive),
        agent_gap_s=agent_start - agent_end,
        naive_gap_s=naive_start - naive_end,
        seconds=time.monotonic() - start,
    )


def _agent(blocks: Sequence[JobBlock], plan: Plan, settings: Settings, name: str) -> JobRun:
    print(f"{name} …", file=sys.stderr, flush=True)
    journal = None if plan.out_dir is None else plan.out_dir / f"{name}.jsonl"
    return run_job(blocks, settings, plan.budget_s, journal)


def _naive(blocks: Sequence[JobBlock], plan: Plan, budget_s: float, name: str) -> NaivePass:
    print(f"{name} …", file=sys.stderr, flush=True)
    taken = measure_naively(blocks, budget_s)
    if plan.out_dir is not None:
        (plan.out_dir / f"{name}.json").write_text(json.dumps(dataclasses.asdict(taken)) + "\n")
    return taken


def agent_latencies(condition: Condition) -> list[dict[str, float]]:
    """Return the agent's latency of each block, in ms, of both passes."""
    return [{name: one.median_ms for name, one in run.measurements.items()} for run in condition.agent]


def naive_latencies(condition: Condition, kind: str = "mean_ms") -> list[dict[str, float]]:
    """Return the plain protocol's latency of each block, in ms, of both passes; `kind` is a field of NaiveResult."""
    return [{name: getattr(one, kind) for name, one in taken.results.items()} for taken in condition.naive]


def figures_of(condition: Condition, seed: int) -> dict[str, Any]:
    """Return what the top level says of a condition; the seed is of the bootstrap."""
    agent, naive = deviations_pct(*agent_latencies(condition)), deviations_pct(*naive_latencies(condition))
    naive_median, naive_single = (
        within_pct(deviations_pct(*naive_latencies(condition, kind))) for kind in ("median_ms", "single_ms")
    )
    agent_pct, naive_pct = within_pct(agent), within_pct(naive)
    blocks = [one for run in condition.agent for one in run.measurements.values()]
    half_width_pct = statistics.median(one.half_width_pct for one in blocks)
    floors = [run.done.noise_floor_pct for run in condition.agent if run.done.noise_floor_pct is not None]
    floor_pct = max(floors, default=None)
    target_pct = condition.agent[0].hello.settings.target_half_width_pct
    clause = goal_clause(agent_pct, naive_pct, half_width_pct, floor_pct)
    return {
        "agent_within_3pct": round(agent_pct, 1),
        "naive_within_3pct": round(naive_pct, 1),
        "naive_median_within_3pct": round(naive_median, 1),
        "naive_single_within_3pct": round(naive_single, 1),
        "agent_minus_naive_points": round(agent_pct - naive_pct, 1),
        "agent_minus_naive_interval": [round(end, 1) for end in lead_interval(agent, naive, seed)],
        "median_half_width_pct": round(half_width_pct, 3),
        "noise_floor_pct": None if floor_pct is None else round(floor_pct, 3),
        "converged_share": round(sum(one.converged(target_pct) for one in blocks) / len(blocks), 3),
        "rejected_share": round(_rejected_share(condition.agent), 4),
        "goal_met": clause is not None,
        "goal_clause": clause,
    }


def details_of(condition: Condition) -> dict[str, Any]:
    """Return what lies behind the figures of a condition."""
    agent, naive = agent_latencies(condition), naive_latencies(condition)
    naive_deviations = deviations_pct(*naive)
    return {
        "seconds": round(condition.seconds, 1),
        "agent_gap_s": round(condition.agent_gap_s, 1),
        "naive_gap_s": round(condition.naive_gap_s, 1),
        "agent_passes": [_pass_details(run) for run in condition.agent],
        "naive_seconds": [round(taken.seconds, 1) for taken in condition.naive],
        "naive_repetitions": [min(one.repetitions for one in taken.results.values()) for taken in condition.naive],
        "agent_worst": worst(agent[0], agent[1], _WORST),
        "naive_worst": worst(naive[0], naive[1], _WORST),
        "deviation_pct": {
            name: {"agent": round(one, 2), "naive": round(naive_deviations[name], 2)}
            for name, one in deviations_pct(*agent).items()
        },
    }


def _rejected_share(runs: Sequence[JobRun]) -> float:
    return sum(run.rejected for run in runs) / sum(run.batches for run in runs)


def _pass_details(run: JobRun) -> dict[str, Any]:
    done = run.done
    return {
        "seconds": round(done.seconds, 1),
        "rounds": done.rounds,
        "sentinel_ns": done.sentinel_ns,
        "noise_floor_pct": done.noise_floor_pct,
        "rejected_share": round(_rejected_share([run]), 4),
        "warnings": sorted({event.code for event in run.events if isinstance(event, Warned)}),
    }


def disturbed_processor() -> int:
    """Return the processor that the neighbour works on: the last that may be used."""
    return max(os.sched_getaffinity(0))


def result_of(quiet: Condition, disturbed: Condition, plan: Plan) -> dict[str, Any]:
    """Return what the benchmark prints."""
    busy = {"busy_share": round(busy_share(plan.seed, disturbed.seconds), 3)}
    return {
        "benchmark": "repeatability",
        "machine": describe_machine(),
        "table_key": dataclasses.asdict(quiet.agent[0].hello.key),
        "settings": {
            "agent": dataclasses.asdict(plan.settings),
            "budget_s": plan.budget_s,
            "gap_s": plan.gap_s,
            "known_level": plan.known_level,
            "limit_pct": LIMIT_PCT,
            "agent_minus_naive_interval": LEAD_INTERVAL_IS,
            "naive": {"warm_up_runs": WARM_UP_RUNS, "timed_runs": TIMED_RUNS},
            "disturbance": {"processor": disturbed_processor(), "span_s": SPAN_S, "seed": plan.seed},
            "blocks": len(quiet.agent[0].measurements),
        },
        **figures_of(quiet, plan.seed),
        **{f"disturbed_{name}": value for name, value in figures_of(disturbed, plan.seed).items()},
        "seconds": round(quiet.seconds + disturbed.seconds, 1),
        "details": {"quiet": details_of(quiet), "disturbed": details_of(disturbed) | busy},
    }


def main() -> None:
    """Run the benchmark and print its result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--budget-s", type=float, default=120, help="for each of the agent's four passes")
    parser.add_argument("--gap-s", type=float, default=60, help="pause between first and second passes")
    parser.add_argument("--rounds", type=int, default=Settings().rounds, help="the most fresh processes for a block")
    parser.add_argument("--known-level", action="store_true", help="tell the second pass the first one's sentinel")
    parser.add_argument("--seed", type=int, default=1, help="of disturbance and bootstrap")
    parser.add_argument("--out-dir", type=Path, help="keep journals and the plain protocol's results here")
    options = parser.parse_args()
    plan = Plan(
        settings=Settings(rounds=options.rounds),
        budget_s=options.budget_s,
        gap_s=options.gap_s,
        known_level=options.known_level,
        seed=options.seed,
        out_dir=options.out_dir,
    )
    if plan.out_dir is not None:
        plan.out_dir.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        blocks = export_block_set(Path(folder))
        quiet = run_condition(blocks, plan, "quiet")
        with disturbing(disturbed_processor(), plan.seed):
            disturbed = run_condition(blocks, plan, "disturbed")
    print(json.dumps(result_of(quiet, disturbed, plan)))


if __name__ == "__main__":
    main()
