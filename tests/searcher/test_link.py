"""The way to a device that is lost and opened again, and jobs that are followed through it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path

import pytest

from profiler_agent.records import Event, Hello
from searcher.artifacts import ExportedModel, sha256_of
from searcher.devices.answers import DeviceAnswerError, collect
from searcher.devices.driver import Assignment, measure_on
from searcher.devices.link import Link
from searcher.devices.prepare import PythonSetup
from searcher.devices.transport import HostKeyError, RemoteProgramError, Transport, TransportError, UnreachableError
from tests.fakes import FakeTransport, Program
from tests.searcher.builders import QUICK, agent_program

SOUND = agent_program(lambda _name: 1.0)


class Clock:
    """Passes only while somebody sleeps."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.pauses: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now_s += seconds


def link_of(attempts: Iterable[Transport | Exception], clock: Clock, patience_s: float = 100) -> Link:
    """A link whose successive attempts to connect give these."""
    waiting = iter(attempts)

    def connect() -> Transport:
        outcome = next(waiting)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    return Link(connect, patience_s, clock.sleep, lambda: clock.now_s)


@pytest.fixture
def assignment(tmp_path: Path) -> Assignment:
    model = tmp_path / "a.onnx"
    model.write_text("a")
    return Assignment([ExportedModel("a", model, sha256_of(model))], QUICK)


def losing(program: Program, action: str, lines: int, times: int = 1) -> Program:
    """Lose the link after some lines of an action, the first times that it is asked for."""
    left = [times]

    def run(arguments: Sequence[str], standard_input: bytes) -> Iterable[str]:
        told = program(arguments, standard_input)
        if arguments[4] != action or left[0] == 0:
            yield from told
            return
        left[0] -= 1
        yield from islice(told, lines)
        raise UnreachableError("lost")

    return run


def dying(program: Program, lines: int, times: int) -> Program:
    """Let the agent die after some lines of `follow`, the first times."""
    left = [times]

    def run(arguments: Sequence[str], standard_input: bytes) -> Iterable[str]:
        told = program(arguments, standard_input)
        if arguments[4] != "follow" or left[0] == 0:
            yield from told
            return
        left[0] -= 1
        yield from islice(told, lines)
        raise RemoteProgramError("python3", "fake", 75, "agent: the job broke off")

    return run


def events_of(link: Link, assignment: Assignment) -> list[Event]:
    return list(measure_on(link, PythonSetup("python3"), assignment))


def test_pauses_grow_until_the_device_is_back() -> None:
    clock, back = Clock(), FakeTransport()
    lost = UnreachableError("no route")
    link = link_of([FakeTransport(), lost, lost, lost, back], clock)
    link.reconnect(lost)
    assert link.transport is back
    assert clock.pauses == [1, 2, 4]


def test_a_device_that_stays_away_is_given_up() -> None:
    clock = Clock()
    first = FakeTransport()
    link = link_of([first, *[UnreachableError("no route")] * 100], clock, patience_s=10)
    with pytest.raises(UnreachableError, match="fake was lost and did not come back within 10 s: no route"):
        link.reconnect(UnreachableError("lost"))
    assert clock.now_s <= 10
    assert first.closed


def test_a_changed_host_key_is_not_waited_out() -> None:
    clock = Clock()
    link = link_of([FakeTransport(), HostKeyError("changed")], clock)
    with pytest.raises(HostKeyError):
        link.reconnect(UnreachableError("lost"))
    assert clock.pauses == []


@pytest.mark.parametrize(
    "wrap",
    [
        lambda program: losing(program, "start", 0),
        lambda program: losing(program, "follow", 0),
        lambda program: losing(program, "follow", 3, times=4),
        lambda program: dying(program, 2, times=3),
        lambda program: losing(dying(program, 2, times=2), "follow", 1, times=2),
    ],
)
def test_every_event_is_told_once_whatever_is_lost(wrap: Callable[[Program], Program], assignment: Assignment) -> None:
    # The same events as of a job that nothing happened to, for the fake agent tells the same each time.
    expected = events_of(link_of([FakeTransport(SOUND)], Clock()), assignment)
    device = FakeTransport(with_counted_events(wrap(SOUND)))
    assert events_of(link_of([device] * 10, Clock()), assignment) == expected
    assert isinstance(expected[0], Hello)
    collect(expected).require_complete()


def with_counted_events(program: Program) -> Program:
    """Answer `start` as a device does that has kept everything that it told."""

    def run(arguments: Sequence[str], standard_input: bytes) -> Iterable[str]:
        for line in program(arguments, standard_input):
            yield line.replace('"events": 0', '"events": 1000') if arguments[4] == "start" else line

    return run


def test_a_device_that_lost_events_is_not_believed(assignment: Assignment) -> None:
    device = FakeTransport(losing(SOUND, "follow", 3))
    with pytest.raises(DeviceAnswerError, match="has lost events that it told: measure again with --resume"):
        events_of(link_of([device, device], Clock()), assignment)


def test_an_agent_that_dies_again_and_again_is_given_up(assignment: Assignment) -> None:
    device = FakeTransport(with_counted_events(dying(SOUND, 1, times=100)))
    with pytest.raises(TransportError, match="fake says: the job broke off"):
        events_of(link_of([device], Clock()), assignment)
    assert sum(run.arguments[4] == "follow" for run in device.runs) == 6


class LosingTransport(FakeTransport):
    """Loses the link behind the first model that it has received."""

    def __init__(self) -> None:
        super().__init__(SOUND)
        self.lost = False

    def send(self, files: Mapping[str, Path]) -> int:
        sent = super().send(files)
        if not self.lost and any(name.startswith("models/") for name in files):
            self.lost = True
            raise UnreachableError("lost")
        return sent


def test_what_was_sent_before_the_link_was_lost_is_not_sent_again(assignment: Assignment) -> None:
    whole, broken = FakeTransport(SOUND), LosingTransport()
    expected = events_of(link_of([whole], Clock()), assignment)
    assert events_of(link_of([broken, broken], Clock()), assignment) == expected
    assert broken.lost
    assert broken.sent_bytes == whole.sent_bytes


@pytest.mark.parametrize(("outlives", "actions"), [(True, ["start", "follow"]), (False, ["start", "follow", "stop"])])
def test_an_interrupt_stops_the_job_unless_it_is_to_go_on(
    assignment: Assignment, outlives: bool, actions: list[str]
) -> None:
    def interrupted(arguments: Sequence[str], standard_input: bytes) -> Iterable[str]:
        yield from islice(SOUND(arguments, standard_input), 2 if arguments[4] == "follow" else None)
        if arguments[4] == "follow":
            raise KeyboardInterrupt

    device = FakeTransport(interrupted)
    with pytest.raises(KeyboardInterrupt):
        events_of(link_of([device], Clock()), replace(assignment, outlives_interrupts=outlives))
    assert [run.arguments[4] for run in device.runs] == actions


def test_an_interrupt_without_a_link_tells_that_the_device_stays_busy(assignment: Assignment) -> None:
    def lost(arguments: Sequence[str], standard_input: bytes) -> Iterable[str]:
        if arguments[4] == "follow":
            raise KeyboardInterrupt
        if arguments[4] == "stop":
            raise UnreachableError("nobody answers")
        return SOUND(arguments, standard_input)

    link = link_of([FakeTransport(lost)], Clock())
    with pytest.raises(KeyboardInterrupt) as caught:
        events_of(link, assignment)
    busy = f"{link.device} cannot be told to stop: it is busy until the job {assignment.job_id} ends there"
    assert caught.value.__notes__ == [busy]


def test_a_job_whose_answer_is_refused_is_stopped(assignment: Assignment) -> None:
    device = FakeTransport(agent_program(lambda _name: 1.0, change=lambda _events: ["nonsense"]))
    with pytest.raises(DeviceAnswerError):
        events_of(link_of([device], Clock()), assignment)
    assert device.runs[-1].arguments[4] == "stop"
