"""The events of the wire, agent to host, one JSON object a line."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Optional, Tuple, Type, Union

from profiler_agent.decoding import decode, encode, parse_object, quoted
from profiler_agent.errors import RecordError
from profiler_agent.records.job import Settings
from profiler_agent.records.machine import Environment, MachineState, TableKey
from profiler_agent.records.signs import NO_SIGNS, Signs
from profiler_agent.records.version import SCHEMA_VERSION, check_version
from profiler_agent.statistics import median

NANOSECONDS_PER_MS = 1e6


@dataclass(frozen=True)
class Hello:
    """The first line: who measures, on what, and with which key."""

    job_id: str
    agent_version: str
    key: TableKey
    environment: Environment
    boot_id: Optional[str]
    settings: Settings
    schema_version: int = SCHEMA_VERSION


@dataclass(frozen=True)
class Sentinel:
    """Raw samples of the sentinel, the one block that is the same in every job: what the machine was like then.

    Attributes:
        process_index: of the process that took them, from 0.
        position: its place among the process's readings; the batch after reading n lies between n and n + 1.
        samples_ns: durations of `inner_loops` back-to-back inferences each, in ns.
        unix_s: when they were received, in s since 1970.
    """

    job_id: str
    process_index: int
    position: int
    samples_ns: Tuple[int, ...]
    inner_loops: int
    unix_s: float

    @property
    def latencies_ns(self) -> Tuple[float, ...]:
        """Latency of one inference in each sample, in ns."""
        return tuple(sample / self.inner_loops for sample in self.samples_ns)


@dataclass(frozen=True)
class Rejected:
    """An earlier batch that must not count, as is known by now; its samples stay in the journal."""

    job_id: str
    block_id: str
    process_index: int
    reason: str


@dataclass(frozen=True)
class Measured:
    """The raw samples of one block in one process.

    Attributes:
        process_index: of the fresh process that took them, from 0.
        round: the round they belong to, from 0.
        position: of the sentinel's reading before this batch.
        unix_s: when they were received, in s since 1970.
        samples_ns: durations of `inner_loops` back-to-back inferences each, in ns.
        warmed_up: whether the warm-up ended because its windows agreed, not because its time was over.
        converged: whether the block's interval over all rounds so far is within the target.
        rejected: why these samples must not count, or None.
        operations: the operators of the graph as the runtime optimised it; told once, in the first round.
        signs: what the machine told meanwhile.
    """

    job_id: str
    block_id: str
    process_index: int
    round: int
    samples_ns: Tuple[int, ...]
    inner_loops: int
    position: int
    unix_s: float
    warmed_up: bool
    converged: bool
    rejected: Optional[str] = None
    operations: Optional[Tuple[str, ...]] = None
    signs: Signs = NO_SIGNS

    @property
    def median_ms(self) -> float:
        """Median latency of one inference, in ms."""
        return median(self.samples_ns) / self.inner_loops / NANOSECONDS_PER_MS


@dataclass(frozen=True)
class Costs:
    """What one block costs beside its latency; told once for each block that was measured. None where not known.

    Attributes:
        file_bytes: size of the model's files, external data included.
        peak_memory_bytes: what opening and running the model added at most to a process's resident memory.
        energy_mj: energy of one inference above the idle machine, in mJ.
        energy_half_width_mj: half-width of its 95% interval, as far as the readings' own noise tells, in mJ.
        power_mw: mean power while the model ran back to back, in mW.
        idle_power_mw: mean power just before, with the model loaded and nothing running, in mW.
        power_samples: fresh readings of the power while it ran; repeated values of a slow sensor count once.
        power_hz: how often the power was read a second.
        rails: what was read.
    """

    job_id: str
    block_id: str
    file_bytes: int
    peak_memory_bytes: Optional[int] = None
    energy_mj: Optional[float] = None
    energy_half_width_mj: Optional[float] = None
    power_mw: Optional[float] = None
    idle_power_mw: Optional[float] = None
    power_samples: Optional[int] = None
    power_hz: Optional[float] = None
    rails: Optional[str] = None


@dataclass(frozen=True)
class Warned:
    """Something that the reader of the measurements should know."""

    code: str
    sentence: str


@dataclass(frozen=True)
class Failed:
    """A block that could not be measured, and why; the others go on."""

    job_id: str
    block_id: str
    code: str
    sentence: str


@dataclass(frozen=True)
class Done:
    """The last line: what came of the job.

    Attributes:
        measured: blocks with a result.
        failed: blocks without one.
        rounds: rounds begun.
        seconds: duration of the job, of all its parts if it was resumed only of the last.
        sentinel_ns: the sentinel's latency on the machine when it was itself, in ns; None where readings were few.
        noise_floor_pct: relative spread of the sentinel where it was not rejected, in percent; None below two
            readings. No measurement of this job can be trusted to less.
        state: of the machine when the job ended.
    """

    job_id: str
    measured: int
    failed: int
    rounds: int
    seconds: float
    sentinel_ns: Optional[float]
    noise_floor_pct: Optional[float]
    state: MachineState


Event = Union[Hello, Sentinel, Measured, Rejected, Costs, Warned, Failed, Done]
_EVENTS: Tuple[Tuple[str, Type[Any]], ...] = (
    ("hello", Hello),
    ("sentinel", Sentinel),
    ("measured", Measured),
    ("rejected", Rejected),
    ("costs", Costs),
    ("warning", Warned),
    ("failed", Failed),
    ("done", Done),
)


def format_event(event: Event) -> str:
    """Return an event as one line of JSON, without the newline."""
    name = next(name for name, cls in _EVENTS if isinstance(event, cls))
    return json.dumps({"event": name, **encode(event)}, separators=(",", ":"))


def parse_event(line: str) -> Event:
    """Parse one line of the wire.

    Raises:
        RecordError: no JSON, an unknown event or schema version, or a field of the wrong type.
    """
    data = parse_object(line)
    for name, cls in _EVENTS:
        if data.get("event") == name:
            check_version(data.get("schema_version", SCHEMA_VERSION), "event")
            event: Event = decode(cls, data, name)
            return event
    raise RecordError(f"unknown event in {quoted(line)}")
