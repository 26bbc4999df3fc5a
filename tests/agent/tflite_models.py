"""Small TFLite files, made by the tests with the schema that LiteRT brings."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import flatbuffers
import numpy
from ai_edge_litert import schema_py_generated as schema

FLOAT, INT32 = schema.TensorType.FLOAT32, schema.TensorType.INT32


class GraphBuilder:
    """Collects tensors and operators of one graph, and writes it as a file."""

    def __init__(self) -> None:
        empty = schema.BufferT()
        self._model = schema.ModelT()
        self._model.version = 3
        self._model.buffers = [empty]
        self._model.operatorCodes = []
        self._graph = schema.SubGraphT()
        self._graph.tensors, self._graph.operators = [], []
        self._model.subgraphs = [self._graph]

    def tensor(self, shape: Sequence[int], kind: int = FLOAT, signature: Sequence[int] | None = None) -> int:
        made = schema.TensorT()
        made.shape, made.type, made.buffer = list(shape), kind, 0
        made.shapeSignature = None if signature is None else list(signature)
        made.name = f"t{len(self._graph.tensors)}"
        self._graph.tensors.append(made)
        return len(self._graph.tensors) - 1

    def constant(self, values: numpy.ndarray, kind: int = FLOAT) -> int:
        index = self.tensor(values.shape, kind)
        buffer = schema.BufferT()
        buffer.data = list(values.tobytes())
        self._model.buffers.append(buffer)
        self._graph.tensors[index].buffer = len(self._model.buffers) - 1
        return index

    def operator(
        self,
        code: int,
        inputs: Sequence[int],
        outputs: Sequence[int],
        options: object = None,
        kind: int = 0,
        custom: str | None = None,
    ) -> None:
        entry = schema.OperatorCodeT()
        entry.customCode = custom
        entry.builtinCode = code
        entry.deprecatedBuiltinCode = min(code, 127)
        entry.version = 1
        self._model.operatorCodes.append(entry)
        made = schema.OperatorT()
        made.opcodeIndex = len(self._model.operatorCodes) - 1
        made.inputs, made.outputs = list(inputs), list(outputs)
        made.builtinOptions, made.builtinOptionsType = options, kind
        self._graph.operators.append(made)

    def write(self, path: Path, inputs: Sequence[int], outputs: Sequence[int]) -> Path:
        self._graph.inputs, self._graph.outputs = list(inputs), list(outputs)
        builder = flatbuffers.Builder(1024)
        builder.Finish(self._model.Pack(builder), b"TFL3")
        path.write_bytes(bytes(builder.Output()))
        return path


def write_convolution(path: Path, channels: int = 4, size: int = 8, signature: Sequence[int] | None = None) -> Path:
    """ReLU then a 3x3 convolution, channels last."""
    graph = GraphBuilder()
    shape = (1, size, size, channels)
    source = graph.tensor(shape, signature=signature)
    positive, target = graph.tensor(shape), graph.tensor(shape)
    weights = numpy.random.default_rng(0).standard_normal((channels, 3, 3, channels)).astype(numpy.float32)
    filters = graph.constant(weights)
    bias = graph.constant(numpy.zeros(channels, numpy.float32))
    options = schema.Conv2DOptionsT()
    options.padding, options.strideW, options.strideH = schema.Padding.SAME, 1, 1
    options.dilationWFactor = options.dilationHFactor = 1
    graph.operator(schema.BuiltinOperator.RELU, [source], [positive])
    graph.operator(
        schema.BuiltinOperator.CONV_2D,
        [positive, filters, bias],
        [target],
        options,
        schema.BuiltinOptions.Conv2DOptions,
    )
    return graph.write(path, [source], [target])


def write_gather(path: Path) -> Path:
    """A table of four rows looked up by two integers."""
    graph = GraphBuilder()
    rows = graph.constant(numpy.arange(12, dtype=numpy.float32).reshape(4, 3))
    indices, target = graph.tensor((2,), INT32), graph.tensor((2, 3))
    graph.operator(
        schema.BuiltinOperator.GATHER,
        [rows, indices],
        [target],
        schema.GatherOptionsT(),
        schema.BuiltinOptions.GatherOptions,
    )
    return graph.write(path, [indices], [target])


def write_partly_delegated(path: Path) -> Path:
    """ReLU, a running sum that XNNPACK does not compute, ReLU again: two parts for a delegate, and one for none."""
    graph = GraphBuilder()
    shape = (1, 8, 8, 4)
    source, positive, summed, target = (graph.tensor(shape) for _ in range(4))
    axis = graph.constant(numpy.array(1, numpy.int32), INT32)
    graph.operator(schema.BuiltinOperator.RELU, [source], [positive])
    graph.operator(
        schema.BuiltinOperator.CUMSUM,
        [positive, axis],
        [summed],
        schema.CumsumOptionsT(),
        schema.BuiltinOptions.CumsumOptions,
    )
    graph.operator(schema.BuiltinOperator.RELU, [summed], [target])
    return graph.write(path, [source], [target])


def write_shape(path: Path) -> Path:
    """ReLU, and the shape of its outcome beside it: an index that every runtime works out on the processor."""
    graph = GraphBuilder()
    source, positive = graph.tensor((1, 8, 8, 4)), graph.tensor((1, 8, 8, 4))
    sizes = graph.tensor((4,), INT32)
    options = schema.ShapeOptionsT()
    options.outType = INT32
    graph.operator(schema.BuiltinOperator.RELU, [source], [positive])
    graph.operator(schema.BuiltinOperator.SHAPE, [positive], [sizes], options, schema.BuiltinOptions.ShapeOptions)
    return graph.write(path, [source], [positive, sizes])
