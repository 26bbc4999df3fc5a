"""Cuts an ONNX file into the kernels that ONNX Runtime executes, each as a block that tables and models know.

The host's own ONNX Runtime optimises the graph, and nothing is guessed about what it fuses. One node of what it would
execute is one kernel; what is no kernel of `block` is refused, never left out.
"""

from __future__ import annotations

import contextlib
import math
import tempfile
from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx import helper, numpy_helper

from searcher.errors import BadInputError
from searcher.export.onnx_blocks import block_of, require_known
from searcher.export.onnx_node import GraphNode, Tensor
from searcher.spaces.block import BlockSpec

OPTIMIZATIONS = {
    "disabled": onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL,
    "basic": onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC,
    "extended": onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED,
    "all": onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL,
}
_FATAL_ONLY = 4
_PROVIDERS = ["CPUExecutionProvider"]
_FLOAT = "tensor(float)"
# More numbers than this are weights, never the axes or the steps of an operator.
_MOST_NUMBERS = 64
_OWN_DOMAINS = ("", "ai.onnx")


@dataclass(frozen=True)
class NetworkKernel:
    """One operator that the runtime executes.

    Attributes:
        name: of the node in the optimised graph; that of its output where it has none.
        operation: the operator, as records of measurements name it: `Conv`, `com.microsoft:FusedConv`.
        spec: what it computes.
    """

    name: str
    operation: str
    spec: BlockSpec


def cut(path: Path, optimization: str, threads: int = 1) -> tuple[NetworkKernel, ...]:
    """Return the kernels of an ONNX file, in the order in which they run.

    Args:
        path: a network of fp32 whose inputs have fixed shapes.
        optimization: level of graph optimisation: one of OPTIMIZATIONS.
        threads: that one operator may use.

    Raises:
        BadInputError: the file cannot be read or run, or there is a node that is no kernel: which, and why.
    """
    if optimization not in OPTIMIZATIONS:
        raise BadInputError(f"unknown optimisation level {optimization!r}; choose one of {', '.join(OPTIMIZATIONS)}")
    with tempfile.TemporaryDirectory() as folder:
        optimized = Path(folder, "optimized.onnx")
        session = _session(path, _bytes(path), OPTIMIZATIONS[optimization], threads, optimized)
        _require_fixed_floats(path, session)
        model = onnx.load(optimized)
    for node in model.graph.node:
        with _about(path, node):
            require_known(_operation(node))
    tensors = _tensors(path, model, threads)
    ends = {one.name for one in model.graph.output}
    return tuple(_kernel(path, node, ends, tensors) for node in model.graph.node)


def _bytes(path: Path) -> bytes:
    """Return a model as one piece, with weights that lie in files of their own: the optimised file names those."""
    try:
        content: bytes = onnx.load(path).SerializeToString()
    except OSError as e:
        raise BadInputError(f"cannot read {path}: {e.strerror or e}") from e
    # Protocol buffers and ONNX's own reader of weights have errors without a common parent.
    except Exception as e:
        raise BadInputError(f"cannot read {path} as ONNX: {_first_line(e)}") from e
    return content


def _session(path: Path, model: bytes, level: Any, threads: int, optimized: Path | None = None) -> Any:
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = level
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = _FATAL_ONLY
    if optimized is not None:
        options.optimized_model_filepath = str(optimized)
    try:
        return onnxruntime.InferenceSession(model, options, providers=_PROVIDERS)
    # Every error of the runtime is a class of its own without a common parent.
    except Exception as e:
        raise BadInputError(f"ONNX Runtime cannot read {path}: {_first_line(e)}") from e


def _require_fixed_floats(path: Path, session: Any) -> None:
    """Refuse inputs that are no fp32 numbers, or of no fixed shape."""
    for one in session.get_inputs():
        if one.type != _FLOAT:
            raise BadInputError(f"{path} cannot be cut into kernels: its input {one.name} is {one.type}, not fp32")
        if not all(isinstance(size, int) and size > 0 for size in one.shape):
            raise BadInputError(
                f"{path} cannot be cut into kernels: its input {one.name} has no fixed shape but {one.shape}; "
                "`python -m onnxruntime.tools.make_dynamic_shape_fixed` writes a file that has one"
            )


def _tensors(path: Path, model: onnx.ModelProto, threads: int) -> dict[str, Tensor]:
    """Return every tensor of a graph by name.

    Shapes are those of one run: no rules of inference have to know the runtime's own operators.
    """
    graph = model.graph
    constants = {one.name: _constant(one) for one in graph.initializer}
    inner = [name for node in graph.node for name in node.output if name]
    shown = onnx.ModelProto()
    shown.CopyFrom(model)
    del shown.graph.output[:]
    shown.graph.output.extend(onnx.ValueInfoProto(name=name) for name in inner)
    session = _session(path, shown.SerializeToString(), OPTIMIZATIONS["disabled"], threads)
    images = {one.name: np.zeros(one.shape, np.float32) for one in session.get_inputs()}
    try:
        results = session.run(inner, images) if inner else []
    except Exception as e:
        raise BadInputError(f"{path} fails when run: {_first_line(e)}") from e
    arrays = {**images, **dict(zip(inner, results, strict=True))}
    return {**{name: Tensor(array.shape, str(array.dtype)) for name, array in arrays.items()}, **constants}


def _constant(tensor: onnx.TensorProto) -> Tensor:
    shape = tuple(tensor.dims)
    is_short = tensor.data_type == onnx.TensorProto.INT64 and math.prod(shape) <= _MOST_NUMBERS
    numbers = tuple(numpy_helper.to_array(tensor).ravel().tolist()) if is_short else None
    return Tensor(shape, constant=True, numbers=numbers)


def _kernel(path: Path, node: onnx.NodeProto, ends: Set[str], tensors: Mapping[str, Tensor]) -> NetworkKernel:
    seen = GraphNode(
        operation=_operation(node),
        attributes={one.name: _plain(helper.get_attribute_value(one)) for one in node.attribute},
        inputs=tuple(tensors[name] if name else None for name in node.input),
        outputs=tuple(tensors[name] for name in node.output if name),
        ends=not ends.isdisjoint(node.output),
    )
    with _about(path, node):
        return NetworkKernel(_name(node), seen.operation, block_of(seen))


def _plain(value: Any) -> Any:
    return value.decode() if isinstance(value, bytes) else value


def _operation(node: onnx.NodeProto) -> str:
    return node.op_type if node.domain in _OWN_DOMAINS else f"{node.domain}:{node.op_type}"


def _name(node: onnx.NodeProto) -> str:
    return str(node.name) or next(iter(node.output), "")


@contextlib.contextmanager
def _about(path: Path, node: onnx.NodeProto) -> Iterator[None]:
    """Let what is said of a node name it, its operator and the file."""
    try:
        yield
    except BadInputError as e:
        raise BadInputError(f"{path} cannot be cut into kernels: {_operation(node)} ({_name(node)!r}): {e}") from e


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
