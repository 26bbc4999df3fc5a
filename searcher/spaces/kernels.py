"""Kernels: what a runtime executes as one operator, and the sizes by which their latencies are told.

A kernel is a block that no optimiser takes apart. Kernels of one type are computed by the same code of a runtime, so
that a model of their latency has to know sizes alone.
"""

from __future__ import annotations

import math

from searcher.errors import BadInputError
from searcher.spaces.block import ACTIVATIONS, PAIRWISE, BlockSpec, Shape
from searcher.spaces.counts import block_macs, block_parameters, convolutions

POINTWISE, CONVOLUTION, DEPTHWISE, GROUPED = "pointwise", "convolution", "depthwise", "grouped"
CONVOLUTIONS = (POINTWISE, CONVOLUTION, DEPTHWISE, GROUPED)
_CONVOLVING = ("conv_bn", "conv_bn_add")
_KEEPING_CHANNELS = (
    *("max_pool", "avg_pool", "global_avg_pool", "batch_norm", "softmax", "transpose", "slice", "view"),
    *PAIRWISE,
    *ACTIVATIONS,
)

REPEATED_PIXEL, REPEATED_PLANE, REPEATED_NUMBER = "pixel", "plane", "number"
REPEATED_OTHERWISE = "otherwise"
"""How the second of two inputs is repeated: a pixel over the image, a plane over the channels, a number over both."""

FEATURES = (
    *("height", "width", "channels", "outputs", "kernel", "stride", "groups", "hidden", "inputs", "activation", "sum"),
    *("output_height", "output_width", "macs", "read", "written", "parameters"),
)
"""Names of what `kernel_features` tells, in its order."""


def kernel_type(spec: BlockSpec) -> str:
    """Return which kernels a block is of: of convolutions by kernel and groups, else its operation's name."""
    if spec.operation not in _CONVOLVING:
        return spec.operation
    if spec.groups == 1:
        return POINTWISE if spec.kernel == 1 else CONVOLUTION
    return DEPTHWISE if spec.groups == spec.input_shapes[0][1] == spec.output_channels else GROUPED


def repeated_shapes(shape: Shape) -> dict[str, Shape]:
    """Return the shape of a second input that is repeated to that of the first, by how; whatever the sizes are."""
    batch, channels, height, width = shape
    return {
        REPEATED_PIXEL: (batch, channels, 1, 1),
        REPEATED_PLANE: (batch, 1, height, width),
        REPEATED_NUMBER: (1, 1, 1, 1),
    }


def repeated(spec: BlockSpec) -> str | None:
    """Return how the second of two inputs is repeated, REPEATED_PIXEL and so on; None where it is not."""
    if spec.operation not in PAIRWISE or len(set(spec.input_shapes)) == 1:
        return None
    # Of ways that are the same the last one counts: a single number is a number.
    ways = {shape: way for way, shape in repeated_shapes(spec.input_shapes[0]).items()}
    return ways.get(spec.input_shapes[-1], REPEATED_OTHERWISE)


def loops_of_number(shape: tuple[int, ...], rank: int) -> int:
    """Return in how many loops ONNX Runtime takes one number together with all those of a tensor.

    It goes from the last axis outwards and joins axes to one loop. Where the number has no sizes any more, a size of 1
    ends that, as does a last size of 1 from the start: what lies further out is gone through one by one.

    Args:
        shape: of the tensor.
        rank: how many sizes the number has, each of them 1.
    """
    own = max(rank, 1)
    outer = shape[:-own]
    if math.prod(shape[-own:]) == 1:
        return math.prod(outer)
    if 1 not in outer:
        return 1
    return math.prod(outer[: len(outer) - 1 - outer[::-1].index(1)])


def kernel_features(spec: BlockSpec) -> dict[str, float]:
    """Return the sizes of a kernel, by the names of FEATURES.

    `hidden` is 0 where there are none, `activation` and `sum` are 1 where one is fused; `read` and `written` are
    numbers in all inputs and in the output, `macs` and `parameters` as `counts` defines them.

    Raises:
        BadInputError: the operation is not one of those in block.py.
    """
    _, channels, height, width = spec.input_shapes[0]
    output_height, output_width = output_size(spec)
    return {
        "height": height,
        "width": width,
        "channels": channels,
        "outputs": spec.output_channels,
        "kernel": spec.kernel,
        "stride": spec.stride,
        "groups": spec.groups,
        "hidden": spec.hidden_channels or 0,
        "inputs": len(spec.input_shapes),
        "activation": float(spec.activation is not None),
        "sum": float(spec.operation == "conv_bn_add"),
        "output_height": output_height,
        "output_width": output_width,
        "macs": block_macs(spec),
        "read": sum(n * c * h * w for n, c, h, w in spec.input_shapes),
        "written": spec.output_channels * output_height * output_width,
        "parameters": block_parameters(spec),
    }


def output_size(spec: BlockSpec) -> tuple[int, int]:
    """Return height and width of a block's output.

    Raises:
        BadInputError: the operation is not one of those in block.py.
    """
    _, _, height, width = spec.input_shapes[0]
    if spec.operation in ("head", "pool_head", "mobile_head", "fully_connected", "global_avg_pool"):
        return 1, 1
    if spec.operation == "slice":
        return (height - spec.kernel) // spec.stride + 1, width
    layers = convolutions(spec)
    if spec.operation in ("conv_bn", "conv_bn_add"):
        return layers[0].output_size(height), layers[0].output_size(width)
    across = 2 * spec.padding - spec.dilation * (spec.kernel - 1) - 1
    return (height + across) // spec.stride + 1, (width + across) // spec.stride + 1


def require_possible(spec: BlockSpec) -> None:
    """Refuse a kernel that nothing can compute, such as a key may tell: whoever predicts it would make a number of it.

    Raises:
        BadInputError: its channels cannot be parted into its groups, its window is larger than its image, its output
            has other channels than its inputs give, or the operation is not one of those in block.py.
    """
    if any(one.in_channels % one.groups or one.out_channels % one.groups for one in convolutions(spec)):
        raise BadInputError(f"there is no {spec.key}: its channels cannot be parted into its groups")
    if min(output_size(spec)) < 1:
        raise BadInputError(f"there is no {spec.key}: its window is larger than its image")
    given = sum(shape[1] for shape in spec.input_shapes) if spec.operation == "concat" else spec.input_shapes[0][1]
    if spec.operation in ("concat", *_KEEPING_CHANNELS) and spec.output_channels != given:
        raise BadInputError(f"there is no {spec.key}: its output has {given} channels, not {spec.output_channels}")
    # Of some operations the images are rows, or parted into groups.
    _ = spec.file_shapes
