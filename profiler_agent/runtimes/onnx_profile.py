"""The time of each node as ONNX Runtime's own profiler tells it, beside what each node is.

A node's event holds, beside the kernel, what the profiler does meanwhile, so its times are good for shares only;
`attribution` takes that off.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, List, Optional, Sequence, Tuple

from profiler_agent.inspection import Calibration, Inspected, SeenOperator
from profiler_agent.records import Settings, TensorType
from profiler_agent.runtimes.onnx import OnnxRuntime
from profiler_agent.runtimes.onnx_events import KernelTimes, read_profile
from profiler_agent.runtimes.onnx_graph import Node, OnnxGraph, read_graph
from profiler_agent.runtimes.onnx_models import call_model, chain_model
from profiler_agent.statistics import median, middle_mean

# The profiler keeps a million events at most; so few keep its file small on a small device.
_MOST_EVENTS = 20_000
_FEWEST_RUNS, _MOST_RUNS = 10, 300
_WARM_UP_RUNS = 10
_LONGEST_NS = 3_000_000_000
_CALL_FILE, _CHAIN_FILE = "call.onnx", "chain.onnx"
_CHAIN_NODES = 40
# TensorProto.DataType of onnx.proto3.
ONNX_DTYPES = {
    1: "float32",
    2: "uint8",
    3: "int8",
    4: "uint16",
    5: "int16",
    6: "int32",
    7: "int64",
    8: "string",
    9: "bool",
    10: "float16",
    11: "float64",
    12: "uint32",
    13: "uint64",
    16: "bfloat16",
}


@dataclass(frozen=True)
class _Profiled:
    """A model that ran under the profiler: its optimised graph, its nodes' times, and its median latency."""

    graph: OnnxGraph
    kernels: Tuple[KernelTimes, ...]
    wall_us: float


def inspect(
    runtime: OnnxRuntime, model: Path, settings: Settings, input_shapes: Dict[str, Tuple[int, ...]], folder: Path
) -> Inspected:
    """Run a model under the profiler, and tell what it says of each node; write a model that computes nothing.

    Args:
        runtime: what runs it.
        model: the file.
        settings: threads, optimisation level, seed of the inputs.
        input_shapes: of dynamic inputs, by name.
        folder: for the files.

    Raises:
        SessionError: the model does not run, or its profile is unreadable.
    """
    chain = folder / _CHAIN_FILE
    chain.write_bytes(chain_model(_CHAIN_NODES))
    (folder / _CALL_FILE).write_bytes(call_model())
    of_chain = _profiled(runtime, chain, settings, {}, folder)
    found = _profiled(runtime, model, settings, input_shapes, folder)
    nodes = matched_nodes(found.kernels, found.graph)
    chain_us = [middle_mean(kernel.durations_us) for kernel in of_chain.kernels]
    return Inspected(
        operators=tuple(_seen(kernel, node, found.graph) for kernel, node in zip(found.kernels, nodes)),
        call=_CALL_FILE,
        profiled_wall_us=found.wall_us,
        calibration=Calibration(_CHAIN_FILE, len(chain_us), median(chain_us)) if chain_us else None,
    )


def _profiled(
    runtime: OnnxRuntime, model: Path, settings: Settings, input_shapes: Dict[str, Tuple[int, ...]], folder: Path
) -> _Profiled:
    optimized = folder / "optimized.onnx"
    session = runtime.open_profiled(model, settings, input_shapes, folder / "profile", optimized)
    graph = read_graph(optimized.read_bytes())
    optimized.unlink()
    runs = max(_FEWEST_RUNS, min(_MOST_RUNS, _MOST_EVENTS // max(1, len(graph.nodes))))
    walls_ns = _timed_runs(session.run, runs)
    profile = session.end_profiling()
    session.close()
    with profile.open(encoding="utf-8", errors="replace") as lines:
        kernels = read_profile(lines, len(walls_ns) - _WARM_UP_RUNS)
    profile.unlink()
    return _Profiled(graph, kernels, median(walls_ns[_WARM_UP_RUNS:]) / 1e3)


def _timed_runs(run: Any, wanted: int) -> List[int]:
    """Return the duration of each run, in ns: the warm-up, and as many others as time allows."""
    walls_ns: List[int] = []
    start = time.perf_counter_ns()
    while len(walls_ns) < _WARM_UP_RUNS + wanted:
        before = time.perf_counter_ns()
        run()
        after = time.perf_counter_ns()
        walls_ns.append(after - before)
        if after - start > _LONGEST_NS and len(walls_ns) >= _WARM_UP_RUNS + _FEWEST_RUNS:
            break
    return walls_ns


def matched_nodes(kernels: Sequence[KernelTimes], graph: OnnxGraph) -> Tuple[Optional[Node], ...]:
    """Return the node of the optimised graph behind each of the profile, or None where that is not certain.

    The runtime executes nodes in the order in which it writes them; names settle what is executed otherwise.
    """
    in_order = [node.operation.rpartition(":")[2] for node in graph.nodes]
    if in_order == [kernel.operation for kernel in kernels]:
        return graph.nodes
    named = {node.name: node for node in graph.nodes if node.name}
    found = [named.get(kernel.name) for kernel in kernels]
    return tuple(
        node if node is not None and node.operation.rpartition(":")[2] == kernel.operation else None
        for node, kernel in zip(found, kernels)
    )


def _seen(kernel: KernelTimes, node: Optional[Node], graph: OnnxGraph) -> SeenOperator:
    duration_us = middle_mean(kernel.durations_us)
    if node is None:
        return SeenOperator(
            kernel.name, kernel.operation, kernel.provider, kernel.inputs, kernel.outputs, {}, duration_us
        )
    return SeenOperator(
        kernel.name,
        node.operation,
        kernel.provider,
        operands(kernel.inputs, node, graph),
        kernel.outputs,
        node.attributes,
        duration_us,
    )


def operands(told: Sequence[TensorType], node: Node, graph: OnnxGraph) -> Tuple[TensorType, ...]:
    """Return the operands of a node, its constants marked.

    The profiler leaves out constants that the runtime has packed in its own way: the graph knows them.

    Args:
        told: by the profiler.
        node: of the optimised graph.
        graph: where it is from.
    """
    waiting = list(told)
    found = []
    for name in filter(None, node.inputs):
        dtype, shape = graph.constants.get(name, (0, ()))
        known = TensorType(ONNX_DTYPES.get(dtype, f"type{dtype}"), shape, constant=True)
        told_too = bool(waiting) and (waiting[0].dtype, waiting[0].shape) == (known.dtype, known.shape)
        if name in graph.constants:
            found.append(known)
            if told_too:
                waiting.pop(0)
        elif waiting:
            found.append(waiting.pop(0))
    # What does not come out even was told in another way than is understood here.
    return tuple(told) if waiting else tuple(found)
