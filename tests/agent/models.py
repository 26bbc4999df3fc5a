"""Small ONNX files, made by the tests."""

from __future__ import annotations

from pathlib import Path

import numpy
import onnx
from onnx import TensorProto, helper, numpy_helper


def write_identity(path: Path, shape: tuple[int | str, ...] = (1,), dtype: int = TensorProto.FLOAT) -> Path:
    return _write(path, [helper.make_node("Identity", ["x"], ["y"])], shape, shape, dtype)


def write_convolution(path: Path, channels: int = 4, size: int = 8) -> Path:
    """ReLU then a 3x3 convolution."""
    weights = numpy.random.default_rng(0).standard_normal((channels, channels, 3, 3)).astype(numpy.float32)
    nodes = [
        helper.make_node("Relu", ["x"], ["r"]),
        helper.make_node("Conv", ["r", "w"], ["y"], pads=[1, 1, 1, 1]),
    ]
    shape = (1, channels, size, size)
    return _write(path, nodes, shape, shape, TensorProto.FLOAT, [numpy_helper.from_array(weights, "w")])


def _write(
    path: Path,
    nodes: list[onnx.NodeProto],
    input_shape: tuple[int | str, ...],
    output_shape: tuple[int | str, ...],
    dtype: int,
    weights: list[onnx.TensorProto] | None = None,
) -> Path:
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info("x", dtype, input_shape)],
        [helper.make_tensor_value_info("y", dtype, output_shape)],
        weights or [],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=7)
    path.write_bytes(model.SerializeToString())
    return path
