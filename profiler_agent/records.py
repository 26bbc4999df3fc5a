"""The records of the wire and of the files, with their schema version. The one module that the host imports.

History of the schema: 1, the first.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any, Dict, Optional, Tuple, Type, Union

from profiler_agent.decoding import decode, encode, parse_object, quoted
from profiler_agent.errors import AgentError, RecordError
from profiler_agent.statistics import MedianInterval, median, median_interval

__all__ = [
    "SCHEMA_VERSION",
    "AgentError",
    "Done",
    "Environment",
    "Event",
    "Failed",
    "Hello",
    "Job",
    "JobBlock",
    "Machine",
    "MachineState",
    "Measured",
    "Measurement",
    "RecordError",
    "Settings",
    "TableKey",
    "Warned",
    "format_event",
    "format_job",
    "parse_event",
    "parse_job",
]

SCHEMA_VERSION = 1
NANOSECONDS_PER_MS = 1e6


@dataclass(frozen=True)
class JobBlock:
    """One model to measure: its identity in the job, its file and, for dynamic inputs, their shapes."""

    block_id: str
    file: str
    sha256: str
    input_shapes: Dict[str, Tuple[int, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class Settings:
    """How a job is measured.

    Attributes:
        runtime: identifier or family (`onnx`).
        optimization: graph optimisation level: `disabled`, `basic`, `extended` or `all`.
        threads: threads inside one operator; clamped to the processors that the worker may use.
        affinity: processors to pin the worker to; None leaves the choice to the system.
        spinning: whether idle threads of the runtime spin.
        rounds: fresh processes, each measuring every block once, in an order of its own.
        samples: raw samples per block and round.
        min_sample_ns: the least duration of a raw sample; short models are repeated inside one.
        target_half_width_pct: half-width of the interval, relative to the median, at which a block has converged.
        seed: of the orders and of the random inputs.
    """

    runtime: str = "onnx"
    optimization: str = "extended"
    precision: str = "fp32"
    threads: int = 1
    affinity: Optional[Tuple[int, ...]] = None
    spinning: bool = False
    rounds: int = 9
    samples: int = 20
    min_sample_ns: int = 1_000_000
    target_half_width_pct: float = 1.0
    seed: int = 0


@dataclass(frozen=True)
class Job:
    """What the host asks of the agent, in one JSON document. `budget_s`: no new round starts past it."""

    job_id: str
    blocks: Tuple[JobBlock, ...]
    settings: Settings
    budget_s: Optional[float] = None
    schema_version: int = SCHEMA_VERSION


@dataclass(frozen=True)
class Machine:
    """What the device is: facts that do not change between runs and that its fingerprint is made of."""

    architecture: str
    cpu_model: str
    cpu_count: int
    cpu_features_sha256: str
    clusters: Tuple[str, ...]
    board: Optional[str]


@dataclass(frozen=True)
class MachineState:
    """What state the device is in; None where it does not say."""

    load_1m: Optional[float]
    governors: Tuple[str, ...]
    frequencies_mhz: Tuple[float, ...]
    temperature_c: Optional[float]
    memory_available_bytes: Optional[int]


@dataclass(frozen=True)
class Environment:
    """The circumstances of a measurement that are no part of a table's key."""

    machine: Machine
    state: MachineState
    system: str
    kernel: str
    libc: str
    python: str
    numpy: str
    memory_bytes: Optional[int]
    virtual_machine: Optional[bool]


@dataclass(frozen=True)
class TableKey:
    """Everything beside the block that changes its latency; tables of different keys never mix.

    Attributes:
        provider: the provider or delegate actually engaged.
        affinity: `any`, or the processors read back after pinning, such as `0,1`.
        cache: the cache protocol; `hot` means back to back.
    """

    device_fingerprint: str
    runtime: str
    runtime_version: str
    optimization: str
    provider: str
    precision: str
    threads: int
    affinity: str
    spinning: bool
    cache: str


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
class Measured:
    """The raw samples of one block in one process.

    Attributes:
        process_index: of the fresh process that took them, from 0.
        round: the round they belong to, from 0.
        samples_ns: durations of `inner_loops` back-to-back inferences each, in ns.
        warmed_up: whether the warm-up ended because its windows agreed, not because its time was over.
        converged: whether the block's interval over all rounds so far is within the target.
        rejected: why these samples must not count, or None.
        operations: the operators of the graph as the runtime optimised it; told once, in the first round.
    """

    job_id: str
    block_id: str
    process_index: int
    round: int
    samples_ns: Tuple[int, ...]
    inner_loops: int
    warmed_up: bool
    converged: bool
    rejected: Optional[str] = None
    operations: Optional[Tuple[str, ...]] = None

    @property
    def median_ms(self) -> float:
        """Median latency of one inference, in ms."""
        return median(self.samples_ns) / self.inner_loops / NANOSECONDS_PER_MS


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
    """The last line: what came of the job."""

    job_id: str
    measured: int
    failed: int
    rounds: int
    seconds: float
    state: MachineState


Event = Union[Hello, Measured, Warned, Failed, Done]
_EVENTS: Tuple[Tuple[str, Type[Any]], ...] = (
    ("hello", Hello),
    ("measured", Measured),
    ("warning", Warned),
    ("failed", Failed),
    ("done", Done),
)


@dataclass(frozen=True)
class Measurement:
    """All accepted rounds of one block. The batch medians of the rounds are its observations."""

    block_id: str
    rounds: Tuple[Measured, ...]

    def __post_init__(self) -> None:
        """Refuse a measurement without samples: absence must never become a number."""
        if not self.rounds or not all(batch.samples_ns for batch in self.rounds):
            raise RecordError(f"block {quoted(self.block_id)} has no samples")

    @property
    def median_ms(self) -> float:
        """Median over the rounds' medians, in ms for one inference."""
        return median([batch.median_ms for batch in self.rounds])

    @property
    def interval_ms(self) -> MedianInterval:
        """Distribution-free 95% interval of the median over rounds, in ms."""
        return median_interval([batch.median_ms for batch in self.rounds])

    @property
    def half_width_pct(self) -> float:
        """Half the interval's width, in percent of the median."""
        low, high, _ = self.interval_ms
        return 50 * (high - low) / self.median_ms

    @property
    def sample_count(self) -> int:
        """Raw samples over all rounds."""
        return sum(len(batch.samples_ns) for batch in self.rounds)

    @property
    def operations(self) -> Tuple[str, ...]:
        """Operators of the optimised graph; empty when no round told them."""
        return next((batch.operations for batch in self.rounds if batch.operations is not None), ())

    def converged(self, target_half_width_pct: float) -> bool:
        """Whether a full 95% interval is within the target; below six rounds there is none."""
        return self.interval_ms.confidence >= 0.95 and self.half_width_pct <= target_half_width_pct


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
            _check_version(data.get("schema_version", SCHEMA_VERSION), "event")
            event: Event = decode(cls, data, name)
            return event
    raise RecordError(f"unknown event in {quoted(line)}")


def format_job(job: Job) -> str:
    """Return a job as a JSON document."""
    return json.dumps(encode(job), indent=2) + "\n"


def parse_job(text: str) -> Job:
    """Parse a job document.

    Raises:
        RecordError: no JSON, an unknown schema version, or a field missing or of the wrong type.
    """
    data = parse_object(text)
    _check_version(data.get("schema_version"), "job")
    return decode(Job, data, "job")


def _check_version(version: object, what: str) -> None:
    if version != SCHEMA_VERSION:
        raise RecordError(f"{what} has schema version {quoted(version)}; this version reads {SCHEMA_VERSION}")
