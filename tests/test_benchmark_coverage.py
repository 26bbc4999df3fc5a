"""Whether the benchmark of coverage counts right, and whether its simulated machines do what they say."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks.coverage import figures_of, make_blocks, make_tasks, simulate, summarise
from benchmarks.simulated_machine import SAMPLES, SCENARIOS, Machine, Scenario
from profiler_agent.orders import BatchTaken, Reply, SentinelTaken, WorkOrder
from profiler_agent.records import Settings


def replies_of(scenario: Scenario, folder: Path, processes: int) -> tuple[Machine, list[Reply]]:
    machine = Machine(scenario, np.random.default_rng(3))
    order = WorkOrder("onnxruntime", Settings(samples=SAMPLES), make_blocks(folder), list_operations=False)
    return machine, [reply for _ in range(processes) for reply in machine.launch(order)]


def batches(replies: list[Reply]) -> list[BatchTaken]:
    return [one for one in replies if isinstance(one, BatchTaken)]


def test_slow_windows_slow_blocks_and_sentinel_alike(tmp_path: Path) -> None:
    machine, replies = replies_of(replace(SCENARIOS["stepwise_drift"], slow_pct=(50.0, 60.0)), tmp_path, 40)
    slow = [one for one in batches(replies) if np.median(one.samples_ns) > 1.3e6]
    assert len(slow) == len(machine.slow_pct) > 0
    assert all(50 <= one <= 60 for one in machine.slow_pct.values())
    readings = [np.median(one.samples_ns) for one in replies if isinstance(one, SentinelTaken)]
    assert sum(one > 260_000 for one in readings) > 0


def test_bursts_show_in_the_signs_and_in_no_quiet_batch(tmp_path: Path) -> None:
    machine, replies = replies_of(SCENARIOS["bursts"], tmp_path, 40)
    loud = [one for one in batches(replies) if (one.signs.others_pct or 0) >= 80]
    assert len(loud) == len(machine.bursts) > 0
    _, quiet = replies_of(SCENARIOS["independent"], tmp_path, 40)
    assert max(one.signs.others_pct or 0 for one in batches(quiet)) < 60


@pytest.mark.parametrize(("name", "expected"), [("correlated_rounds", 0.3), ("strongly_correlated_rounds", 0.6)])
def test_levels_follow_those_of_the_process_before(tmp_path: Path, name: str, expected: float) -> None:
    _, replies = replies_of(SCENARIOS[name], tmp_path, 500)
    taken = [one for one in batches(replies) if one.block_id == "0"]
    levels = np.log([np.mean(one.samples_ns) for one in taken])
    found = np.corrcoef(levels[1:], levels[:-1])[0, 1]
    # Samples of their own add a part to the level that follows nothing: 2% ÷ √20 beside 1%.
    assert found == pytest.approx(expected / (1 + 0.2), abs=0.13)
    assert np.std(levels) == pytest.approx(0.011, abs=0.002)


def test_runs_are_counted_and_can_be_repeated(tmp_path: Path) -> None:
    tasks = make_tasks(2, 1, make_blocks(tmp_path))
    assert [task.scenario for task in tasks] == list(SCENARIOS)
    chosen = [task for task in tasks if task.scenario in ("small_drift", "bursts")]
    counts = [simulate(task) for task in chosen]
    assert counts == [simulate(task) for task in chosen]
    assert all(one["intervals"] == 8 for one in counts)
    figures = [figures_of(one) for one in counts]
    assert all(0 <= one["coverage"] <= 1 for one in figures)
    assert (counts[0]["slow"] > 0, figures[0]["drift_caught"] is None) == (True, False)
    assert figures[1]["bursts_caught"] > 0.9


def test_the_worst_scenario_is_what_counts() -> None:
    good = Counter({"intervals": 100, "covered": 99, "steady": 50, "judged": 10, "judged caught": 10})
    bad = Counter({"intervals": 100, "covered": 90, "steady": 50, "steady caught": 5, "steady by signs": 1})
    drift = Counter({"intervals": 1, "covered": 1, "judged": 10, "judged caught": 9, "burst": 4, "burst caught": 3})
    beyond = Counter({"intervals": 10, "covered": 8, "steady": 50})
    counts = {"independent": good, "heavy_tailed": bad, "bursts": drift, "strongly_correlated_rounds": beyond}
    summary = summarise({name: figures_of(one) for name, one in counts.items()})
    assert (summary["min_coverage"], summary["min_coverage_unpromised"]) == (0.9, 0.8)
    assert (summary["drift_caught"], summary["bursts_caught"]) == (0.9, 0.75)
    assert (summary["false_alarms"], summary["false_alarms_by_signs"]) == (0.1, 0.02)
