"""Makers of kernels and rows of datasets for tests."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from profiler_agent.records import TableKey
from searcher.cost_models.adaptive_drawing import DrawnKernel
from searcher.spaces.block import BlockSpec
from searcher.spaces.kernels import kernel_features
from searcher.tables.dataset import OPERATORS, RANDOM, KernelRow
from tests.searcher.builders import KEY

CALL_MS = 0.004


def pointwise(channels: int, outputs: int, height: int, width: int | None = None, **changes: Any) -> BlockSpec:
    return BlockSpec("conv_bn", ((1, channels, height, width or height),), outputs, **changes)


def relu(channels: int, height: int, width: int | None = None) -> BlockSpec:
    return BlockSpec("relu", ((1, channels, height, width or height),), channels)


def row(spec: BlockSpec, latency_ms: float = 0.5, key: TableKey = KEY, **changes: Any) -> KernelRow:
    """A measured row, or an estimate where the origin says so."""
    estimated = changes.get("origin") == OPERATORS
    made: dict[str, Any] = {
        "call_ms": None if estimated else CALL_MS,
        "interval_ms": None if estimated else (0.9 * latency_ms, 1.1 * latency_ms),
        "confidence": 0.0 if estimated else 0.96,
        "rounds": 8,
        "samples": 56,
        "converged": True,
        "operations": ("Conv",),
        "model_sha256": "00",
        "origin": RANDOM,
        "sentinel_ms": 0.08,
        "job": "job",
        **changes,
    }
    return KernelRow(spec=spec, key=key, latency_ms=latency_ms, **made)


def measured_rows(
    drawn: Sequence[DrawnKernel], latency_ms: Callable[[BlockSpec], float], drawing_round: int
) -> list[KernelRow]:
    """What a device of known latencies tells of a round."""
    return [
        row(
            one.spec,
            latency_ms(one.spec),
            origin=one.origin,
            predicted_ms=one.predicted_ms,
            drawing_round=drawing_round,
        )
        for one in drawn
    ]


def roofline_ms(spec: BlockSpec) -> float:
    """A machine of one GMAC and one G number a second: the longer of both times, after the call."""
    features = kernel_features(spec)
    return CALL_MS + max(features["macs"], features["read"] + features["written"]) / 1e6


def keys_of(specs: Iterable[BlockSpec]) -> list[str]:
    return [spec.key for spec in specs]
