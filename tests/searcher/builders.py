"""Makers of tables, keys and measurements for tests of the host."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterable, Sequence

from profiler_agent.records import (
    Done,
    Environment,
    Event,
    Failed,
    Hello,
    Job,
    Machine,
    MachineState,
    Measured,
    Measurement,
    Settings,
    TableKey,
    format_event,
    parse_job,
)
from searcher.spaces.block import BlockSpec
from searcher.spaces.space import SearchSpace
from searcher.tables.lookup_table import Entry, LookupTable, Provenance

KEY = TableKey("x86_64-0", "onnxruntime", "1.31.1", "extended", "CPUExecutionProvider", "fp32", 1, "any", False, "hot")
STATE = MachineState(None, (), (), (), None, None)
ENVIRONMENT = Environment(
    Machine("x86_64", "a processor", 2, "00", (), None), STATE, "Linux", "6", "glibc", "3.11", "2", None, None
)


def measurement(name: str, rounds_ms: Sequence[float]) -> Measurement:
    """A block whose rounds have these medians, in ms."""
    batches = (
        Measured("job", name, index, index, (round(ms * 1e6),) * 3, 1, 0, 0.0, True, False)
        for index, ms in enumerate(rounds_ms)
    )
    return Measurement(name, tuple(batches))


def table(space: SearchSpace, latency_ms: Callable[[BlockSpec], float], key: TableKey = KEY) -> LookupTable:
    """A table with an entry for every block of a space."""
    entries = {
        block.key: Entry(latency_ms(block), (latency_ms(block),) * 2, 0.96, 9, 180, True, ("Conv",), "00")
        for block in space.all_blocks()
    }
    provenance = Provenance("2026-11-21T00:00:00+00:00", "local", "0.1.0", "00", {"torch": "2"})
    return LookupTable(space.name, key, ENVIRONMENT, provenance, entries)


def agent_program(
    latency_ms: Callable[[str], float],
    key: TableKey = KEY,
    failing: frozenset[str] = frozenset(),
    change: Callable[[list[Event]], Iterable[str]] | None = None,
) -> Callable[[Sequence[str], bytes], Iterable[str]]:
    """A program for FakeTransport that answers as `agent job` does; `change` may spoil the lines of events."""
    jobs: dict[str, Job] = {}

    def program(arguments: Sequence[str], standard_input: bytes) -> Iterable[str]:
        assert arguments[1:4] == ["-m", "profiler_agent", "job"]
        action, folder = arguments[4:6]
        if action == "start":
            jobs[folder] = parse_job(standard_input.decode())
        if action != "follow":
            return [json.dumps({"state": "running", "status": None, "boot_id": "boot", "events": 0})]
        events = _events(jobs[folder], latency_ms, key, failing)
        lines = [format_event(event) for event in events] if change is None else change(events)
        return itertools.islice(lines, int(arguments[7]), None)

    return program


def _events(job: Job, latency_ms: Callable[[str], float], key: TableKey, failing: frozenset[str]) -> list[Event]:
    events: list[Event] = [Hello(job.job_id, "0.1.0", key, ENVIRONMENT, "boot", job.settings)]
    for block in job.blocks:
        if block.block_id in failing:
            events.append(Failed(job.job_id, block.block_id, "crashed", "it crashed"))
            continue
        samples = (round(latency_ms(block.block_id) * 1e6),) * job.settings.samples
        events += [
            Measured(job.job_id, block.block_id, index, index, samples, 1, 0, 0.0, True, True)
            for index in range(job.settings.rounds)
        ]
    measured = len(job.blocks) - len(failing)
    return [*events, Done(job.job_id, measured, len(failing), job.settings.rounds, 1.0, 80_000.0, 0.5, STATE)]


QUICK = Settings(rounds=6, samples=2)
