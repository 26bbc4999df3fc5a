"""Rounds, budgets and crashes of a job, with fake workers."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from profiler_agent.controls import Control
from profiler_agent.errors import AgentError, BadInputError
from profiler_agent.launch import WorkerCrash
from profiler_agent.ledger import Ledger
from profiler_agent.measure import Clocks, measure, shuffled
from profiler_agent.orders import BatchTaken, Ready, Reply, WorkOrder
from profiler_agent.records import (
    Done,
    Failed,
    Hello,
    Job,
    JobBlock,
    Measured,
    Rejected,
    Settings,
    Warned,
    measurements_of,
)
from profiler_agent.tuning import Tuning
from tests.agent.fakes import fake_launch, of_kind


def test_what_was_tuned_is_part_of_the_key_and_what_was_refused_is_told(
    blocks: tuple[JobBlock, ...], tmp_path: Path
) -> None:
    job = Job("job", blocks, Settings(rounds=1, samples=1, tune=True))
    untuned = list(measure(job, launch=fake_launch(lambda _b, _p: 1)))
    assert isinstance(untuned[0], Hello)
    assert (untuned[0].key.tuning, untuned[0].key.tuned) == ("none", False)
    tuning = Tuning("turbo", (Warned("tuning_refused", "no"),), (Control("turbo", "no_turbo", "1"),), tmp_path)
    events = list(measure(job, launch=fake_launch(lambda _b, _p: 1), tuning=tuning))
    assert isinstance(events[0], Hello)
    assert (events[0].key.tuning, events[0].key.tuned) == ("turbo", True)
    assert events[1] == Warned("tuning_refused", "no")
    assert [event.code for event in of_kind(Warned, events)][:2] == ["tuning_refused", "tuning_lost"]
    assert isinstance(events[-1], Done)


def test_every_round_is_a_fresh_process_with_every_block_in_an_order_of_its_own(
    blocks: tuple[JobBlock, ...],
) -> None:
    orders: list[WorkOrder] = []
    job = Job("job", blocks, Settings(rounds=4, samples=3))
    events = list(measure(job, launch=fake_launch(lambda _b, _p: 1000, orders=orders)))
    assert isinstance(events[0], Hello)
    assert isinstance(events[-1], Done)
    measured = of_kind(Measured, events)
    assert [event.round for event in measured] == sorted(list(range(4)) * 5)
    assert all(event.process_index == event.round for event in measured)
    names = [tuple(block.block_id for block in order.blocks) for order in orders if order.blocks]
    assert len(set(names)) > 1
    assert all(sorted(order) == ["a", "b", "c", "d", "e"] for order in names)
    assert all((event.operations is not None) == (event.round == 0) for event in measured)
    assert events[-1].measured == 5


def test_the_same_seed_gives_the_same_orders(blocks: tuple[JobBlock, ...]) -> None:
    def order_of(seed: int) -> list[str]:
        job = Job("job", blocks, Settings(rounds=3, samples=1, seed=seed))
        return [e.block_id for e in of_kind(Measured, list(measure(job, launch=fake_launch(lambda _b, _p: 1))))]

    assert order_of(1) == order_of(1)
    assert order_of(1) != order_of(2)


def test_a_crash_costs_its_block_alone(blocks: tuple[JobBlock, ...]) -> None:
    job = Job("job", blocks, Settings(rounds=3, samples=1))
    events = list(measure(job, launch=fake_launch(lambda _b, _p: 1000, crash=frozenset({"c"}))))
    failed = of_kind(Failed, events)
    assert [(event.block_id, event.code) for event in failed] == [("c", "crashed")]
    assert "signal 11" in failed[0].sentence
    measured = of_kind(Measured, events)
    assert len(measured) == 12
    assert len({(event.block_id, event.round) for event in measured}) == 12
    done = events[-1]
    assert isinstance(done, Done)
    assert (done.measured, done.failed) == (4, 1)


def test_a_block_that_fails_later_counts_as_failed(blocks: tuple[JobBlock, ...]) -> None:
    job = Job("job", blocks, Settings(rounds=3, samples=1))
    launch = fake_launch(lambda block, process: -1 if block == "b" and process >= 2 else 1000)
    events = list(measure(job, launch=launch))
    assert [event.block_id for event in of_kind(Failed, events)] == ["b"]
    done = events[-1]
    assert isinstance(done, Done)
    assert (done.measured, done.failed) == (4, 1)


def test_a_missing_or_exchanged_file_is_never_measured(blocks: tuple[JobBlock, ...]) -> None:
    Path(blocks[0].file).unlink()
    Path(blocks[1].file).write_text("something else")
    events = list(measure(Job("job", blocks, Settings(rounds=1, samples=1)), launch=fake_launch(lambda _b, _p: 1)))
    codes = {event.block_id: event.code for event in of_kind(Failed, events)}
    assert codes == {"a": "unreadable_model", "b": "wrong_file"}
    assert {event.block_id for event in of_kind(Measured, events)} == {"c", "d", "e"}


def test_the_budget_ends_the_job_before_a_round_that_would_pass_it(blocks: tuple[JobBlock, ...]) -> None:
    seconds = itertools.count(0.0, 1.0)
    job = Job("job", blocks, Settings(rounds=50, samples=1), budget_s=5.0)
    events = list(measure(job, launch=fake_launch(lambda _b, _p: 1), clocks=Clocks(lambda: next(seconds), lambda: 0.0)))
    done = events[-1]
    assert isinstance(done, Done)
    assert 1 <= done.rounds < 6
    assert [event.code for event in of_kind(Warned, events)] == ["budget_spent"]


def test_one_round_runs_however_small_the_budget(blocks: tuple[JobBlock, ...]) -> None:
    seconds = itertools.count(0.0, 100.0)
    job = Job("job", blocks, Settings(rounds=5, samples=1), budget_s=1.0)
    events = list(measure(job, launch=fake_launch(lambda _b, _p: 1), clocks=Clocks(lambda: next(seconds), lambda: 0.0)))
    assert len(of_kind(Measured, events)) == len(blocks)


def test_a_block_stops_at_a_look_when_its_interval_is_narrow(blocks: tuple[JobBlock, ...]) -> None:
    def latency_ns(block: str, process: int) -> int:
        return 1_000_000 + (300_000 * (process % 2) if block == "a" else 0)

    events = list(measure(Job("job", blocks, Settings(rounds=12, samples=1)), launch=fake_launch(latency_ns)))
    taken = Counter(event.block_id for event in of_kind(Measured, events))
    assert taken == {"a": 12, "b": 8, "c": 8, "d": 8, "e": 8}
    assert all(event.converged == (event.round == 7 and event.block_id != "a") for event in of_kind(Measured, events))


def test_what_lies_beside_a_shifted_sentinel_is_measured_again(blocks: tuple[JobBlock, ...]) -> None:
    def sentinel_ns(process: int, position: int) -> int:
        return 1400 if process == 3 and position == 2 else 1000

    launch = fake_launch(lambda _b, process: 1400 if process == 3 else 1000, sentinel_ns=sentinel_ns)
    events = list(measure(Job("job", blocks, Settings(rounds=6, samples=1)), launch=launch))
    rejected = [event for event in of_kind(Measured, events) if event.rejected is not None]
    assert [event.position for event in rejected] == [1, 2]
    assert all("+40.0% off" in str(event.rejected) for event in rejected)
    measurements = {one.block_id: one for one in measurements_of(events)}
    assert all(len(one.rounds) == 6 for one in measurements.values())


def test_an_early_shift_that_is_understood_later_is_rejected_later(blocks: tuple[JobBlock, ...]) -> None:
    job = Job("job", blocks[:1], Settings(rounds=6, samples=1))
    launch = fake_launch(lambda _b, _p: 1000, sentinel_ns=lambda process, _position: 1300 if process < 2 else 1000)
    events = list(measure(job, launch=launch))
    assert sorted(event.process_index for event in of_kind(Rejected, events)) == [0, 1]
    (measurement,) = measurements_of(events)
    assert len(measurement.rounds) == 6
    assert not measurement.unstable


def test_a_machine_that_is_never_steady_ends_with_a_labelled_result(blocks: tuple[JobBlock, ...]) -> None:
    job = Job("job", blocks[:1], Settings(rounds=4, samples=1))

    def sentinel_ns(process: int, position: int) -> int:
        return 1000 + 200 * (2 * process + position)

    events = list(measure(job, launch=fake_launch(lambda _b, _p: 1000, sentinel_ns=sentinel_ns)))
    done = events[-1]
    assert isinstance(done, Done)
    assert done.rounds == 12
    assert done.measured == 1


def test_known_events_are_not_measured_again(blocks: tuple[JobBlock, ...]) -> None:
    job = Job("job", blocks, Settings(rounds=5, samples=1))
    whole = list(measure(job, launch=fake_launch(lambda _b, _p: 1000)))
    for cut in range(0, len(whole), 3):
        known = whole[:cut]
        rest = list(measure(job, known, launch=fake_launch(lambda _b, _p: 1000)))
        together = [event for event in (*known, *rest) if isinstance(event, Measured)]
        keys = [(event.block_id, event.process_index) for event in together]
        assert len(set(keys)) == len(keys)
        assert {one.block_id: len(one.rounds) for one in measurements_of((*known, *rest))} == dict.fromkeys("abcde", 5)


def test_a_worker_that_dies_after_its_work_costs_nothing(blocks: tuple[JobBlock, ...]) -> None:
    good = fake_launch(lambda _b, _p: 1000)

    def launch(order: WorkOrder) -> Iterator[Reply]:
        yield from good(order)
        if order.blocks:
            raise WorkerCrash("the worker was killed by signal 11")

    events = list(measure(Job("job", blocks, Settings(rounds=2, samples=1)), launch=launch))
    assert len(of_kind(Measured, events)) == 10
    assert not of_kind(Failed, events)
    assert [event.code for event in of_kind(Warned, events)] == ["worker_lost"] * 2


def test_workers_that_keep_dying_between_blocks_end_the_job(blocks: tuple[JobBlock, ...]) -> None:
    def launch(order: WorkOrder) -> Iterator[Reply]:
        yield Ready(order.runtime, "1.0", "FakeProvider", "extended", False, 1, "any")
        if order.blocks:
            raise WorkerCrash("the worker was killed by signal 9")

    with pytest.raises(WorkerCrash, match="signal 9"):
        list(measure(Job("job", blocks, Settings(rounds=2, samples=1)), launch=launch))


def test_an_order_depends_on_seed_and_round_alone(blocks: tuple[JobBlock, ...]) -> None:
    assert list(shuffled(blocks, 1, 2)) == list(shuffled(blocks, 1, 2))
    assert len({tuple(shuffled(blocks, 1, index)) for index in range(6)}) > 1


def test_an_unknown_runtime_is_refused(blocks: tuple[JobBlock, ...]) -> None:
    with pytest.raises(BadInputError, match="unknown runtime 'abacus'"):
        list(measure(Job("job", blocks, Settings(runtime="abacus")), launch=fake_launch(lambda _b, _p: 1)))


def test_a_runtime_that_never_opens_a_session_is_an_error(blocks: tuple[JobBlock, ...]) -> None:
    with pytest.raises(AgentError, match="no answer"):
        list(measure(Job("job", blocks, Settings()), launch=lambda _order: iter(())))


def test_operations_are_asked_for_until_they_are_known(blocks: tuple[JobBlock, ...]) -> None:
    job = Job("job", blocks[:2], Settings(rounds=3, samples=1))
    launch = fake_launch(lambda _b, _p: 1000, sentinel_ns=lambda process, _position: 1300 if process == 0 else 1000)
    events = list(measure(job, launch=launch))
    assert all(one.operations == ("Fake",) for one in measurements_of(events))
    first = next(index for index, event in enumerate(events) if isinstance(event, Measured))
    rest = list(measure(job, events[: first + 1], launch=fake_launch(lambda _b, _p: 1000)))
    assert all(one.operations == ("Fake",) for one in measurements_of([*events[: first + 1], *rest]))


def test_a_look_is_taken_once_at_each_count(blocks: tuple[JobBlock, ...]) -> None:
    # Steady at the first look, and then its first batch turns out to be disturbed: the next look is at twelve.
    job = Job("job", blocks[:1], Settings(rounds=40, samples=1))
    ledger = Ledger(job)
    events = list(measure(job, launch=fake_launch(lambda _b, _p: 1000)))
    measured = of_kind(Measured, events)
    assert (len(measured), measured[-1].converged) == (8, True)
    for event in measured:
        ledger.add(event)
    ledger.add(Rejected("job", "a", 0, "why"))
    assert ledger.pending() == [blocks[0]]
    assert not ledger.converges_with(replace(measured[-1], process_index=8))
    for process in range(8, 12):
        ledger.add(replace(measured[-1], process_index=process, converged=False))
    assert ledger.converges_with(replace(measured[-1], process_index=12))


def dying_after(block_id: str, deaths: int) -> Callable[[WorkOrder], Iterator[Reply]]:
    """Return a `launch` whose worker dies after a block's batch, before the sentinel, so many times."""
    good = fake_launch(lambda _b, _p: 1000)
    left = [deaths]

    def launch(order: WorkOrder) -> Iterator[Reply]:
        for reply in good(order):
            yield reply
            if isinstance(reply, BatchTaken) and reply.block_id == block_id and left[0] > 0:
                left[0] -= 1
                raise WorkerCrash("the worker was killed by signal 9")

    return launch


def test_a_death_between_a_batch_and_the_sentinel_blames_the_block_only_the_second_time(
    blocks: tuple[JobBlock, ...],
) -> None:
    job = Job("job", blocks, Settings(rounds=3, samples=1))
    once = list(measure(job, launch=dying_after("b", 1)))
    assert not of_kind(Failed, once)
    assert all(len(one.rounds) == 3 for one in measurements_of(once))
    twice = list(measure(job, launch=dying_after("b", 2)))
    assert [event.block_id for event in of_kind(Failed, twice)] == ["b"]
    assert {one.block_id: len(one.rounds) for one in measurements_of(twice)} == dict.fromkeys("acde", 3)
