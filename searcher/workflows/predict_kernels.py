"""What a network takes, predicted from an ONNX file that is cut into kernels as the runtime fuses them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import onnxruntime

from profiler_agent.records import TableKey
from searcher.cost_models.kernels.predictor import KernelPredictor
from searcher.errors import BadInputError
from searcher.export.kernels_of_onnx import NetworkKernel, cut
from searcher.spaces.block import FP32
from searcher.spaces.block_key import block_of_key
from searcher.spaces.kernels import kernel_type, require_possible
from searcher.tables.lookup_table import KeyMismatchError

_RUNTIME, _PROVIDER = "onnxruntime", "CPUExecutionProvider"


@dataclass(frozen=True)
class PredictedKernel:
    """One kernel and what it is expected to take, in ms, the runtime's call apart.

    Attributes:
        name: of the node in the optimised graph; of a single kernel its key.
        operation: the runtime's operator; of a single kernel the block's operation.
        block: key of the block.
        type: of the kernel.
        latency_ms: in ms.
        interval_ms: in ms.
    """

    name: str
    operation: str
    block: str
    type: str
    latency_ms: float
    interval_ms: tuple[float, float]


@dataclass(frozen=True)
class PredictedNetwork:
    """What a network is expected to take.

    Attributes:
        latency_ms: of one inference, the call included, in ms.
        interval_ms: in which it lies, in ms: with the confidence, as networks have shown that were measured whole; or,
            of a predictor that no networks were measured for, the call and the lows, and the call and the highs, of all
            kernels.
        confidence: of that interval where `fitted`, and of each kernel's.
        fitted: whether networks that were measured whole told latency and interval.
        call_ms: what the runtime's call takes, in ms.
        beyond_ms: what the network takes beyond its call and the sum of its kernels, in ms; 0 unless `fitted`.
        kernels: in the order in which they run.
        note: what a reader should know of it, or empty.
    """

    latency_ms: float
    interval_ms: tuple[float, float]
    confidence: float
    fitted: bool
    call_ms: float
    beyond_ms: float
    kernels: tuple[PredictedKernel, ...]
    note: str


def predict(
    predictor: KernelPredictor, target: str, optimization: str | None = None, threads: int | None = None
) -> PredictedNetwork:
    """Predict what a network, or a kernel alone, takes on the predictor's device.

    Args:
        predictor: of kernels.
        target: an ONNX file, or a block's key.
        optimization: level of graph optimisation that the network is to run at; the predictor's unless given.
        threads: that it is to run with; the predictor's unless given.

    Raises:
        KeyMismatchError: the predictor was trained for another level, another number of threads or another runtime.
        UnknownKernelError: it was not trained on kernels like one of these.
        BadInputError: the target is neither, cannot be cut into kernels, or is the key of what cannot be computed.
    """
    key = predictor.key
    for name, asked, trained in (("optimisation", optimization, key.optimization), ("threads", threads, key.threads)):
        if asked is not None and asked != trained:
            raise KeyMismatchError(f"the predictor was trained for {name} {trained}, not {asked}")
    if not _names_file(target):
        spec = block_of_key(target)
        require_possible(spec)
        return _predicted(predictor, (NetworkKernel(target, spec.operation, spec),), "")
    require_cuttable(predictor)
    return _predicted(predictor, cut(Path(target), key.optimization, key.threads), cutting_note(predictor))


def require_cuttable(predictor: KernelPredictor) -> None:
    """Raise KeyMismatchError unless files are cut into the kernels that the predictor's runtime executes."""
    key = predictor.key
    if not is_cuttable(key):
        raise KeyMismatchError(
            f"an ONNX file is cut as {_RUNTIME} executes it with {_PROVIDER} in {FP32}; the predictor was trained for "
            f"{key.runtime} with {key.provider} in {key.precision}"
        )


def is_cuttable(key: TableKey) -> bool:
    """Tell whether files are cut into the kernels that a runtime executes under a key."""
    return (key.runtime, key.provider, key.precision) == (_RUNTIME, _PROVIDER, FP32)


def cutting_note(predictor: KernelPredictor) -> str:
    """Return which runtime cuts files here, if the predictor's device has another one, which may fuse otherwise."""
    here, there = onnxruntime.__version__, predictor.key.runtime_version
    return "" if here == there else f"cut into kernels by {_RUNTIME} {here}, trained on {there}"


def _names_file(target: str) -> bool:
    try:
        return target.lower().endswith(".onnx") or Path(target).exists()
    except OSError:
        # Of such a length that no file can have it.
        return False


def _predicted(predictor: KernelPredictor, kernels: Sequence[NetworkKernel], note: str) -> PredictedNetwork:
    if not kernels:
        raise BadInputError("the network has no kernel: it computes nothing")
    network = predictor.network([kernel.spec for kernel in kernels])
    sum_ms = predictor.call_ms + math.fsum(one.latency_ms for one in network.kernels)
    return PredictedNetwork(
        latency_ms=network.latency_ms,
        interval_ms=network.interval_ms,
        confidence=predictor.confidence,
        fitted=network.fitted,
        call_ms=predictor.call_ms,
        beyond_ms=network.latency_ms - sum_ms if network.fitted else 0.0,
        kernels=tuple(
            PredictedKernel(
                kernel.name,
                kernel.operation,
                kernel.spec.key,
                kernel_type(kernel.spec),
                estimate.latency_ms,
                estimate.interval_ms,
            )
            for kernel, estimate in zip(kernels, network.kernels, strict=True)
        ),
        note=note,
    )
