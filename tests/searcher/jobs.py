"""Profiling on a device in memory that throws its follower out, for tests of what becomes of the job."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from profiler_agent.records import Event, format_event
from searcher.cli import show
from searcher.devices.device import Device
from searcher.history.history import History
from searcher.history.job_record import JobRecord
from searcher.spaces.nasbench201 import NasBench201
from searcher.tables.lookup_table import LookupTable
from searcher.workflows.profile_space import ProfileRequest, profile_space
from tests.fakes import FakeTransport, Program
from tests.searcher.builders import QUICK, agent_program

SPACE = NasBench201()
# With a runtime of its own: no test of jobs asks the package index.
REMOTE = Device("ssh://pi@shelf:22", runtime_from="system")


def cut_once(error: BaseException, lines: int, latency_ms: float = 1.0) -> Program:
    """An agent whose follower is thrown out after some lines, the first time."""
    left = [error]

    def change(events: list[Event]) -> Iterable[str]:
        yield from map(format_event, events[:lines] if left else events)
        if left:
            raise left.pop()

    return agent_program(lambda _name: latency_ms, change=change)


def profile(
    table: Path, device: FakeTransport, where: Device = REMOTE, *, resume: bool = False, rounds: int = QUICK.rounds
) -> LookupTable:
    settings = replace(QUICK, rounds=rounds)
    request = ProfileRequest(SPACE, where, settings, table, resume=resume)
    return show.run(profile_space(request, lambda _device: device))


def only(history: History) -> JobRecord:
    (record,) = history.jobs()
    return record


def actions(device: FakeTransport) -> list[str]:
    return [run.arguments[4] for run in device.runs]


def journal_lines(history: History, record: JobRecord) -> str:
    return "".join(f"{line}\n" for line in history.lines(record.job_id))
