"""The kernels inside a block, from its specification alone: where a search space needs a model of kernels.

These are what ONNX Runtime makes of our blocks; what it makes of any file is read from its optimised graph
(`export/kernels_of_onnx.py`), and a test holds both against each other.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from searcher.spaces.block import BlockSpec, Shape
from searcher.spaces.counts import Convolution, convolutions
from searcher.spaces.kernels import output_size

_RELU_FIRST = ("relu_conv_bn", "sep_conv", "dil_conv", "factorised_reduction", "residual_reduction")
_HEADS = ("head", "pool_head", "mobile_head")
_SINGLE = ("conv_bn", "conv_bn_add", "dilated_conv_bn", "fully_connected")


def kernels_inside(block: BlockSpec) -> Iterator[BlockSpec]:
    """Yield what ONNX Runtime executes of a composite block; nothing for one that is a kernel by itself.

    Raises:
        BadInputError: the block's operation is not one of those in block.py.
    """
    if block.operation in _SINGLE:
        return
    image = block.input_shapes[0]
    if block.operation in _RELU_FIRST:
        yield BlockSpec("relu", (image,), image[1])
    layers = convolutions(block)
    for order, layer in enumerate(layers):
        yield _kernel(layer, _followed_by(block, order, len(layers)))
    if block.operation == "mbconv":
        yield from _around_inverted_residual(block)
    elif block.operation == "factorised_reduction":
        yield from _around_halves(image, layers)
    elif block.operation == "residual_reduction":
        yield BlockSpec("avg_pool", (image,), image[1], kernel=2, stride=2)
        yield _sum((1, block.output_channels, *output_size(block)))
    elif block.operation in _HEADS:
        yield from _classifier(block, layers)


def _followed_by(block: BlockSpec, order: int, layers: int) -> str | None:
    """Return the activation that is fused into one of a block's convolutions."""
    if block.operation == "mbconv":
        return block.activation if order + 1 < layers else None
    if block.operation == "mobile_head":
        return block.activation
    # What begins with a ReLU gives one to the convolution before it: the second half of a separable one, and the second
    # convolution of a residual.
    before_relu = (block.operation, order) in (("sep_conv", 1), ("residual_reduction", 0))
    return "relu" if before_relu else None


def _classifier(block: BlockSpec, layers: Sequence[Convolution]) -> Iterator[BlockSpec]:
    _, channels, height, width = image = block.input_shapes[0]
    if block.operation == "head":
        yield BlockSpec("batch_norm", (image,), channels)
        yield BlockSpec("relu", (image,), channels)
    features = layers[-1].out_channels if layers else channels
    yield BlockSpec("global_avg_pool", ((1, features, height, width),), features)
    yield BlockSpec("view", ((1, 1, 1, 1),), 1)
    yield BlockSpec("fully_connected", ((1, features, 1, 1),), block.output_channels)


def _around_halves(image: Shape, layers: Sequence[Convolution]) -> Iterator[BlockSpec]:
    _, channels, height, width = image
    yield BlockSpec("slice", (image,), channels, kernel=2)
    # Along the width: all that lies before it counts as channels.
    before = channels * (height - 1)
    yield BlockSpec("slice", ((1, before, width, 1),), before, kernel=2)
    first = layers[0]
    size = first.output_size(first.height), first.output_size(first.width)
    halves = tuple((1, layer.out_channels, *size) for layer in layers)
    outputs = sum(layer.out_channels for layer in layers)
    yield BlockSpec("concat", halves, outputs)
    yield BlockSpec("batch_norm", ((1, outputs, *size),), outputs)


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
        # Shuffled channels are reshaped before and after.
        yield BlockSpec("view", ((1, 1, 1, 1),), 1)
        yield BlockSpec("transpose", (hidden,), hidden[1], groups=block.groups)
    if block.stride == 1 and block.output_channels == image[1]:
        yield _sum(image)


def _sum(shape: Shape) -> BlockSpec:
    return BlockSpec("add", (shape, shape), shape[1])
