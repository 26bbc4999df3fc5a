"""Rounds, budgets and crashes of a job, with fake workers."""

from __future__ import annotations

import hashlib
import itertools
from pathlib import Path
from typing import TypeVar

import pytest

from profiler_agent.errors import AgentError, BadInputError
from profiler_agent.measure import measure
from profiler_agent.orders import WorkOrder
from profiler_agent.records import Done, Event, Failed, Hello, Job, JobBlock, Measured, Settings, Warned
from tests.agent.fakes import fake_launch

Kind = TypeVar("Kind")


@pytest.fixture
def blocks(tmp_path: Path) -> tuple[JobBlock, ...]:
    made = []
    for name in ("a", "b", "c", "d", "e"):
        path = tmp_path / name
        path.write_text(name)
        made.append(JobBlock(name, str(path), hashlib.sha256(path.read_bytes()).hexdigest()))
    return tuple(made)


def of_kind(kind: type[Kind], events: list[Event]) -> list[Kind]:
    return [event for event in events if isinstance(event, kind)]


def test_every_round_is_a_fresh_process_with_every_block_in_an_order_of_its_own(
    blocks: tuple[JobBlock, ...],
) -> None:
    orders: list[WorkOrder] = []
    job = Job("job", blocks, Settings(rounds=4, samples=3))
    events = list(measure(job, fake_launch(lambda _b, _p: 1000, orders=orders)))
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
        return [e.block_id for e in of_kind(Measured, list(measure(job, fake_launch(lambda _b, _p: 1))))]

    assert order_of(1) == order_of(1)
    assert order_of(1) != order_of(2)


def test_a_crash_costs_its_block_alone(blocks: tuple[JobBlock, ...]) -> None:
    job = Job("job", blocks, Settings(rounds=3, samples=1))
    events = list(measure(job, fake_launch(lambda _b, _p: 1000, crash=frozenset({"c"}))))
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
    events = list(measure(job, launch))
    assert [event.block_id for event in of_kind(Failed, events)] == ["b"]
    done = events[-1]
    assert isinstance(done, Done)
    assert (done.measured, done.failed) == (4, 1)


def test_a_missing_or_exchanged_file_is_never_measured(blocks: tuple[JobBlock, ...]) -> None:
    Path(blocks[0].file).unlink()
    Path(blocks[1].file).write_text("something else")
    events = list(measure(Job("job", blocks, Settings(rounds=1, samples=1)), fake_launch(lambda _b, _p: 1)))
    codes = {event.block_id: event.code for event in of_kind(Failed, events)}
    assert codes == {"a": "unreadable_model", "b": "wrong_file"}
    assert {event.block_id for event in of_kind(Measured, events)} == {"c", "d", "e"}


def test_the_budget_ends_the_job_before_a_round_that_would_pass_it(blocks: tuple[JobBlock, ...]) -> None:
    seconds = itertools.count(0.0, 1.0)
    job = Job("job", blocks, Settings(rounds=50, samples=1), budget_s=10.0)
    events = list(measure(job, fake_launch(lambda _b, _p: 1), clock_s=lambda: next(seconds)))
    done = events[-1]
    assert isinstance(done, Done)
    assert 1 <= done.rounds < 11
    assert [event.code for event in of_kind(Warned, events)] == ["budget_spent"]


def test_one_round_runs_however_small_the_budget(blocks: tuple[JobBlock, ...]) -> None:
    seconds = itertools.count(0.0, 100.0)
    job = Job("job", blocks, Settings(rounds=5, samples=1), budget_s=1.0)
    events = list(measure(job, fake_launch(lambda _b, _p: 1), clock_s=lambda: next(seconds)))
    assert len(of_kind(Measured, events)) == len(blocks)


def test_converged_needs_six_rounds_and_a_narrow_interval(blocks: tuple[JobBlock, ...]) -> None:
    def latency_ns(block: str, process: int) -> int:
        return 1_000_000 + (300_000 * (process % 2) if block == "a" else 0)

    events = list(measure(Job("job", blocks, Settings(rounds=8, samples=1)), fake_launch(latency_ns)))
    converged = {(event.block_id, event.round): event.converged for event in of_kind(Measured, events)}
    assert not converged["b", 4]
    assert converged["b", 5]
    assert not any(converged["a", index] for index in range(8))


def test_an_unknown_runtime_is_refused(blocks: tuple[JobBlock, ...]) -> None:
    with pytest.raises(BadInputError, match="unknown runtime 'abacus'"):
        list(measure(Job("job", blocks, Settings(runtime="abacus")), fake_launch(lambda _b, _p: 1)))


def test_a_runtime_that_never_opens_a_session_is_an_error(blocks: tuple[JobBlock, ...]) -> None:
    with pytest.raises(AgentError, match="no answer"):
        list(measure(Job("job", blocks, Settings()), lambda _order: iter(())))
