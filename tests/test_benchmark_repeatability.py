"""Whether the benchmark of repeatability counts right, and runs."""

from __future__ import annotations

import gc
import hashlib
import itertools
import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.agreement import deviations_pct, goal_clause, lead_interval, within_pct, worst
from benchmarks.disturber import SPAN_S, busy_share, disturbing, spans
from benchmarks.naive import TIMED_RUNS, WARM_UP_RUNS, measure_naively, open_bound, repeat_protocol
from benchmarks.repeatability import Plan, disturbed_processor, result_of, run_condition
from profiler_agent.records import JobBlock, Settings
from tests.agent.models import write_convolution, write_identity


def tiny_blocks(folder: Path) -> tuple[JobBlock, ...]:
    files = (write_identity(folder / "identity.onnx"), write_convolution(folder / "convolution.onnx"))
    return tuple(JobBlock(file.stem, str(file), hashlib.sha256(file.read_bytes()).hexdigest()) for file in files)


def test_deviations_are_from_one_in_either_direction() -> None:
    found = deviations_pct({"a": 1.03, "b": 0.96, "c": 2.0}, {"a": 1.0, "b": 1.0, "c": 2.0})
    assert found == pytest.approx({"a": 3.0, "b": 4.0, "c": 0.0})


def test_passes_over_different_blocks_are_refused() -> None:
    with pytest.raises(ValueError, match="same blocks"):
        deviations_pct({"a": 1.0}, {"b": 1.0})


def test_the_share_counts_the_limit_itself() -> None:
    assert within_pct({"a": 3.0, "b": 3.1, "c": 0.0, "d": 50.0}) == 50.0


def test_the_interval_of_the_lead_holds_the_lead_and_is_exact_without_doubt() -> None:
    mine = {str(index): 0.0 for index in range(17)}
    theirs = {name: 9.0 if int(name) < 5 else 0.0 for name in mine}
    low, high = lead_interval(mine, theirs, seed=1)
    assert 0 < low < 100 * 5 / 17 < high < 60
    assert lead_interval(mine, theirs, seed=1) == (low, high)
    assert lead_interval(mine, dict.fromkeys(mine, 9.0), seed=1) == (100.0, 100.0)


@pytest.mark.parametrize(
    ("agent", "naive", "half_width", "floor", "expected"),
    [
        (90.0, 90.0, 1.0, None, "at least 90%"),
        (90.0, 70.0, 1.1, 0.8, None),
        (90.0, 70.0, 1.1, 1.0, None),
        (90.0, 70.0, 1.1, 1.1, "at least 20 points"),
        (80.0, 60.0, 0.5, 2.0, "at least 20 points"),
        (80.0, 60.0, 0.5, None, None),
        (89.0, 70.0, 0.5, 2.0, None),
    ],
)
def test_the_goal(agent: float, naive: float, half_width: float, floor: float | None, expected: str | None) -> None:
    clause = goal_clause(agent, naive, half_width, floor)
    assert clause is None if expected is None else clause is not None and clause.startswith(expected)


def test_the_worst_blocks_come_first() -> None:
    found = worst({"a": 1.0, "b": 2.0, "c": 1.0}, {"a": 1.0, "b": 1.0, "c": 1.1}, 2)
    assert [one["block"] for one in found] == ["b", "c"]
    assert found[0] == {"block": "b", "first_ms": 2.0, "second_ms": 1.0, "deviation_pct": 100.0}


def test_the_plain_protocol_runs_at_least_once_and_warms_up_each_time() -> None:
    opened: list[int] = []

    def open_model() -> object:
        opened.append(0)

        def run() -> None:
            opened[-1] += 1

        return run

    result = repeat_protocol(open_model, share_s=0.0)  # type: ignore[arg-type]
    assert (result.repetitions, opened) == (1, [WARM_UP_RUNS + TIMED_RUNS])
    assert result.mean_ms == result.median_ms == result.single_ms
    result = repeat_protocol(open_model, share_s=0.01)  # type: ignore[arg-type]
    assert result.repetitions == len(opened) - 1 > 1


def test_the_plain_protocol_runs_real_models_bound(tmp_path: Path) -> None:
    run = open_bound(write_convolution(tmp_path / "convolution.onnx"))
    gc.collect()
    run()
    taken = measure_naively(tiny_blocks(tmp_path), budget_s=0.1)
    assert set(taken.results) == {"identity", "convolution"}
    assert all(one.mean_ms > 0 and one.repetitions > 0 for one in taken.results.values())


def test_the_neighbour_follows_its_seed() -> None:
    first = list(itertools.islice(spans(3), 6))
    assert first == list(itertools.islice(spans(3), 6))
    assert [busy for busy, _ in first] == [True, False] * 3
    assert all(SPAN_S[0] <= span_s <= SPAN_S[1] for _, span_s in first)
    busy_s, idle_s = first[0][1], first[1][1]
    assert busy_share(3, busy_s + idle_s) == pytest.approx(busy_s / (busy_s + idle_s))


def test_the_neighbour_ends_with_whoever_started_it() -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.disturber", "0", "1"],
        stdin=subprocess.PIPE,
        cwd=Path(__file__).resolve().parents[1],
        stdout=subprocess.PIPE,
    )
    with process:
        assert process.stdin is not None
        process.stdin.close()
        assert process.wait(timeout=20) == 0


def test_a_neighbour_that_cannot_be_pinned_is_an_error() -> None:
    with pytest.raises(RuntimeError, match="cannot disturb"), disturbing(4_000, 1):
        pass


def test_the_whole_benchmark_on_two_tiny_blocks(tmp_path: Path) -> None:
    plan = Plan(Settings(samples=2), budget_s=0.1, gap_s=0.0, known_level=True, seed=1, out_dir=tmp_path)
    blocks = tiny_blocks(tmp_path)
    with disturbing(disturbed_processor(), plan.seed):
        condition = run_condition(blocks, plan, "disturbed")
    result = json.loads(json.dumps(result_of(condition, condition, plan)))
    for name in ("agent_within_3pct", "naive_within_3pct", "naive_single_within_3pct", "disturbed_agent_within_3pct"):
        assert 0 <= result[name] <= 100
    assert result["median_half_width_pct"] >= 0
    assert result["goal_met"] is (result["goal_clause"] is not None)
    assert result["settings"]["known_level"] is True
    assert "not over runs" in result["settings"]["agent_minus_naive_interval"]
    assert set(result["details"]) == {"quiet", "disturbed"}
    kept = {file.name for file in tmp_path.glob("disturbed-*")}
    assert kept == {f"disturbed-{name}" for name in ("agent-1.jsonl", "agent-2.jsonl", "naive-1.json", "naive-2.json")}
