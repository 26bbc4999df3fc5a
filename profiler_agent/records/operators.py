"""What `agent ops` finds: the operators of one model, and how its latency is shared among them."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import Dict, Optional, Tuple

from profiler_agent.decoding import decode, encode, parse_object
from profiler_agent.errors import RecordError
from profiler_agent.records.job import Settings
from profiler_agent.records.machine import Environment, TableKey
from profiler_agent.records.version import SCHEMA_VERSION, check_version

PROFILE = "profile"
PARTS = "parts"
_METHODS = (PROFILE, PARTS)
# Written sums are rounded; what is off by more does not add up.
_TOLERANCE = 1e-3


@dataclass(frozen=True)
class TensorType:
    """What an operator reads or writes.

    Attributes:
        dtype: name of its numbers' type, such as `float32`, as the runtime calls it.
        shape: as the runtime stores it.
        constant: whether the model holds its values (weights, axes).
    """

    dtype: str
    shape: Tuple[int, ...]
    constant: bool = False


@dataclass(frozen=True)
class OperatorCost:
    """One operator of the graph as the runtime executes it.

    Attributes:
        name: of the node; in files that name no operators, of its first output.
        operation: what it computes, in the words of `measured` records: domain-qualified, `@XNNPACK` behind those
            that the delegate took.
        provider: what ran it.
        inputs: its operands in order; those left out are missing.
        outputs: its results in order.
        attributes: what else makes it what it is, such as `strides`; lists are joined by commas.
        raw_ms: its time as it was told or measured: in the runtime's own profile, or alone, the call taken off; in ms.
            None where it could not be measured.
        estimate_ms: its part of the unprofiled latency, in ms; None where `raw_ms` is.
        share_pct: the same in percent.
        fused_into: number, in the same list from 0, of the operator that the runtime may fuse this one into: its time
            is what both together take more than that one alone. None for all others.
        problem: why there is no estimate, or None.
    """

    name: str
    operation: str
    provider: str
    inputs: Tuple[TensorType, ...]
    outputs: Tuple[TensorType, ...]
    attributes: Dict[str, str]
    raw_ms: Optional[float]
    estimate_ms: Optional[float]
    share_pct: Optional[float]
    fused_into: Optional[int] = None
    problem: Optional[str] = None

    def __post_init__(self) -> None:
        """Refuse what is neither an estimate nor a reason why there is none."""
        if (self.estimate_ms is None) != (self.problem is not None):
            raise RecordError(f"the operator {self.name!r} needs either an estimate or a problem")
        if self.estimate_ms is not None and not 0 <= self.estimate_ms < math.inf:
            raise RecordError(f"the operator {self.name!r} cannot take {self.estimate_ms} ms")


@dataclass(frozen=True)
class OperatorReport:
    """The document that `agent ops` writes: call + all estimates + unattributed = wall.

    Attributes:
        model: name of the file.
        created_unix_s: when it was made, in s since 1970.
        method: `profile` (shares from the runtime's own profile) or `parts` (operators measured alone).
        wall_ms: median latency of one inference without any profiler, in ms.
        wall_interval_ms: distribution-free interval of that median, in ms.
        wall_confidence: that it covers the median.
        wall_rounds: fresh processes that measured it.
        wall_converged: whether the interval is as narrow as was asked.
        call_ms: latency of a model that computes nothing: the price of the runtime's call.
        operators: in the order of execution.
        unattributed_ms: what is left where operators have no estimate, in ms; else 0.
        profiled_wall_ms: median latency while the profiler was on, in ms; None where none was used.
        additivity: (call + all raw times) ÷ wall: how far the parts may be trusted; None where one is missing.
        warnings: what the reader should know.
    """

    model: str
    model_sha256: str
    agent_version: str
    created_unix_s: float
    key: TableKey
    environment: Environment
    settings: Settings
    input_shapes: Dict[str, Tuple[int, ...]]
    method: str
    wall_ms: float
    wall_interval_ms: Tuple[float, float]
    wall_confidence: float
    wall_rounds: int
    wall_converged: bool
    call_ms: float
    operators: Tuple[OperatorCost, ...]
    unattributed_ms: float
    profiled_wall_ms: Optional[float]
    additivity: Optional[float]
    warnings: Tuple[str, ...] = ()
    schema_version: int = SCHEMA_VERSION

    def __post_init__(self) -> None:
        """Refuse a report that does not add up."""
        if self.method not in _METHODS:
            raise RecordError(f"the method must be one of {', '.join(_METHODS)}, not {self.method!r}")
        if not (0 < self.wall_ms < math.inf and 0 <= self.call_ms < math.inf and self.unattributed_ms >= 0):
            raise RecordError(f"the model {self.model!r} has a latency that is none")
        if abs(self.total_ms - self.wall_ms) > _TOLERANCE * self.wall_ms:
            raise RecordError(f"the parts of {self.model!r} sum to {self.total_ms:g} ms, not to {self.wall_ms:g} ms")

    @property
    def operators_ms(self) -> float:
        """Sum of all estimates, in ms."""
        return math.fsum(one.estimate_ms for one in self.operators if one.estimate_ms is not None)

    @property
    def total_ms(self) -> float:
        """Call, operators and what is unattributed together, in ms: the wall."""
        return self.call_ms + self.operators_ms + self.unattributed_ms

    @property
    def profiler_inflation(self) -> Optional[float]:
        """Profiled ÷ unprofiled latency, or None."""
        return None if self.profiled_wall_ms is None else self.profiled_wall_ms / self.wall_ms


def format_operator_report(report: OperatorReport) -> str:
    """Return a report as a JSON document, its schema version first."""
    plain = encode(report)
    return json.dumps({"schema_version": plain.pop("schema_version"), **plain}, indent=2, ensure_ascii=False) + "\n"


def parse_operator_report(text: str) -> OperatorReport:
    """Parse a report.

    Raises:
        RecordError: no JSON, an unknown schema version, a field missing or of the wrong type, or sums that do not add
            up.
    """
    data = parse_object(text)
    check_version(data.get("schema_version"), "operator report")
    return decode(OperatorReport, data, "operator report")
