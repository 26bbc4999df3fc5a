"""The wire between the agent and a worker that looks into one model, one JSON object each way.

agent -> worker   one InspectionOrder
worker -> agent   one of `inspected` and `failed`
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Dict, Optional, Tuple, Union

from profiler_agent.decoding import decode, encode, parse_object, quoted
from profiler_agent.errors import RecordError
from profiler_agent.records import Settings, TensorType


@dataclass(frozen=True)
class InspectionOrder:
    """What one worker does.

    Attributes:
        runtime: its identifier.
        settings: threads, optimisation level, seed of the inputs, and the rest as in a job.
        model: the file.
        input_shapes: of dynamic inputs, by name.
        folder: where the worker may write models that are to be measured: the call, and parts of the model.
    """

    runtime: str
    settings: Settings
    model: str
    input_shapes: Dict[str, Tuple[int, ...]]
    folder: str


@dataclass(frozen=True)
class SeenOperator:
    """One operator of the graph as the runtime executes it; the first fields are those of `OperatorCost`.

    Attributes:
        profiled_us: its mean time in the runtime's profile, in µs; None where the runtime has none.
        part: file name of a model that holds it alone; equal operators share one. None where there is a profile, or
            where it cannot be cut out.
        group: file name of a model that holds it with those that the runtime may fuse into it, or None.
        fused_into: number of the operator that this one may be fused into, or None.
        problem: why it cannot be cut out, or None.
    """

    name: str
    operation: str
    provider: str
    inputs: Tuple[TensorType, ...]
    outputs: Tuple[TensorType, ...]
    attributes: Dict[str, str]
    profiled_us: Optional[float] = None
    part: Optional[str] = None
    group: Optional[str] = None
    fused_into: Optional[int] = None
    problem: Optional[str] = None


@dataclass(frozen=True)
class Calibration:
    """A chain of nodes that compute next to nothing: it shows what the profiler adds to a node's time.

    Attributes:
        file: name of the model.
        nodes: its length.
        profiled_us: mean time of a node in the runtime's profile, in µs.
    """

    file: str
    nodes: int
    profiled_us: float


@dataclass(frozen=True)
class Inspected:
    """What a worker found.

    Attributes:
        operators: in the order of execution.
        call: file name of a model that computes nothing.
        profiled_wall_us: median latency while the profile was taken, in µs, or None.
        calibration: of the profiler, or None where there is none.
    """

    operators: Tuple[SeenOperator, ...]
    call: str
    profiled_wall_us: Optional[float] = None
    calibration: Optional[Calibration] = None


@dataclass(frozen=True)
class InspectionFailed:
    """Why a model cannot be looked into; the codes are those of `failed` records."""

    code: str
    sentence: str


Finding = Union[Inspected, InspectionFailed]


def format_finding(finding: Finding) -> str:
    """Return a worker's answer as one line of JSON."""
    name = "inspected" if isinstance(finding, Inspected) else "failed"
    return json.dumps({"reply": name, **encode(finding)}, separators=(",", ":"))


def parse_finding(line: str) -> Finding:
    """Parse a worker's answer.

    Raises:
        RecordError: it is none.
    """
    data = parse_object(line)
    if data.get("reply") == "inspected":
        return decode(Inspected, data, "inspected")
    if data.get("reply") == "failed":
        return decode(InspectionFailed, data, "failed")
    raise RecordError(f"unknown reply in {quoted(line)}")


def format_inspection(order: InspectionOrder) -> str:
    """Return an order as one line of JSON."""
    return json.dumps(encode(order), separators=(",", ":"))


def parse_inspection(line: str) -> InspectionOrder:
    """Parse the line that a worker reads.

    Raises:
        RecordError: it is no order.
    """
    return decode(InspectionOrder, parse_object(line))
