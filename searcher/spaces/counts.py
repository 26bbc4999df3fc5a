"""Parameters and multiply-accumulates of a block, from its specification alone."""

from __future__ import annotations

from dataclasses import dataclass

from searcher.errors import BadInputError
from searcher.spaces.block import ACTIVATIONS, PAIRWISE, BlockSpec

_WITHOUT_CONVOLUTIONS = (
    *("avg_pool", "max_pool", "global_avg_pool", *PAIRWISE, "concat", "batch_norm", "softmax", *ACTIVATIONS),
    *("transpose", "slice", "pad", "view", "identity", "fully_connected", "head", "pool_head"),
)
_LINEAR = ("fully_connected", "head", "pool_head")


@dataclass(frozen=True)
class Convolution:
    """A convolution inside a block, without bias.

    Attributes:
        in_channels: channels of its input.
        out_channels: channels of its output.
        height: height of its input.
        width: width of its input.
        kernel: side of its square kernel.
        stride: its stride.
        padding: zeros added on every side.
        groups: its groups.
        dilation: pixels of the input from one weight of the kernel to the next.
    """

    in_channels: int
    out_channels: int
    height: int
    width: int
    kernel: int
    stride: int = 1
    padding: int = 0
    groups: int = 1
    dilation: int = 1

    @property
    def parameters(self) -> int:
        """Return the number of weights."""
        return self.in_channels // self.groups * self.kernel**2 * self.out_channels

    @property
    def macs(self) -> int:
        """Return the multiply-accumulates for one image: every weight once for each position of the output."""
        return self.parameters * self.output_size(self.height) * self.output_size(self.width)

    def output_size(self, size: int) -> int:
        """Return how many positions the output has along a side of the input."""
        return (size + 2 * self.padding - self.dilation * (self.kernel - 1) - 1) // self.stride + 1


def convolutions(spec: BlockSpec) -> tuple[Convolution, ...]:
    """Return the convolutions of a block, in the order in which they run.

    Raises:
        BadInputError: the operation is not one of those in block.py.
    """
    _, channels, height, width = spec.input_shapes[0]
    outputs = spec.output_channels
    if spec.operation in ("conv_bn", "conv_bn_add", "dilated_conv_bn", "relu_conv_bn"):
        sizes = spec.kernel, spec.stride, spec.padding, spec.groups, spec.dilation
        return (Convolution(channels, outputs, height, width, *sizes),)
    if spec.operation == "residual_reduction":
        first = Convolution(channels, outputs, height, width, kernel=3, stride=2, padding=1)
        half_height, half_width = first.output_size(height), first.output_size(width)
        return (
            first,
            Convolution(outputs, outputs, half_height, half_width, kernel=3, padding=1),
            Convolution(channels, outputs, half_height, half_width, kernel=1),
        )
    if spec.operation == "mbconv":
        return _mbconv(spec)
    if spec.operation == "mobile_head":
        return (Convolution(channels, spec.require_hidden_channels(), height, width, kernel=1),)
    if spec.operation == "sep_conv":
        before, between = _separable(spec, channels, channels, height, width, spec.stride)
        return before, between, *_separable(spec, channels, outputs, between.height, between.width, stride=1)
    if spec.operation == "dil_conv":
        return _separable(spec, channels, outputs, height, width, spec.stride)
    if spec.operation == "factorised_reduction":
        half = Convolution(channels, outputs // 2, height, width, kernel=1, stride=2)
        return (half, Convolution(channels, outputs - outputs // 2, height - 1, width - 1, kernel=1, stride=2))
    if spec.operation in _WITHOUT_CONVOLUTIONS:
        return ()
    raise BadInputError(f"There is no block operation {spec.operation!r}.")


def _separable(
    spec: BlockSpec, channels: int, outputs: int, height: int, width: int, stride: int
) -> tuple[Convolution, Convolution]:
    depthwise = Convolution(
        channels, channels, height, width, spec.kernel, stride, spec.padding, groups=channels, dilation=spec.dilation
    )
    after = depthwise.output_size(height), depthwise.output_size(width)
    return depthwise, Convolution(channels, outputs, *after, kernel=1)


def _mbconv(spec: BlockSpec) -> tuple[Convolution, ...]:
    _, channels, height, width = spec.input_shapes[0]
    hidden = spec.require_hidden_channels()
    depthwise = Convolution(hidden, hidden, height, width, spec.kernel, spec.stride, spec.padding, groups=hidden)
    after = depthwise.output_size(height), depthwise.output_size(width)
    return (
        Convolution(channels, hidden, height, width, kernel=1, groups=spec.groups),
        depthwise,
        Convolution(hidden, spec.output_channels, *after, kernel=1, groups=spec.groups),
    )


def block_parameters(spec: BlockSpec) -> int:
    """Return the trainable parameters of a block: convolutions, batch norms' scales and shifts, the linear layer.

    Raises:
        BadInputError: the operation is not one of those in block.py.
    """
    layers = convolutions(spec)
    weights = sum(layer.parameters for layer in layers)
    channels, outputs = spec.input_shapes[0][1], spec.output_channels
    if spec.operation == "residual_reduction":
        return weights + 2 * 2 * outputs  # the shortcut's convolution has no batch norm
    if spec.operation == "head":
        return 2 * channels + _linear_parameters(channels, outputs)
    if spec.operation in ("pool_head", "fully_connected"):
        return _linear_parameters(channels, outputs)
    if spec.operation == "batch_norm":
        return 2 * channels
    if spec.operation in ("sep_conv", "dil_conv"):
        return weights + sum(2 * pointwise.out_channels for pointwise in layers[1::2])
    if spec.operation == "mobile_head":
        return weights + 2 * layers[0].out_channels + _linear_parameters(layers[0].out_channels, outputs)
    return weights + sum(2 * layer.out_channels for layer in layers)


def block_macs(spec: BlockSpec) -> int:
    """Return a block's multiply-accumulates for one image: convolutions and the linear layer, nothing else.

    Raises:
        BadInputError: the operation is not one of those in block.py.
    """
    if spec.operation in _LINEAR:
        return spec.input_shapes[0][1] * spec.output_channels
    layers = convolutions(spec)
    linear = layers[0].out_channels * spec.output_channels if spec.operation == "mobile_head" else 0
    return sum(layer.macs for layer in layers) + linear


def _linear_parameters(inputs: int, outputs: int) -> int:
    return inputs * outputs + outputs
