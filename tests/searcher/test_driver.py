"""One job on a device: what a good agent's answer becomes, and how a bad one is refused."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

import pytest

from profiler_agent.records import Costs, Done, Event, Hello, Measured, Warned, format_event
from searcher.artifacts import ExportedModel, sha256_of
from searcher.devices.answers import DeviceAnswerError, MeasurementFailedError, collect
from searcher.devices.driver import Assignment, measure_on
from searcher.devices.link import Link
from searcher.devices.prepare import PythonSetup
from searcher.devices.transport import RemoteProgramError, TransportError
from searcher.errors import BadInputError
from tests.fakes import FakeTransport
from tests.searcher.builders import QUICK, agent_program


@pytest.fixture
def models(tmp_path: Path) -> list[ExportedModel]:
    made = []
    for name in ("first", "second"):
        path = tmp_path / f"{name}.onnx"
        path.write_text(name)
        made.append(ExportedModel(name, path, sha256_of(path)))
    return made


def run(transport: FakeTransport, models: list[ExportedModel]) -> list[Event]:
    return list(measure_on(Link(lambda: transport), PythonSetup("python3"), Assignment(models, QUICK)))


def test_a_job_is_deployed_run_and_collected(models: list[ExportedModel]) -> None:
    transport = FakeTransport(agent_program(lambda name: 1.0 if name == "first" else 2.0))
    result = collect(run(transport, models))
    assert {one.block_id: one.median_ms for one in result.measurements} == {"first": 1.0, "second": 2.0}
    assert not result.failures
    result.require_complete()
    start, follow = transport.runs
    assert start.arguments[:5] == ("python3", "-m", "profiler_agent", "job", "start")
    assert follow.arguments[3:5] == ("job", "follow")
    assert transport.exists(f"{start.environment['PYTHONPATH']}/profiler_agent/__main__.py")


def test_a_failed_block_is_no_measurement(models: list[ExportedModel]) -> None:
    result = collect(run(FakeTransport(agent_program(lambda _name: 1.0, failing=frozenset({"second"}))), models))
    assert [one.block_id for one in result.measurements] == ["first"]
    with pytest.raises(MeasurementFailedError, match="second could not be measured: it crashed"):
        result.require_complete()


def test_a_machine_that_did_not_stay_tuned_gives_no_table(models: list[ExportedModel]) -> None:
    def change(events: list[Event]) -> Iterable[str]:
        return lines([*events[:-1], Warned("tuning_lost", "the machine did not stay tuned"), events[-1]])

    result = collect(run(FakeTransport(agent_program(lambda _name: 1.0, change=change)), models))
    with pytest.raises(MeasurementFailedError, match="did not stay tuned; measure again"):
        result.require_complete()


def lines(events: Iterable[Event]) -> list[str]:
    return [format_event(event) for event in events]


def with_first_measured(events: list[Event], spoil: Callable[[Measured], Measured]) -> list[str]:
    index = next(i for i, event in enumerate(events) if isinstance(event, Measured))
    measured = events[index]
    assert isinstance(measured, Measured)
    return lines([*events[:index], spoil(measured), *events[index + 1 :]])


def elsewhere(event: Event) -> Event:
    assert isinstance(event, Hello)
    return replace(event, key=replace(event.key, threads=7))


def with_costs(events: list[Event], costs: Costs) -> list[str]:
    (hello, *_) = events
    assert isinstance(hello, Hello)
    return lines([*events[:-1], replace(costs, job_id=hello.job_id), events[-1]])


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda events: [], "ended before its job was done"),
        (lambda events: lines(events[:-1]), "ended before its job was done"),
        (lambda events: lines(events[1:]), "`hello` is missing"),
        (lambda events: lines([*events[:2], elsewhere(events[0]), *events[2:]]), "goes on under another key"),
        (lambda events: lines([*events, events[1]]), "goes on after `done`"),
        (lambda events: ["Traceback (most recent call last):"], "sent what is no record"),
        (lambda events: ['{"event": "gossip"}'], "unknown event"),
        (lambda events: ['{"event": "hello", "schema_version": 99}'], "schema version"),
        (lambda events: ["\x1b[2J\x1b]0;owned\x07"], "sent what is no record"),
        (lambda events: with_first_measured(events, lambda one: replace(one, job_id="x")), "another job"),
        (lambda events: with_first_measured(events, lambda one: replace(one, block_id="../../etc")), "unknown block"),
        (lambda events: with_first_measured(events, lambda one: replace(one, samples_ns=())), "not positive"),
        (lambda events: with_first_measured(events, lambda one: replace(one, samples_ns=(0,))), "not positive"),
        (lambda events: with_first_measured(events, lambda one: replace(one, inner_loops=0)), "not positive"),
        (lambda events: with_costs(events, Costs("", "third", 1)), "unknown block"),
        (lambda events: with_costs(events, Costs("", "first", 0)), "a size is not positive"),
        (lambda events: with_costs(events, Costs("", "first", 1, -1)), "a size is not positive"),
        (lambda events: with_costs(events, Costs("", "first", 1, None, -0.5)), "an energy is not positive"),
    ],
)
def test_an_answer_that_does_not_fit_is_refused(
    models: list[ExportedModel], change: Callable[[list[Event]], Iterable[str]], complaint: str
) -> None:
    transport = FakeTransport(agent_program(lambda _name: 1.0, change=change))
    with pytest.raises(DeviceAnswerError, match=complaint) as caught:
        run(transport, models)
    assert str(caught.value).isprintable()


def failing_agent(after: Callable[[list[Event]], list[Event]], status: int) -> FakeTransport:
    def change(events: list[Event]) -> Iterable[str]:
        yield from lines(after(events))
        raise RemoteProgramError("python3", "fake", status, "some noise\nagent: no runtime works here\n")

    return FakeTransport(agent_program(lambda _name: 1.0, change=change))


def test_the_agents_own_sentence_is_passed_on(models: list[ExportedModel]) -> None:
    with pytest.raises(TransportError, match="the agent on fake says: no runtime works here"):
        run(failing_agent(lambda events: [], 1), models)


def test_an_agent_that_refuses_the_job_blames_the_input(models: list[ExportedModel]) -> None:
    with pytest.raises(BadInputError, match="the agent on fake says: no runtime"):
        run(failing_agent(lambda events: [], 2), models)


def test_a_status_after_done_is_no_error_of_its_own(models: list[ExportedModel]) -> None:
    events = run(failing_agent(lambda events: events, 1), models)
    assert isinstance(events[0], Hello)
    assert isinstance(events[-1], Done)
