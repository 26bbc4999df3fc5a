"""The kernels inside a block, from its specification alone: where a search space needs a model of kernels.

A runtime may fuse otherwise: what it really executes is read from its optimised graph (`export/kernels_of_onnx.py`).
"""

from __future__ import annotations

from collections.abc import Iterator

from searcher.spaces.block import BlockSpec
from searcher.spaces.counts import Convolution, convolutions
from searcher.spaces.kernels import output_size

_RELU_FIRST = ("relu_conv_bn", "sep_conv", "dil_conv", "factorised_reduction", "residual_reduction")
_HEADS = ("head", "pool_head", "mobile_head")
_SINGLE = ("conv_bn", "conv_bn_add", "dilated_conv_bn", "fully_connected")


def kernels_inside(block: BlockSpec) -> Iterator[BlockSpec]:
    """Yield what a composite block executes; nothing for one that is a kernel by itself, and no views or slices.

    Raises:
        BadInputError: the block's operation is not one of those in block.py.
    """
    if block.operation in _SINGLE:
        return
    image = block.input_shapes[0]
    _, channels, height, width = image
    if block.operation in _RELU_FIRST:
        yield BlockSpec("relu", (image,), channels)
    layers = convolutions(block)
    for order, layer in enumerate(layers):
        # In an inverted residual all but the last convolution are followed by the activation.
        followed = order + 1 < len(layers) or block.operation == "mobile_head"
        yield _kernel(layer, block.activation if followed else None)
    if block.operation == "mbconv":
        yield from _around_inverted_residual(block)
    elif block.operation == "residual_reduction":
        yield BlockSpec("avg_pool", (image,), channels, kernel=2, stride=2)
        yield _sum((1, block.output_channels, *output_size(block)))
    elif block.operation in _HEADS:
        if block.operation == "head":
            yield BlockSpec("batch_norm", (image,), channels)
            yield BlockSpec("relu", (image,), channels)
        features = layers[-1].out_channels if layers else channels
        yield BlockSpec("global_avg_pool", ((1, features, height, width),), features)
        yield BlockSpec("fully_connected", ((1, features, 1, 1),), block.output_channels)


def _kernel(layer: Convolution, activation: str | None) -> BlockSpec:
    return BlockSpec(
        "conv_bn" if layer.dilation == 1 else "dilated_conv_bn",
        ((1, layer.in_channels, layer.height, layer.width),),
        layer.out_channels,
        layer.kernel,
        layer.stride,
        layer.padding,
        layer.groups,
        activation,
    )


def _around_inverted_residual(block: BlockSpec) -> Iterator[BlockSpec]:
    image = block.input_shapes[0]
    hidden = (1, block.require_hidden_channels(), *image[2:])
    if block.groups > 1:
        yield BlockSpec("transpose", (hidden,), hidden[1], groups=block.groups)
    if block.stride == 1 and block.output_channels == image[1]:
        yield _sum(image)


def _sum(shape: tuple[int, int, int, int]) -> BlockSpec:
    return BlockSpec("add", (shape, shape), shape[1])
