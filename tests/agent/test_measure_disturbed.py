"""Jobs on machines that others, heat or the firmware disturb, with fake workers and sensors."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from profiler_agent.measure import Clocks, Sensors, measure
from profiler_agent.records import (
    Done,
    Job,
    JobBlock,
    Measured,
    Rejected,
    Settings,
    Signs,
    Warned,
    measurements_of,
)
from profiler_agent.system_files import Heat
from tests.agent.fakes import fake_launch, of_kind


def sensors(heat: Callable[[], Heat] = lambda: Heat(None, None), bits: Iterable[int] = ()) -> Sensors:
    readings = iter(bits)
    return Sensors(heat, lambda: next(readings, None))


def test_signs_of_the_machine_reject_a_batch_and_stay_in_its_record(blocks: tuple[JobBlock, ...]) -> None:
    quiet, disturbed = Signs(lost_pct=0.0), Signs(lost_pct=20.0)
    launch = fake_launch(lambda _b, _p: 1000, signs=lambda _b, process: disturbed if process == 2 else quiet)
    events = list(measure(Job("job", blocks, Settings(rounds=5, samples=1)), launch=launch))
    rejected = [event for event in of_kind(Measured, events) if event.rejected]
    assert [event.process_index for event in rejected] == [2] * 5
    assert all(event.signs == disturbed and "taken from it for 20.0%" in str(event.rejected) for event in rejected)
    assert all(len(one.rounds) == 5 for one in measurements_of(events))


def test_what_the_firmware_held_back_is_rejected_and_waited_for(blocks: tuple[JobBlock, ...]) -> None:
    slept: list[float] = []
    events = list(
        measure(
            Job("job", blocks, Settings(rounds=2, samples=1)),
            launch=fake_launch(lambda _b, _p: 1000),
            clocks=Clocks(lambda: 0.0, lambda: 0.0, slept.append),
            # Before and after each process; the first one is throttled.
            sensors=sensors(bits=(0, 0x40004, 0x40000, 0x40000, 0x40000, 0x40000)),
        )
    )
    rejected = of_kind(Rejected, events)
    assert {event.process_index for event in rejected} == {0}
    assert {event.reason for event in rejected} == {"the firmware reported throttling"}
    assert sum(slept) == 60
    assert [event.code for event in of_kind(Warned, events)] == ["cooling", "cooled"]
    assert all(len(one.rounds) == 2 for one in measurements_of(events))


def test_a_hot_machine_cools_before_it_is_measured(blocks: tuple[JobBlock, ...]) -> None:
    temperature_c = [85.0]

    def sleep(seconds: float) -> None:
        temperature_c[0] -= seconds

    events = list(
        measure(
            Job("job", blocks, Settings(rounds=1, samples=1, max_temperature_c=70.0)),
            launch=fake_launch(lambda _b, _p: 1000),
            clocks=Clocks(lambda: 0.0, lambda: 0.0, sleep),
            sensors=sensors(lambda: Heat(temperature_c[0], None)),
        )
    )
    assert temperature_c == [65.0]
    assert [event.code for event in of_kind(Warned, events)] == ["cooling", "cooled"]


def test_a_machine_that_never_cools_is_waited_for_twice_and_then_left(blocks: tuple[JobBlock, ...]) -> None:
    slept: list[float] = []
    launch = fake_launch(lambda _b, _p: 1000, signs=lambda _b, _p: Signs(temperature_c=90.0, heat_margin_c=-10.0))
    events = list(
        measure(
            Job("job", blocks[:1], Settings(rounds=2, samples=1)),
            launch=launch,
            clocks=Clocks(lambda: 0.0, lambda: 0.0, slept.append),
            sensors=sensors(lambda: Heat(90.0, -10.0)),
        )
    )
    assert sum(slept) == 1200
    codes = [event.code for event in of_kind(Warned, events)]
    assert codes == ["cooling", "cooled", "cooling", "cooled", "too_hot", "unsteady_machine"]
    done = events[-1]
    assert isinstance(done, Done)
    assert done.rounds == 2


def test_a_weak_supply_rejects_but_is_not_waited_for(blocks: tuple[JobBlock, ...]) -> None:
    slept: list[float] = []
    events = list(
        measure(
            Job("job", blocks, Settings(rounds=1, samples=1)),
            launch=fake_launch(lambda _b, _p: 1000),
            clocks=Clocks(lambda: 0.0, lambda: 0.0, slept.append),
            sensors=sensors(lambda: Heat(45.0, None), bits=(0, 0x10001, 0x10000, 0x10000)),
        )
    )
    assert {event.reason for event in of_kind(Rejected, events)} == {"the firmware reported undervoltage"}
    assert slept == []


def test_a_limit_that_cannot_be_kept_is_said(blocks: tuple[JobBlock, ...]) -> None:
    job = Job("job", blocks, Settings(rounds=1, samples=1, max_temperature_c=60.0))
    events = list(measure(job, launch=fake_launch(lambda _b, _p: 1000), sensors=sensors()))
    assert [event.code for event in of_kind(Warned, events)] == ["no_temperature"]


def test_a_resumed_job_rejects_what_the_broken_one_would_have(blocks: tuple[JobBlock, ...]) -> None:
    job = Job("job", blocks[:2], Settings(rounds=2, samples=1))
    shaken = fake_launch(lambda _b, _p: 1000, sentinel_ns=lambda process, _position: 1300 if process == 0 else 1000)
    whole = list(measure(job, launch=shaken, sensors=sensors()))
    assert {event.process_index for event in of_kind(Rejected, whole)} == {0}
    for cut, event in enumerate(whole):
        if isinstance(event, (Measured, Rejected)):
            known = whole[: cut + 1]
            rest = list(measure(job, known, launch=fake_launch(lambda _b, _p: 1000), sensors=sensors()))
            taken = measurements_of([*known, *rest])
            assert all(len(one.rounds) == 2 for one in taken)
            assert all(batch.process_index > 0 for one in taken for batch in one.rounds)


def test_what_a_dying_agent_could_not_ask_the_firmware_does_not_count(blocks: tuple[JobBlock, ...]) -> None:
    job = Job("job", blocks[:1], Settings(rounds=2, samples=1))
    whole = list(measure(job, launch=fake_launch(lambda _b, _p: 1000), sensors=sensors()))
    known = whole[: whole.index(of_kind(Measured, whole)[0]) + 1]
    rest = list(measure(job, known, launch=fake_launch(lambda _b, _p: 1000), sensors=sensors(bits=[0] * 20)))
    assert [event.process_index for event in of_kind(Rejected, rest)] == [0]
