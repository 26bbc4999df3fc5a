"""Kernels of a device that there is not: what they take follows from known physics, with measured noise."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from profiler_agent.records import TableKey
from searcher.cost_models.kernels.measured_kernel import MeasuredKernel
from searcher.spaces.block import BlockSpec
from searcher.spaces.kernels import kernel_features
from searcher.tables.dataset import RANDOM, KernelRow
from tests.searcher.builders import KEY

CALL_MS = 0.004
# Multiply-accumulates and numbers in a ms.
_COMPUTED, _MOVED = 4e7, 1e6


def true_ms(spec: BlockSpec) -> float:
    """What a kernel takes beside the call: its arithmetic or its traffic, whichever is longer, and a little of it."""
    sizes = kernel_features(spec)
    moved = sizes["read"] + sizes["written"] + sizes["parameters"]
    return 0.001 + max(sizes["macs"] / _COMPUTED, moved / _MOVED) + 0.2 * moved / _MOVED


def drawn(kind: str, count: int, seed: int) -> list[BlockSpec]:
    """Different kernels of a type, `convolution`, `pointwise` or `relu`, log-uniform in their sizes."""
    found: dict[str, BlockSpec] = {}
    for spec in _stream(kind, np.random.default_rng([seed, len(kind)])):
        found[spec.key] = spec
        if len(found) == count:
            return list(found.values())
    raise AssertionError("the stream never ends")


def _stream(kind: str, generator: np.random.Generator) -> Iterator[BlockSpec]:
    while True:
        channels, outputs, height, width = (
            round(math.exp(generator.uniform(math.log(low), math.log(high))))
            for low, high in ((4, 128), (4, 128), (4, 48), (4, 48))
        )
        shape = ((1, channels, height, width),)
        activation = "relu" if generator.random() < 0.5 else None
        if kind == "relu":
            yield BlockSpec("relu", shape, channels)
        elif kind == "pointwise":
            yield BlockSpec("conv_bn", shape, outputs, activation=activation)
        else:
            stride = int(generator.choice([1, 2]))
            yield BlockSpec("conv_bn", shape, outputs, 3, stride, 1, activation=activation)


def measured(specs: list[BlockSpec], seed: int, noise: float = 0.01) -> list[MeasuredKernel]:
    """The kernels as they would be measured, each a group of its own."""
    factors = np.exp(np.random.default_rng(seed).normal(0, noise, len(specs)))
    found = []
    for spec, factor in zip(specs, factors.tolist(), strict=True):
        latency_ms = (CALL_MS + true_ms(spec)) * factor
        interval_ms = (latency_ms * (1 - noise / 2), latency_ms * (1 + noise / 2))
        found.append(MeasuredKernel(spec, latency_ms, CALL_MS, interval_ms, spec.key))
    return found


def rows(kernels: list[MeasuredKernel], key: TableKey = KEY) -> list[KernelRow]:
    """The kernels as rows of a dataset."""
    return [
        KernelRow(
            spec=replace(one.spec, dtype=key.precision),
            key=key,
            latency_ms=one.latency_ms,
            call_ms=one.call_ms,
            interval_ms=one.interval_ms,
            confidence=0.96,
            rounds=9,
            samples=180,
            converged=True,
            operations=("Conv",),
            model_sha256="00",
            origin=RANDOM,
            sentinel_ms=0.08,
            job="job",
        )
        for one in kernels
    ]
