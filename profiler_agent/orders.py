"""The wire between the agent and its workers, one JSON object a line.

  agent -> worker   one WorkOrder
  worker -> agent   `ready` (the sentinel's session was opened) and the sentinel's first reading; then for each
                    block `started`, one of `batch` and `failed`, and one more reading of the sentinel.
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

# The code of a failure that the settings are to blame for, not the runtime.
BAD_ORDER = "bad_order"


@dataclass(frozen=True)
class WorkOrder:
    """What one worker does; no blocks means only to say whether the runtime works.

    Attributes:
        runtime: its identifier.
        settings: of the job.
        blocks: in the order in which they are measured.
        list_operations: whether to report the optimised graph of each block.
    """

    runtime: str
    settings: Settings
    blocks: Tuple[JobBlock, ...]
    list_operations: bool


@dataclass(frozen=True)
class Ready:
    """The runtime opened a session here.

    Attributes:
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
class BlockFailed:
    """A block, or with an empty id the whole worker, cannot be measured."""

    block_id: str
    code: str
    sentence: str


Reply = Union[Ready, Started, BatchTaken, SentinelTaken, BlockFailed]
_REPLIES: Tuple[Tuple[str, Type[Any]], ...] = (
    ("ready", Ready),
    ("started", Started),
    ("batch", BatchTaken),
    ("sentinel", SentinelTaken),
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
