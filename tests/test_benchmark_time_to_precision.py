"""Whether the benchmark of time to precision follows jobs as the agent does, is fair to fixed counts, and runs."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest

from benchmarks.block_set import JobRun
from benchmarks.precision_watch import FixedCount, PrecisionWatch, Reached, last_of
from benchmarks.pyperf_shape import half_width_pct, processes_of
from benchmarks.time_to_precision import (
    Side,
    against_best,
    against_count,
    against_same_intervals,
    compare,
    run_fixed,
    run_pairs,
    summarise,
)
from profiler_agent.records import Done, Event, Measured, Rejected, Sentinel, Settings
from tests.test_benchmark_repeatability import tiny_blocks


def batch(block: str, process: int, latency_ns: int = 1_000_000, rejected: str | None = None) -> Measured:
    return Measured("job", block, process, process, (latency_ns,) * 3, 1, 0, 0.0, True, False, rejected)


def last_batch(block: str, process: int) -> Measured:
    return replace(batch(block, process), converged=True)


def watched(events: list[Event]) -> PrecisionWatch:
    """Follow events that come one second after each other."""
    watch = PrecisionWatch(1.0)
    for second, event in enumerate(events, start=1):
        watch.add(event, float(second))
    return watch


def side(events: list[Event]) -> Side:
    return Side(cast(JobRun, None), watched(events))


def steady(block: str, count: int) -> list[Event]:
    return [batch(block, process) for process in range(count)]


def test_a_block_stopped_where_the_agent_says_so_until_a_batch_is_rejected() -> None:
    events = [*steady("a", 8), last_batch("a", 8)]
    assert watched(events).stopped == {"a": Reached(9.0, 9)}
    assert not watched([*events, Rejected("job", "a", 2, "shifted")]).stopped
    again = [*events, Rejected("job", "a", 2, "shifted"), last_batch("a", 9)]
    assert watched(again).stopped == {"a": Reached(11.0, 9)}


def test_the_first_look_within_the_target_counts() -> None:
    assert watched(steady("a", 10)).first_look("a") == Reached(8.0, 8)
    shaky: list[Event] = [batch("a", process, 1_000_000 + 30_000 * (process % 2)) for process in range(11)]
    assert watched(shaky).first_look("a") is None


def test_rejected_batches_do_not_count() -> None:
    events: list[Event] = [batch("a", 0, rejected="shifted"), *(batch("a", process) for process in range(1, 9))]
    assert watched(events).first_look("a") == Reached(9.0, 8)


def test_batches_behind_the_look_make_up_for_a_late_rejection() -> None:
    watch = watched([*steady("a", 10), Rejected("job", "a", 7, "shifted")])
    assert [one.process_index for one in watch.accepted("a")] == [0, 1, 2, 3, 4, 5, 6, 8, 9]
    assert watch.first_look("a") == Reached(9.0, 8)
    assert watch.seconds_of(["a"], 8) == 9.0


def test_a_fixed_count_looks_once_at_95_percent_and_at_any_count() -> None:
    # Of six batches the plain interval is their range; the agent looks at eight first, and asks for more than 95%.
    watch = watched([*steady("a", 6), batch("a", 6, 1_500_000), batch("a", 7, 1_500_000)])
    assert not watch.within("a", 5)
    assert watch.within("a", 6)
    assert watch.best_count(["a"]) == FixedCount(6, frozenset("a"))
    assert watch.first_look("a") is None


def test_the_best_count_is_one_for_all_blocks_at_once() -> None:
    late: list[Event] = [batch("late", process, 1_000_000 + 30_000 * (process < 1)) for process in range(12)]
    watch = watched([*steady("a", 12), *late])
    assert not watch.within("late", 8)
    best = watch.best_count(["a", "late"])
    assert best == FixedCount(9, frozenset({"a", "late"}))
    assert watch.seconds_of(["a", "late"], 9) == 21.0


def test_a_block_that_never_gets_there_is_left_out_of_the_best_count() -> None:
    shaky: list[Event] = [batch("shaky", process, 1_000_000 + 30_000 * (process % 2)) for process in range(12)]
    assert watched([*steady("a", 12), *shaky]).best_count(["a", "shaky"]) == FixedCount(6, frozenset("a"))
    assert watched(shaky).best_count(["shaky"]) is None
    assert watched(shaky).best_count([]) is None


def test_the_last_block_decides() -> None:
    reached = {"a": Reached(8.0, 8), "slow": Reached(20.0, 12)}
    assert last_of(reached, ["a"]) == Reached(8.0, 8)
    assert last_of(reached, reached) == Reached(20.0, 12)
    assert last_of(reached, []) is None


def test_what_sequential_stopping_spares_are_the_batches_after_the_look() -> None:
    opening = Sentinel("job", 8, 0, (1,), 1, 0.0)
    watch = watched([*steady("a", 8), opening, batch("b", 8), batch("a", 8, rejected="shifted")])
    looks = watch.first_looks(["a", "b"])
    assert looks == {"a": Reached(8.0, 8)}
    assert watch.without_spared(looks, 11.0) == 10.0
    assert watch.without_spared(looks, 10.0) == 10.0


def interleaved(rounds: int) -> list[Event]:
    """Return a fixed job of two blocks, of which `late` is within the target from nine batches on."""
    return [
        one
        for process in range(rounds)
        for one in (batch("a", process), batch("late", process, 1_000_000 + 30_000 * (process < 1)))
    ]


def test_each_fixed_protocol_is_compared_in_its_own_right() -> None:
    agent = side([*steady("a", 7), last_batch("a", 7), *steady("late", 11), last_batch("late", 11)])
    fixed = side(interleaved(12))
    best = against_best(agent, fixed)
    assert best is not None
    assert (best["agent_seconds"], best["fixed_seconds"], best["fixed_rounds"]) == (20.0, 18.0, 9)
    # Above 1, and said so: the agent pays for looking often, the best count in hindsight does not.
    assert best["ratio"] == round(20 / 18, 3)
    same = against_same_intervals(agent, fixed)
    assert same is not None
    assert (same["fixed_seconds"], same["fixed_rounds"], same["ratio"]) == (24.0, 12, round(20 / 24, 3))
    # Of the same batches: the last look came at 24 s; four of 1 s behind the other block's look are spared.
    assert same["replayed_ratio"] == round(20 / 24, 3)
    assert best["replayed_ratio"] == round(20 / 18, 3)


def test_a_count_chosen_elsewhere_may_be_too_small() -> None:
    agent = side([*steady("a", 7), last_batch("a", 7), *steady("late", 11), last_batch("late", 11)])
    chosen = against_count(agent, side(interleaved(12)), 7)
    assert chosen is not None
    assert (chosen["fixed_seconds"], chosen["blocks_within"], chosen["blocks"]) == (14.0, 1, 2)
    assert against_count(agent, side(interleaved(12)), 13) is None


def test_the_count_is_taken_from_the_other_repetition() -> None:
    agent = side([*steady("a", 7), last_batch("a", 7)])
    early, late = side(steady("a", 12)), side([batch("a", 0, 1_030_000), *steady("a", 13)[1:]])
    first, second = compare([(agent, early), (agent, late)])
    assert (first["best_in_hindsight"]["fixed_rounds"], first["count_from_other"]["fixed_rounds"]) == (6, 9)
    assert (second["best_in_hindsight"]["fixed_rounds"], second["count_from_other"]["fixed_rounds"]) == (9, 6)
    assert (first["count_from_other"]["blocks_within"], second["count_from_other"]["blocks_within"]) == (1, 0)
    assert compare([(agent, early)])[0]["count_from_other"] is None


def test_pyperf_documents_are_read_by_process() -> None:
    document = {"benchmarks": [{"runs": [{"warmups": [[1, 0.5]]}, {"values": [1.0, 3.0, 2.0]}, {"values": [2.0]}]}]}
    assert processes_of(document) == [[1.0, 3.0, 2.0], [2.0]]


def test_the_half_width_goes_by_processes() -> None:
    assert half_width_pct([[1.0, 1.0, 9.0]] * 20) == 0.0
    assert half_width_pct([[0.9], [1.1]] * 10) == pytest.approx(10.0)


def test_nothing_reached_is_nothing_compared(tmp_path: Path) -> None:
    blocks = tiny_blocks(tmp_path)
    pairs = run_pairs(blocks, Settings(rounds=1, samples=2), max_s=5.0, repetitions=2)
    result = json.loads(json.dumps(summarise(pairs, blocks)))
    # One round is no look: nothing can have reached the precision, and nothing is made up.
    ratios = [value for name, value in result.items() if name.startswith(("ratio", "replayed"))]
    assert ratios == [None] * 5
    assert [list(one.values()) for one in result["repetitions"]] == [[None] * 3] * 2
    assert result["left_out"] == ["convolution", "identity"]
    assert [job["fixed"]["batches"] for job in result["jobs"]] == [2, 2]


# Any interval is narrow enough, and on a machine of any noise: the first look is the last.
EASY = Settings(rounds=12, samples=1, min_sample_ns=10_000, target_half_width_pct=1e6, drift_tolerance_pct=1e6)


def test_the_whole_benchmark_on_two_tiny_blocks(tmp_path: Path) -> None:
    blocks = tiny_blocks(tmp_path)
    pairs = run_pairs(blocks, EASY, max_s=60.0, repetitions=1)
    result = json.loads(json.dumps(summarise(pairs, blocks)))
    assert (result["fixed_rounds"], result["left_out"], result["ratio_count_from_other"]) == (6, [], None)
    assert result["ratio"] > 0
    assert result["ratio_same_intervals"] > 0


@pytest.mark.parametrize(("least", "rounds"), [(0, 8), (10, 10)])
def test_the_fixed_job_ends_when_all_comparisons_have_what_they_need(tmp_path: Path, least: int, rounds: int) -> None:
    fixed = run_fixed(tiny_blocks(tmp_path), EASY, max_s=60.0, least=least)
    # A busy machine may reject a batch of one of them.
    assert min(len(fixed.watch.accepted(name)) for name in ("identity", "convolution")) == rounds
    assert not any(isinstance(event, Done) for event in fixed.run.events)
