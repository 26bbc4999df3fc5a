"""TFLite files with what XNNPACK fuses and with weights that are unpacked."""

from __future__ import annotations

from pathlib import Path

import numpy
from ai_edge_litert import schema_py_generated as schema

from tests.agent.tflite_models import GraphBuilder


def write_padded(path: Path) -> Path:
    """A padding, a convolution without any, a ReLU, then a second reader of the ReLU's result."""
    graph = GraphBuilder()
    source = graph.tensor((1, 8, 8, 4))
    padded, convolved, positive, target = (graph.tensor((1, side, side, 4)) for side in (10, 8, 8, 8))
    amounts = graph.constant(numpy.array([[0, 0], [1, 1], [1, 1], [0, 0]], numpy.int32), schema.TensorType.INT32)
    filters = graph.constant(numpy.random.default_rng(0).standard_normal((4, 3, 3, 4)).astype(numpy.float32))
    bias = graph.constant(numpy.zeros(4, numpy.float32))
    options = schema.Conv2DOptionsT()
    options.padding, options.strideW, options.strideH = schema.Padding.VALID, 1, 1
    options.dilationWFactor = options.dilationHFactor = 1
    codes, kinds = schema.BuiltinOperator, schema.BuiltinOptions
    graph.operator(codes.PAD, [source, amounts], [padded], schema.PadOptionsT(), kinds.PadOptions)
    graph.operator(codes.CONV_2D, [padded, filters, bias], [convolved], options, kinds.Conv2DOptions)
    graph.operator(codes.RELU, [convolved], [positive])
    graph.operator(codes.ADD, [positive, positive], [target], schema.AddOptionsT(), kinds.AddOptions)
    return graph.write(path, [source], [target])


def write_unpacked(path: Path) -> Path:
    """A fully connected layer whose weights are kept as float16."""
    graph = GraphBuilder()
    source, weights, target = graph.tensor((1, 4)), graph.tensor((3, 4)), graph.tensor((1, 3))
    packed = graph.constant(numpy.ones((3, 4), numpy.float16), schema.TensorType.FLOAT16)
    codes, kinds = schema.BuiltinOperator, schema.BuiltinOptions
    graph.operator(codes.DEQUANTIZE, [packed], [weights], schema.DequantizeOptionsT(), kinds.DequantizeOptions)
    options = schema.FullyConnectedOptionsT()
    graph.operator(codes.FULLY_CONNECTED, [source, weights, -1], [target], options, kinds.FullyConnectedOptions)
    return graph.write(path, [source], [target])
