"""What progress says of a job whose agent had to begin again."""

from __future__ import annotations

from dataclasses import replace

from profiler_agent.records import Done, Event, Hello
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
