"""Operators of whole models, as `agent ops` told them, as rows of a dataset of kernels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from profiler_agent.records import OperatorCost, TensorType
from searcher.errors import BadInputError
from searcher.spaces.block import FP32, BlockSpec, Shape
from searcher.spaces.kernels import kernel_features, output_size
from searcher.tables.dataset import OPERATORS, KernelRow
from searcher.tables.operators import Source

_CPU = "CPUExecutionProvider"
_FLOAT32 = "float32"
_ALONE: Mapping[str, str] = {
    "Relu": "relu",
    "HardSwish": "hard_swish",
    "HardSigmoid": "hard_sigmoid",
    "Sigmoid": "sigmoid",
    "BatchNormalization": "batch_norm",
    "GlobalAveragePool": "global_avg_pool",
}
_OF_TWO: Mapping[str, str] = {"Add": "add", "Mul": "mul"}
_POOLS: Mapping[str, str] = {"MaxPool": "max_pool", "AveragePool": "avg_pool"}
_FUSED: Mapping[str, str] = {"Relu": "relu", "HardSigmoid": "hard_sigmoid", "Sigmoid": "sigmoid"}


class NoKernelError(BadInputError):
    """An operator is none of the kernels that datasets hold; the message is the reason, of few words."""


def operator_rows_of(source: Source) -> tuple[list[KernelRow], dict[str, int]]:
    """Return a report's operators as estimates, and how many are left out for which reason.

    Args:
        source: a report of `agent ops`.
    """
    rows, left_out = [], Counter[str]()
    report = source.report
    for operator in report.operators:
        try:
            if report.key.precision != FP32:
                raise NoKernelError(f"the model computes in {report.key.precision}")
            spec = kernel_of(operator)
        except NoKernelError as e:
            left_out[f"{operator.operation}: {e}"] += 1
            continue
        rows.append(
            KernelRow(
                spec=spec,
                key=report.key,
                latency_ms=operator.estimate_ms or 0.0,
                call_ms=None,
                interval_ms=None,
                confidence=0.0,
                rounds=report.wall_rounds,
                samples=report.wall_rounds,
                converged=report.wall_converged,
                operations=(operator.operation,),
                model_sha256=report.model_sha256,
                origin=OPERATORS,
                job=report.model,
            )
        )
    return rows, dict(left_out)


def kernel_of(operator: OperatorCost) -> BlockSpec:
    """Return the kernel that an operator is.

    Raises:
        NoKernelError: it is none, or nothing can be said of its latency.
    """
    if operator.estimate_ms is None:
        raise NoKernelError("it has no estimate")
    if operator.estimate_ms == 0:
        raise NoKernelError("its estimate is zero: nothing could be told apart")
    if operator.fused_into is not None:
        raise NoKernelError("the runtime may fuse it into another")
    if operator.provider != _CPU:
        raise NoKernelError(f"it runs on {operator.provider}")
    if any(one.dtype != _FLOAT32 for one in (*operator.inputs[:1], *operator.outputs)):
        raise NoKernelError("it does not compute in fp32")
    try:
        spec = _spec(operator)
        kernel_features(spec)
        made = (1, spec.output_channels, *output_size(spec))
    except NoKernelError:
        raise
    except BadInputError as e:
        raise NoKernelError(f"datasets hold no such kernel ({str(e).rstrip('.')})") from e
    if made != _four(operator.outputs[0]):
        raise NoKernelError("its output has another shape than that kernel's")
    return spec


def _spec(operator: OperatorCost) -> BlockSpec:
    name = operator.operation.removeprefix("com.microsoft:")
    moving = [one for one in operator.inputs if not one.constant]
    if not moving or not operator.outputs:
        raise NoKernelError("it has no input or no output")
    shapes = tuple(_four(one) for one in moving)
    channels = shapes[0][1]
    if name in ("Conv", "FusedConv"):
        return _convolution(operator, shapes)
    if name in _POOLS:
        return _pool(operator, _POOLS[name], shapes)
    if name in _ALONE and len(shapes) == 1:
        return BlockSpec(_ALONE[name], shapes, channels)
    if name in _OF_TWO and len(shapes) == 2 and shapes[0] == shapes[1]:
        return BlockSpec(_OF_TWO[name], shapes, channels)
    if name == "Concat" and operator.attributes.get("axis") in ("1", "-3") and len(moving) == len(operator.inputs):
        return BlockSpec("concat", shapes, sum(shape[1] for shape in shapes))
    if name == "Gemm" and len(shapes) == 1:
        return BlockSpec("fully_connected", shapes, _four(operator.outputs[0])[1])
    raise NoKernelError("datasets hold no such kernel")


def _convolution(operator: OperatorCost, shapes: tuple[Shape, ...]) -> BlockSpec:
    if len(operator.inputs) < 2 or not operator.inputs[1].constant:
        raise NoKernelError("its weights are no constant")
    weights = _four(operator.inputs[1])
    if len(shapes) > 2 or operator.attributes.get("dilations", "1,1") != "1,1":
        raise NoKernelError("its kernel is dilated, or it has more than two inputs")
    if weights[2] != weights[3]:
        raise NoKernelError("its kernel is not square")
    activation = operator.attributes.get("activation")
    if activation is not None and activation not in _FUSED:
        raise NoKernelError(f"the activation {activation} is fused into it")
    return BlockSpec(
        "conv_bn" if len(shapes) == 1 else "conv_bn_add",
        shapes,
        weights[0],
        weights[2],
        _stride(operator),
        _padding(operator),
        _number(operator.attributes.get("group", "1")),
        None if activation is None else _FUSED[activation],
    )


def _pool(operator: OperatorCost, operation: str, shapes: tuple[Shape, ...]) -> BlockSpec:
    padding = _padding(operator)
    if operator.attributes.get("ceil_mode", "0") != "0" or operator.attributes.get("dilations", "1,1") != "1,1":
        raise NoKernelError("it rounds up, or its window is dilated")
    if padding and operation == "avg_pool" and operator.attributes.get("count_include_pad", "0") != "0":
        raise NoKernelError("it counts the padding")
    window = _same(operator.attributes.get("kernel_shape", ""), "its window is not square")
    return BlockSpec(operation, shapes, shapes[0][1], window, _stride(operator), padding)


def _stride(operator: OperatorCost) -> int:
    return _same(operator.attributes.get("strides", "1,1"), "its strides differ")


def _padding(operator: OperatorCost) -> int:
    if operator.attributes.get("auto_pad", "NOTSET") not in ("NOTSET", "VALID"):
        raise NoKernelError("its padding is not told")
    return _same(operator.attributes.get("pads", "0,0,0,0"), "its padding differs between sides")


def _same(text: str, otherwise: str) -> int:
    numbers = {_number(part) for part in text.split(",")}
    if len(numbers) != 1:
        raise NoKernelError(otherwise)
    return numbers.pop()


def _number(text: str) -> int:
    if not text.isdecimal() or len(text) > 9:
        raise NoKernelError("an attribute is no number")
    return int(text)


def _four(tensor: TensorType) -> Shape:
    """Return a shape as (N, C, H, W); what has two sizes has one pixel."""
    sizes = tensor.shape
    if len(sizes) not in (2, 4):
        raise NoKernelError(f"a tensor of it has {len(sizes)} dimensions")
    batch, channels, height, width = (*sizes, 1, 1) if len(sizes) == 2 else sizes
    return batch, channels, height, width
