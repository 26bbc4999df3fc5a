"""Makers of reports of `agent ops`."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from profiler_agent.records import (
    Environment,
    Machine,
    MachineState,
    OperatorCost,
    OperatorReport,
    Settings,
    TableKey,
    TensorType,
)

KEY = TableKey("x86_64-0", "onnxruntime", "1.31.1", "extended", "CPUExecutionProvider", "fp32", 1, "any", False, "hot")
STATE = MachineState(None, (), (), (), None, None)
ENVIRONMENT = Environment(
    Machine("x86_64", "a processor", 2, "00", (), None), STATE, "Linux", "6", "glibc", "3.11", "2", None, None
)


def operator(name: str, estimate_ms: float | None, operation: str = "Conv", **changes: Any) -> OperatorCost:
    """A 3x3 convolution of 16 channels."""
    made: dict[str, Any] = {
        "inputs": (TensorType("float32", (1, 16, 8, 8)), TensorType("float32", (16, 16, 3, 3), constant=True)),
        "outputs": (TensorType("float32", (1, 16, 8, 8)),),
        "attributes": {"kernel_shape": "3,3", "strides": "1,1", "group": "1"},
        **changes,
    }
    share_pct = None if estimate_ms is None else 10 * estimate_ms
    return OperatorCost(
        name=name,
        operation=operation,
        provider="CPUExecutionProvider",
        raw_ms=estimate_ms,
        estimate_ms=estimate_ms,
        share_pct=share_pct,
        **made,
    )


def report(**changes: Any) -> OperatorReport:
    """A model of two operators that takes 10 ms: 5 + 3 + 1 of the call + 1 unattributed."""
    made = OperatorReport(
        model="m.onnx",
        model_sha256="00",
        agent_version="0.1.0",
        created_unix_s=1.0,
        key=KEY,
        environment=ENVIRONMENT,
        settings=Settings(),
        input_shapes={"x": (1, 3)},
        method="profile",
        wall_ms=10.0,
        wall_interval_ms=(9.5, 10.5),
        wall_confidence=0.96,
        wall_rounds=12,
        wall_converged=True,
        call_ms=1.0,
        operators=(operator("a", 3.0), operator("b", 5.0)),
        unattributed_ms=1.0,
        profiled_wall_ms=15.0,
        additivity=0.97,
    )
    return replace(made, **changes)
