"""The blocks of operators that move a window over an image: convolutions and pools."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from searcher.errors import BadInputError
from searcher.export.onnx_node import GraphNode, as_image, written
from searcher.spaces.block import BlockSpec

_DILATED = 2


def convolution(node: GraphNode) -> BlockSpec:
    """Return the block of a Conv or a FusedConv: `conv_bn`, `conv_bn_add` or `dilated_conv_bn`.

    Raises:
        BadInputError: there is none.
    """
    shape, weights = node.image, node.weights()
    dilation = _dilation(node, weights.shape[2:])
    added = node.given(3)
    if dilation == _DILATED and added is not None:
        raise BadInputError("it is dilated and sums a second input in, which no block does")
    kernel, stride = _one(weights.shape[2:], "kernel"), _one(node.attributes.get("strides", (1, 1)), "stride")
    if added is not None and added.shape != node.output.shape:
        raise BadInputError(f"it sums {written(added.shape)} into {written(node.output.shape)}")
    operation = "conv_bn" if dilation == 1 else "dilated_conv_bn"
    return BlockSpec(
        operation if added is None else "conv_bn_add",
        (shape,) if added is None else (shape, as_image(added.shape)),
        weights.shape[0],
        kernel=kernel,
        stride=stride,
        padding=_padding(node, dilation * (kernel - 1) + 1, stride),
        groups=node.attributes.get("group", 1),
        activation=node.activation,
    )


def pool(operation: str) -> Callable[[GraphNode], BlockSpec]:
    """Return what makes the block of a pool."""

    def made(node: GraphNode) -> BlockSpec:
        kernel = _one(node.attributes["kernel_shape"], "kernel")
        stride = _one(node.attributes.get("strides", (1, 1)), "stride")
        if _dilation(node, (kernel, kernel)) != 1:
            raise BadInputError("it is dilated, which no block's pool is")
        padding = _padding(node, kernel, stride)
        return BlockSpec(operation, (node.image,), node.image[1], kernel=kernel, stride=stride, padding=padding)

    return made


def _dilation(node: GraphNode, kernel: Sequence[int]) -> int:
    """Return the dilation; a kernel of one pixel has none."""
    if all(side == 1 for side in kernel):
        return 1
    dilation = _one(node.attributes.get("dilations", (1, 1)), "dilation")
    if dilation > _DILATED:
        raise BadInputError(f"its dilation is {dilation}, and blocks know 1 and {_DILATED}")
    return dilation


def _one(sizes: Sequence[int], what: str) -> int:
    """Return the size that an operator has along both sides."""
    if len(sizes) != 2 or sizes[0] != sizes[1]:
        raise BadInputError(f"its {what} is {written(tuple(sizes))}, and blocks know squares only")
    return int(sizes[0])


def _padding(node: GraphNode, extent: int, stride: int) -> int:
    """Return the zeros on each side of a block whose output is as large: as many, or one off where a side has more.

    Args:
        node: a convolution or a pool.
        extent: pixels that its window spans.
        stride: of the window.

    Raises:
        BadInputError: there is no such number.
    """
    sizes, results = node.image[2:], node.output.shape[2:]
    reached = [(result - 1) * stride + extent - size for size, result in zip(sizes, results, strict=True)]
    pads = tuple(node.attributes.get("pads", (0, 0, 0, 0)))
    told = [pads[0] + pads[2], pads[1] + pads[3]]
    if node.attributes.get("auto_pad", "NOTSET") not in ("NOTSET", "VALID"):
        told = [max(0, one) for one in reached]
    # A pool that rounds its output up reads zeros that nobody told of.
    totals = [max(pair) for pair in zip(told, reached, strict=True)]
    for padding in sorted(range(max(0, *totals) + 1), key=lambda one: sum(abs(2 * one - total) for total in totals)):
        fits = all(
            (size + 2 * padding - extent) // stride + 1 == result for size, result in zip(sizes, results, strict=True)
        )
        if fits and all(abs(2 * padding - total) <= 1 for total in totals):
            return padding
    raise BadInputError(f"it pads {totals[0]} rows and {totals[1]} columns in all, and blocks pad every side alike")
