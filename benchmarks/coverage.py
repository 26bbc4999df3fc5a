"""Whether intervals cover and drift is caught: the agent's own rounds on simulated machines.

`python -m benchmarks.coverage` runs the whole campaign (sentinel, signs, rejection, sequential stopping) a thousand
times for each kind of machine in `benchmarks.simulated_machine`, with workers that draw samples and signs at random
instead of measuring. The truth is the median of very many simulated process medians on a machine that is itself.

The last line is one JSON object with

* `min_coverage`: share of intervals that cover the truth, of the worst scenario in which they are meant to;
* `min_coverage_unpromised`: the same of the scenarios beyond: rounds that depend on each other far more strongly than
  any that we have seen, which the method does not correct for;
* `drift_caught`: share of batches taken in a slow window that were rejected, of the worst scenario; judged are windows
  slower by more than tolerance and noise together (`judged_from_pct`: 2% and three times the 2% by which samples of
  the sentinel differ). Most windows of `small_drift` are not and can hide inside the noise: its own `drift_caught`, and
  `drift_caught_by_pct` by how slow they were, say what is caught of all, and its `coverage` what the rest cost;
* `bursts_caught`: share of batches that were rejected while others disturbed them so that the signs must tell;
* `false_alarms`: share of all other batches that were rejected, of the worst scenario; `false_alarms_by_signs` is the
  part of it that the machine's signs, not the sentinel, are to blame for.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import tempfile
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.machine import describe_machine
from benchmarks.simulated_machine import SAMPLE_NOISE_PCT, SAMPLES, SCENARIOS, Machine, truth_ns
from profiler_agent.measure import Clocks, measure
from profiler_agent.records import Job, JobBlock, Measured, Rejected, Settings, measurements_of

_BLOCKS = 4
_RUNS_PER_TASK = 25
_SIGMAS = 3
JUDGED_FROM_PCT = Settings().drift_tolerance_pct + _SIGMAS * SAMPLE_NOISE_PCT
_BINS_PCT = (3, 5, 8, 10)


@dataclass(frozen=True)
class Task:
    """Some runs of one scenario.

    Attributes:
        scenario: its name.
        first_run: number of the first run, from 0.
        runs: how many.
        seed: of the scenario; each run's generator has that and the run's number.
        truth_ms: what the intervals shall cover.
        blocks: what is measured.
    """

    scenario: str
    first_run: int
    runs: int
    seed: int
    truth_ms: float
    blocks: tuple[JobBlock, ...]


def simulate(task: Task) -> Counter[str]:
    """Run the campaign some times, and count what it covers and rejects."""
    counts: Counter[str] = Counter()
    for run in range(task.first_run, task.first_run + task.runs):
        machine = Machine(SCENARIOS[task.scenario], np.random.default_rng([task.seed, run]))
        job = Job(f"run {run}", task.blocks, Settings(samples=SAMPLES, seed=run))
        events = list(measure(job, launch=machine.launch, clocks=Clocks(lambda: 0.0, lambda: 0.0)))
        reasons = {
            (event.block_id, event.process_index): event.rejected if isinstance(event, Measured) else event.reason
            for event in events
            if isinstance(event, Rejected) or (isinstance(event, Measured) and event.rejected)
        }
        for event in events:
            if isinstance(event, Measured):
                batch = (event.block_id, event.process_index)
                counts.update(_judged(machine, batch, reasons.get(batch)))
        for measurement in measurements_of(events):
            low, high, _ = measurement.interval_ms
            counts["intervals"] += 1
            counts["covered"] += low <= task.truth_ms <= high
            counts["converged"] += measurement.converged(job.settings.target_half_width_pct)
            counts["rounds"] += len(measurement.rounds)
    return counts


def _judged(machine: Machine, batch: tuple[str, int], reason: str | None) -> Iterable[str]:
    """Name what one batch counts as, and, if it was rejected, that under its name with `caught` behind it."""
    slow_pct = machine.slow_pct.get(batch)
    if slow_pct is not None:
        names = ["slow", *(["judged"] if slow_pct > JUDGED_FROM_PCT else [])]
        names += [f"{low}-{high}" for low, high in pairwise(_BINS_PCT) if low < slow_pct <= high]
    else:
        names = ["burst"] if batch in machine.bursts else ["steady"]
    if reason is None:
        return names
    by_signs = ["steady by signs"] if names == ["steady"] and "sentinel" not in reason else []
    return [*names, *(f"{name} caught" for name in names), *by_signs]


def figures_of(counts: Counter[str]) -> dict[str, Any]:
    """Return what the JSON says of a scenario; None stands where nothing was to be caught."""

    def share(part: str, whole: str) -> float | None:
        return round(counts[part] / counts[whole], 4) if counts[whole] else None

    bins = [f"{low}-{high}" for low, high in pairwise(_BINS_PCT)]
    return {
        "coverage": share("covered", "intervals"),
        "intervals": counts["intervals"],
        "converged_share": share("converged", "intervals"),
        "mean_rounds": round(counts["rounds"] / counts["intervals"], 1),
        "drift_caught": share("slow caught", "slow"),
        "drift_caught_judged": share("judged caught", "judged"),
        "drift_caught_by_pct": {name: share(f"{name} caught", name) for name in bins if counts[name]} or None,
        "bursts_caught": share("burst caught", "burst"),
        "false_alarms": share("steady caught", "steady"),
        "false_alarms_by_signs": share("steady by signs", "steady"),
    }


def make_blocks(folder: Path) -> tuple[JobBlock, ...]:
    """Return blocks whose files are there and otherwise mean nothing."""
    made = []
    for name in map(str, range(_BLOCKS)):
        (folder / name).write_text(name)
        made.append(JobBlock(name, str(folder / name), hashlib.sha256(name.encode()).hexdigest()))
    return tuple(made)


def make_tasks(runs: int, seed: int, blocks: tuple[JobBlock, ...]) -> list[Task]:
    """Cut all scenarios into tasks."""
    made = []
    for index, (name, scenario) in enumerate(SCENARIOS.items()):
        truth_ms = truth_ns(scenario, np.random.default_rng([seed, index])) / 1e6
        for first in range(0, runs, _RUNS_PER_TASK):
            made.append(Task(name, first, min(_RUNS_PER_TASK, runs - first), seed * 100 + index, truth_ms, blocks))
    return made


def run_all(runs: int, seed: int) -> dict[str, dict[str, Any]]:
    """Return the figures of all scenarios, worked out on all processors that may be used."""
    counts: dict[str, Counter[str]] = {name: Counter() for name in SCENARIOS}
    workers = len(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory() as folder:
        todo = make_tasks(runs, seed, make_blocks(Path(folder)))
        with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
            for task, counted in zip(todo, pool.map(simulate, todo), strict=True):
                counts[task.scenario].update(counted)
    return {name: figures_of(one) for name, one in counts.items()}


def summarise(scenarios: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Return the figures of the worst scenario each."""

    def known(name: str) -> list[float]:
        return [one[name] for one in scenarios.values() if one[name] is not None]

    covered = {True: [1.0], False: [1.0]}
    for name, one in scenarios.items():
        covered[SCENARIOS[name].promised].append(one["coverage"])
    return {
        "min_coverage": min(covered[True]),
        "min_coverage_unpromised": min(covered[False]),
        "drift_caught": min(known("drift_caught_judged")),
        "judged_from_pct": JUDGED_FROM_PCT,
        "bursts_caught": min(known("bursts_caught")),
        "false_alarms": max(known("false_alarms")),
        "false_alarms_by_signs": max(known("false_alarms_by_signs")),
    }


def main() -> None:
    """Run the benchmark and print its result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=1000, help="campaigns for each kind of machine")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    scenarios = run_all(options.runs, options.seed)
    result = {
        "benchmark": "coverage",
        "machine": describe_machine(),
        "settings": {"runs": options.runs, "seed": options.seed, "blocks": _BLOCKS, "samples": SAMPLES},
        **summarise(scenarios),
        "scenarios": scenarios,
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
