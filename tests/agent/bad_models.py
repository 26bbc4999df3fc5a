"""Well-formed files that cannot be measured: what they ask for is missing, empty, too large, or deadly."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy
from ai_edge_litert import schema_py_generated as schema
from onnx import NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper

from tests.agent.tflite_models import FLOAT, INT32, GraphBuilder


def tensor(name: str, shape: Sequence[int | str] | None) -> ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)


def write_onnx(
    path: Path,
    node: NodeProto,
    shape: Sequence[int | str] | None,
    weights: Sequence[TensorProto] = (),
    domain: str = "",
) -> Path:
    """One operator from `x` to `y`, both of one shape; None is a shape of unknown rank."""
    graph = helper.make_graph([node], "graph", [tensor("x", shape)], [tensor("y", shape)], weights)
    opsets = [helper.make_opsetid("", 13)] + ([helper.make_opsetid(domain, 1)] if domain else [])
    path.write_bytes(helper.make_model(graph, opset_imports=opsets, ir_version=7).SerializeToString())
    return path


def write_onnx_of_unknown_operator(path: Path) -> Path:
    return write_onnx(path, helper.make_node("Foo", ["x"], ["y"], domain="nobody"), (1,), domain="nobody")


def write_onnx_without_its_data(path: Path) -> Path:
    """A matrix product whose weights lie in a file that is not there."""
    weights = numpy_helper.from_array(numpy.ones((4, 4), numpy.float32), "w")
    weights.ClearField("raw_data")
    weights.data_location = TensorProto.EXTERNAL
    place = weights.external_data.add()
    place.key, place.value = "location", "gone.data"
    return write_onnx(path, helper.make_node("MatMul", ["x", "w"], ["y"]), (1, 4), (weights,))


def write_onnx_of_terabytes(path: Path) -> Path:
    """A small input that is expanded to 4 TiB inside."""
    sizes = numpy_helper.from_array(numpy.array([1024, 1024, 1024, 1024], numpy.int64), "sizes")
    return write_onnx(path, helper.make_node("Expand", ["x", "sizes"], ["y"]), ("n",), (sizes,))


def write_tflite(path: Path, code: int, shape: Sequence[int], custom: str | None = None) -> Path:
    """One operator without options between two tensors of one shape."""
    graph = GraphBuilder()
    source, target = graph.tensor(shape), graph.tensor(shape)
    graph.operator(code, [source], [target], custom=custom)
    return graph.write(path, [source], [target])


def write_tflite_that_kills_litert(path: Path) -> Path:
    """A SPLIT into no parts, which LiteRT 2.3 follows to address 0."""
    graph = GraphBuilder()
    axis = graph.constant(numpy.zeros(1, numpy.int32), INT32)
    source, target = graph.tensor((4, 3), FLOAT), graph.tensor((4, 3), FLOAT)
    options = schema.SplitOptionsT()
    options.numSplits = 0
    graph.operator(schema.BuiltinOperator.SPLIT, [axis, source], [target], options, schema.BuiltinOptions.SplitOptions)
    return graph.write(path, [source], [target])


def write_tflite_that_kills_tflite_runtime(path: Path) -> Path:
    """A division of integers by zero, which tflite-runtime 2.14 leaves to the processor."""
    graph = GraphBuilder()
    source, target = graph.tensor((4,), INT32), graph.tensor((4,), INT32)
    zeros = graph.constant(numpy.zeros(4, numpy.int32), INT32)
    graph.operator(
        schema.BuiltinOperator.DIV,
        [source, zeros],
        [target],
        schema.DivOptionsT(),
        schema.BuiltinOptions.DivOptions,
    )
    return graph.write(path, [source], [target])
