"""What progress says of a job whose agent had to begin again."""

from __future__ import annotations

from dataclasses import replace

from profiler_agent.records import Done, Event, Hello, Measured, Rejected
from searcher.workflows.progress import Progress, follow_job
from tests.searcher.builders import ENVIRONMENT, KEY, QUICK, STATE

HELLO = Hello("job", "0.1.0", KEY, ENVIRONMENT, "first boot", QUICK)
DONE = Done("job", 0, 0, 1, 1.0, None, None, STATE)


def notes(events: list[Event]) -> list[str]:
    return [one.note for one in follow_job(iter(events), "measure", 10) if isinstance(one, Progress) and one.note]


def test_a_second_hello_is_explained_by_the_boot_id() -> None:
    who = f"{KEY.runtime} {KEY.runtime_version} on {KEY.device_fingerprint}"
    # Killed, or interrupted by somebody who started it again: the journal tells the same of both.
    ended = "the agent had ended before its job was done, and was started again; the job goes on"
    assert notes([HELLO, HELLO, DONE]) == [who, ended]
    again = replace(HELLO, boot_id="second boot")
    assert notes([HELLO, again, DONE]) == [who, "the device was started again; the job goes on"]


def batches(count: int, first: int, rejected: str | None) -> list[Event]:
    return [
        Measured("job", "block", process, process, (1,), 1, 0, 0.0, True, False, rejected)
        for process in range(first, first + count)
    ]


def done(events: list[Event], total: int) -> list[int]:
    shown = [one for one in follow_job(iter([HELLO, *events, DONE]), "measure", total) if isinstance(one, Progress)]
    assert {one.total for one in shown} == {total}
    return [one.done for one in shown[1:-1]]


def test_batches_that_are_measured_again_are_no_progress() -> None:
    disturbed = batches(3, 2, "the sentinel beside it was +43.0% off")
    assert done([*batches(2, 0, None), *disturbed, *batches(1, 5, None)], 4) == [1, 2, 2, 2, 2, 3]
    # One that is rejected later is measured again, too.
    assert done([*batches(2, 0, None), Rejected("job", "block", 1, "hot"), *batches(2, 2, None)], 4) == [1, 2, 2, 3]


def test_a_machine_that_is_often_disturbed_is_told_once() -> None:
    disturbed = batches(30, 0, "the sentinel beside it was +43.0% off")
    told = "10 batches were disturbed and are measured again, the last because the sentinel beside it was +43.0% off"
    assert notes([HELLO, *disturbed, DONE])[1:] == [told]
    assert notes([HELLO, *disturbed[:9], DONE])[1:] == []
