"""The wire between the agent and its workers, one JSON object a line.

  agent -> worker   one WorkOrder
  worker -> agent   by the order's task
    probe           `ready` (the sentinel's session was opened)
    latency         `ready` and the sentinel's first reading; then for each block `started`, one of `batch` and
                    `failed`, and one more reading of the sentinel
    memory          for each block `started` and `weighed`
    energy          for each block `started`, then `resting` (loaded, warm, nothing runs), `running` and `ran`;
                    or `failed`
                    `failed` with an empty block id speaks of the whole worker.

A worker that ends early has crashed on the block that it started last. It ends by itself when its standard input
does: nobody is there to listen any more.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Optional, Tuple, Type, Union

from profiler_agent.decoding import decode, encode, parse_object, quoted
from profiler_agent.errors import RecordError
from profiler_agent.records import NO_SIGNS, JobBlock, Settings, Signs

PROBE, LATENCY, MEMORY, ENERGY = "probe", "latency", "memory", "energy"
# The code of a failure that the settings are to blame for, not the runtime.
BAD_ORDER = "bad_order"


@dataclass(frozen=True)
class WorkOrder:
    """What one worker does.

    Attributes:
        runtime: its identifier.
        settings: of the job.
        blocks: in the order in which they are measured; for a probe those that tell whether a provider that does
            not take the sentinel takes anything.
        list_operations: whether to report the optimised graph of each block, and to see what computes it.
        task: `probe` (only to say whether the runtime works), `latency`, `memory` or `energy`.
    """

    runtime: str
    settings: Settings
    blocks: Tuple[JobBlock, ...]
    list_operations: bool = False
    task: str = LATENCY


@dataclass(frozen=True)
class Ready:
    """The runtime opened a session here.

    Attributes:
        provider: what is engaged, with its options; told to a probe, else empty.
        unengaged: the provider that was asked for and computes nothing here; empty if it does.
        optimization: the graph optimisation level in effect; `none` where the runtime has no such levels.
        spinning: whether its idle threads spin.
        threads: threads of one operator, after clamping.
        affinity: `any`, or the processors read back after pinning, such as `0,1`.
    """

    runtime: str
    runtime_version: str
    provider: str
    optimization: str
    spinning: bool
    threads: int
    affinity: str
    unengaged: str = ""


@dataclass(frozen=True)
class Started:
    """The block that is measured next."""

    block_id: str


@dataclass(frozen=True)
class BatchTaken:
    """Raw samples of one block, taken after the sentinel's reading `position`; `operations` if asked for."""

    block_id: str
    samples_ns: Tuple[int, ...]
    inner_loops: int
    position: int
    warmed_up: bool
    operations: Optional[Tuple[str, ...]]
    signs: Signs = NO_SIGNS


@dataclass(frozen=True)
class SentinelTaken:
    """One reading of the sentinel; positions count from 0."""

    position: int
    samples_ns: Tuple[int, ...]
    inner_loops: int


@dataclass(frozen=True)
class Weighed:
    """How much a block added at most to a process's resident memory; None where the system does not tell."""

    block_id: str
    peak_memory_bytes: Optional[int]


@dataclass(frozen=True)
class Resting:
    """The block is loaded and warm, and nothing runs until the next reply."""

    block_id: str


@dataclass(frozen=True)
class Running:
    """The block runs back to back until the next reply."""

    block_id: str


@dataclass(frozen=True)
class Ran:
    """How many inferences ran in how many ns."""

    block_id: str
    inferences: int
    duration_ns: int


@dataclass(frozen=True)
class BlockFailed:
    """A block, or with an empty id the whole worker, cannot be measured."""

    block_id: str
    code: str
    sentence: str


Reply = Union[Ready, Started, BatchTaken, SentinelTaken, Weighed, Resting, Running, Ran, BlockFailed]
_REPLIES: Tuple[Tuple[str, Type[Any]], ...] = (
    ("ready", Ready),
    ("started", Started),
    ("batch", BatchTaken),
    ("sentinel", SentinelTaken),
    ("weighed", Weighed),
    ("resting", Resting),
    ("running", Running),
    ("ran", Ran),
    ("failed", BlockFailed),
)


def format_reply(reply: Reply) -> str:
    """Return a reply as one line of JSON."""
    name = next(name for name, cls in _REPLIES if isinstance(reply, cls))
    return json.dumps({"reply": name, **encode(reply)}, separators=(",", ":"))


def parse_reply(line: str) -> Reply:
    """Parse one line of a worker's.

    Raises:
        RecordError: it is none of the replies.
    """
    data = parse_object(line)
    for name, cls in _REPLIES:
        if data.get("reply") == name:
            reply: Reply = decode(cls, data, name)
            return reply
    raise RecordError(f"unknown reply in {quoted(line)}")


def format_order(order: WorkOrder) -> str:
    """Return an order as one line of JSON."""
    return json.dumps(encode(order), separators=(",", ":"))


def parse_order(line: str) -> WorkOrder:
    """Parse the line that a worker reads.

    Raises:
        RecordError: it is no order.
    """
    return decode(WorkOrder, parse_object(line))
