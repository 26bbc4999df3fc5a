"""Operators that `agent ops` told of become kernels where they are such, and are counted where they are not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from profiler_agent.records import OperatorCost, TensorType
from searcher.spaces.block import BlockSpec, Shape
from searcher.spaces.kernel_domain import Limits
from searcher.spaces.kernel_sampling import draw_kernels
from searcher.spaces.kernels import output_size
from searcher.tables.dataset import OPERATORS
from searcher.tables.operator_kernels import NoKernelError, kernel_of, operator_rows_of
from searcher.tables.operators import Source
from tests.agent.reports import operator, report

OPERATOR_OF_ACTIVATION = {"relu": "Relu", "relu6": "Clip", "hard_sigmoid": "HardSigmoid", "sigmoid": "Sigmoid"}


def tensor(*shape: int, constant: bool = False, dtype: str = "float32") -> TensorType:
    return TensorType(dtype, shape, constant)


def convolution(spec: BlockSpec) -> OperatorCost:
    """A convolution as ONNX Runtime tells of it."""
    (shape,) = spec.input_shapes
    weights = (spec.output_channels, shape[1] // spec.groups, spec.kernel, spec.kernel)
    attributes = {
        "auto_pad": "NOTSET",
        "dilations": "1,1",
        "group": str(spec.groups),
        "strides": f"{spec.stride},{spec.stride}",
        "kernel_shape": f"{spec.kernel},{spec.kernel}",
        "pads": ",".join([str(spec.padding)] * 4),
    }
    if spec.activation is not None:
        attributes["activation"] = OPERATOR_OF_ACTIVATION[spec.activation]
    return operator(
        "c",
        1.0,
        "Conv" if spec.activation is None else "com.microsoft:FusedConv",
        inputs=(tensor(*shape), tensor(*weights, constant=True), tensor(weights[0], constant=True)),
        outputs=(tensor(1, weights[0], *output_size(spec)),),
        attributes=attributes,
    )


@pytest.mark.parametrize("of_type", ["pointwise", "convolution", "depthwise", "grouped"])
def test_a_convolution_is_the_kernel_that_it_was_made_of(of_type: str) -> None:
    for spec in draw_kernels(of_type, 50, np.random.default_rng(7), Limits()):
        assert kernel_of(convolution(spec)) == spec


def plain(operation: str, inputs: list[tuple[int, ...]], output: tuple[int, ...], **attributes: str) -> OperatorCost:
    return operator(
        "o",
        1.0,
        operation,
        inputs=tuple(tensor(*shape) for shape in inputs),
        outputs=(tensor(*output),),
        attributes=attributes,
    )


SHAPE: Shape = (1, 8, 9, 12)
FLAT: Shape = (1, 4, 9, 12)
PIXEL: Shape = (1, 8, 1, 1)
POOL = {"kernel_shape": "3,3", "strides": "2,2", "pads": "1,1,1,1"}


@pytest.mark.parametrize(
    ("told", "kernel"),
    [
        (plain("Relu", [SHAPE], SHAPE), BlockSpec("relu", (SHAPE,), 8)),
        (plain("Add", [SHAPE, SHAPE], SHAPE), BlockSpec("add", (SHAPE, SHAPE), 8)),
        (plain("Mul", [PIXEL, SHAPE], SHAPE), BlockSpec("mul", (SHAPE, PIXEL), 8)),
        (plain("Div", [SHAPE, ()], SHAPE), BlockSpec("div", (SHAPE, (1, 1, 1, 1)), 8)),
        (plain("Clip", [SHAPE], SHAPE), BlockSpec("relu6", (SHAPE,), 8)),
        (plain("GlobalAveragePool", [SHAPE], PIXEL), BlockSpec("global_avg_pool", (SHAPE,), 8)),
        (plain("Reshape", [SHAPE], (1, 864)), BlockSpec("view", ((1, 1, 1, 1),), 1)),
        (
            plain("Transpose", [(1, 2, 4, 9, 12)], (1, 4, 2, 9, 12), perm="0,2,1,3,4"),
            BlockSpec("transpose", (SHAPE,), 8, groups=2),
        ),
        (plain("MaxPool", [SHAPE], (1, 8, 5, 6), **POOL), BlockSpec("max_pool", (SHAPE,), 8, 3, 2, 1)),
        (plain("AveragePool", [SHAPE], (1, 8, 5, 6), **POOL), BlockSpec("avg_pool", (SHAPE,), 8, 3, 2, 1)),
        (
            plain("Concat", [SHAPE, (1, 4, 9, 12)], (1, 12, 9, 12), axis="1"),
            BlockSpec("concat", (SHAPE, (1, 4, 9, 12)), 12),
        ),
    ],
)
def test_other_kernels(told: OperatorCost, kernel: BlockSpec) -> None:
    assert kernel_of(told) == kernel


BASE = convolution(BlockSpec("conv_bn", ((1, 8, 9, 12),), 16, 3, 1, 1))


def test_a_split_is_all_of_its_parts() -> None:
    told = operator(
        "s", 1.0, "Split", inputs=(tensor(1, 6, 4, 4),), outputs=(tensor(1, 3, 4, 4),) * 2, attributes={"axis": "1"}
    )
    assert kernel_of(told) == BlockSpec("concat", ((1, 3, 4, 4), (1, 3, 4, 4)), 6)


def with_attributes(base: OperatorCost = BASE, **attributes: str) -> OperatorCost:
    return replace(base, attributes={**base.attributes, **attributes})


@pytest.mark.parametrize(
    ("told", "reason"),
    [
        (replace(BASE, estimate_ms=None, problem="it cannot run alone"), "no estimate"),
        (replace(BASE, estimate_ms=0.0), "estimate is zero"),
        (replace(BASE, fused_into=0), "fuse it into another"),
        (replace(BASE, provider="CUDAExecutionProvider"), "runs on CUDA"),
        (replace(BASE, inputs=(tensor(1, 8, 9, 12, dtype="int8"), *BASE.inputs[1:])), "not compute in fp32"),
        (replace(BASE, inputs=BASE.inputs[:1]), "weights are computed"),
        (replace(BASE, inputs=()), "nothing that is computed goes into it"),
        (replace(BASE, outputs=()), "it has 0 outputs"),
        (replace(BASE, inputs=(tensor(1, 8, 9), *BASE.inputs[1:])), "1x8x9, which is no image"),
        (replace(BASE, inputs=(BASE.inputs[0], tensor(16, 8, 3, 5, constant=True))), "kernel is 3x5"),
        (with_attributes(dilations="3,3"), "dilation is 3"),
        (with_attributes(strides="1,2"), "stride is 1x2"),
        (with_attributes(strides="x"), "stride is x"),
        (with_attributes(activation="Mystery"), "activation Mystery"),
        (plain("Softmax", [SHAPE], SHAPE), "the softmax of rows only"),
        (plain("Erf", [SHAPE], SHAPE), "no block computes this operator"),
        (plain("Relu", [SHAPE], (1, 8, 9, 13)), "another size"),
        (plain("ReduceMean", [SHAPE], (1, 8)), "over the axes"),
        (plain("Concat", [SHAPE, SHAPE], (1, 8, 18, 12), axis="2"), "joins along axis 2"),
        (plain("MaxPool", [SHAPE], (1, 8, 5, 6), strides="2,2"), "not those of this operator"),
    ],
)
def test_what_is_no_kernel_says_why(told: OperatorCost, reason: str) -> None:
    with pytest.raises(NoKernelError, match=reason):
        kernel_of(told)


def test_a_sum_without_a_bias_is_not_taken_for_one() -> None:
    spec = BlockSpec("conv_bn", ((1, 8, 9, 12),), 16, 3, 1, 1, activation="relu")
    fused = convolution(spec)
    summed = replace(fused, inputs=(*fused.inputs[:2], tensor(1, 16, 9, 12)))
    wanted = replace(spec, operation="conv_bn_add", input_shapes=(*spec.input_shapes, (1, 16, 9, 12)))
    assert kernel_of(summed) == wanted
    assert kernel_of(replace(fused, inputs=(*fused.inputs, tensor(1, 16, 9, 12)))) == wanted


def test_rows_are_estimates_and_what_is_left_out_is_counted() -> None:
    lstm = plain("Lstm", [SHAPE], SHAPE)
    operators = (replace(BASE, estimate_ms=3.0), *(replace(lstm, name=name) for name in "ab"))
    rows, left_out = operator_rows_of(Source(report(operators=operators, wall_ms=7.0), "11"))
    assert left_out == {"Lstm: no block computes this operator": 2}
    (row,) = rows
    assert (row.latency_ms, row.call_ms, row.interval_ms, row.confidence) == (3.0, None, None, 0.0)
    assert (row.origin, row.job, row.own_ms, row.key) == (OPERATORS, "m.onnx", 3.0, report().key)
    assert row.estimated
    quantised = report(key=replace(report().key, precision="int8"))
    assert operator_rows_of(Source(quantised, "22")) == ([], {"Conv: the model computes in int8": 2})
