"""Whether the benchmark of time to precision follows jobs as the agent does, and runs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.block_set import JobRun
from benchmarks.precision_watch import PrecisionWatch, last_reached, without_spared
from benchmarks.pyperf_shape import half_width_pct, processes_of
from benchmarks.time_to_precision import Side, compare, run_fixed, run_pairs, summarise
from profiler_agent.records import Done, Event, Measured, Rejected, Sentinel, Settings
from tests.test_benchmark_repeatability import tiny_blocks


def batch(block: str, process: int, latency_ns: int = 1_000_000, rejected: str | None = None) -> Measured:
    return Measured("job", block, process, process, (latency_ns,) * 3, 1, 0, 0.0, True, False, rejected)


def watched(events: list[Event]) -> PrecisionWatch:
    """Follow events that come one second after each other."""
    watch = PrecisionWatch(1.0)
    for second, event in enumerate(events, start=1):
        watch.add(event, float(second))
    return watch


def test_a_block_reaches_the_precision_at_its_first_look_within_it() -> None:
    steady: list[Event] = [batch("a", process) for process in range(10)]
    reached = watched(steady).reached["a"]
    assert (reached.seconds, reached.rounds) == (8.0, 8)
    shaky: list[Event] = [batch("a", process, 1_000_000 + 30_000 * (process % 2)) for process in range(11)]
    assert not watched(shaky).reached


def test_rejected_batches_do_not_count() -> None:
    events: list[Event] = [batch("a", 0, rejected="shifted"), *(batch("a", process) for process in range(1, 9))]
    assert watched(events).reached["a"].seconds == 9.0


def test_a_late_rejection_takes_back_what_went_by_its_batch_alone() -> None:
    events: list[Event] = [batch("a", process) for process in range(9)]
    assert "a" not in watched([*events, Rejected("job", "a", 7, "shifted")]).reached
    assert "a" in watched([*events, Rejected("job", "a", 8, "shifted")]).reached
    again = watched([*events[:8], Rejected("job", "a", 7, "shifted"), batch("a", 9)])
    assert (again.reached["a"].seconds, again.reached["a"].rounds) == (10.0, 8)


def test_the_last_block_decides() -> None:
    slow: list[Event] = [batch("slow", process, 1_000_000 + 30_000 * (process < 1)) for process in range(12)]
    watch = watched([*(batch("a", process) for process in range(8)), *slow])
    assert last_reached(watch.reached, ["a"]) == (8.0, 8)
    assert last_reached(watch.reached, ["a", "slow"]) == (20.0, 12)
    assert last_reached(watch.reached, []) is None


def test_what_sequential_stopping_spares_are_the_batches_after_the_look() -> None:
    opening = Sentinel("job", 8, 0, (1,), 1, 0.0)
    watch = watched([*(batch("a", process) for process in range(8)), opening, batch("b", 8), batch("a", 8)])
    assert watch.spared == [(11.0, 1.0)]
    assert without_spared(watch, 11.0) == 10.0
    assert without_spared(watch, 10.0) == 10.0


def test_pyperf_documents_are_read_by_process() -> None:
    document = {"benchmarks": [{"runs": [{"warmups": [[1, 0.5]]}, {"values": [1.0, 3.0, 2.0]}, {"values": [2.0]}]}]}
    assert processes_of(document) == [[1.0, 3.0, 2.0], [2.0]]


def test_the_half_width_goes_by_processes() -> None:
    assert half_width_pct([[1.0, 1.0, 9.0]] * 20) == 0.0
    assert half_width_pct([[0.9], [1.1]] * 10) == pytest.approx(10.0)


def test_the_whole_benchmark_on_two_tiny_blocks(tmp_path: Path) -> None:
    blocks = tiny_blocks(tmp_path)
    pairs = run_pairs(blocks, Settings(rounds=1, samples=2), max_s=5.0, repetitions=2)
    result = json.loads(json.dumps(summarise(pairs, blocks)))
    # One round is no look: nothing can have reached the precision, and nothing is made up.
    assert (result["ratio"], result["repetitions"]) == (None, [])
    assert result["left_out"] == ["convolution", "identity"]
    assert [job["fixed"]["batches"] for job in result["jobs"]] == [2, 2]


def test_the_fixed_protocol_ends_when_all_are_there(tmp_path: Path) -> None:
    blocks = tiny_blocks(tmp_path)
    # Any interval is narrow enough, and on a machine of any noise: the first look is the last.
    settings = Settings(rounds=12, samples=1, min_sample_ns=10_000, target_half_width_pct=1e6, drift_tolerance_pct=1e6)
    fixed = run_fixed(blocks, settings, max_s=60.0, wanted=())
    assert {one.rounds for one in fixed.watch.reached.values()} == {8}
    assert not any(isinstance(event, Done) for event in fixed.run.events)


def test_a_repetition_compares_the_blocks_that_both_jobs_brought_there() -> None:
    steady: list[Event] = [batch(block, process) for process in range(8) for block in ("a", "b")]
    agent, fixed = watched(steady), watched([batch("a", process // 2) for process in range(16)])
    sides = [Side(JobRun((), ()), watch) for watch in (agent, fixed)]
    repetition = compare(*sides)
    assert repetition is not None
    assert repetition["blocks_compared"] == 1
    assert (repetition["agent_seconds"], repetition["fixed_seconds"], repetition["ratio"]) == (15.0, 8.0, 1.875)
    assert compare(sides[0], Side(JobRun((), ()), watched([]))) is None
