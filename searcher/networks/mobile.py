"""Torch modules of the blocks of mobile networks: the inverted residual, and the head that follows a chain of them."""

from __future__ import annotations

from torch import Tensor, nn

from searcher.errors import BadInputError
from searcher.networks.kernels import activation
from searcher.spaces.block import BlockSpec


class ChannelShuffle(nn.Module):
    """Deals the channels of each group out in turn: channel i of group g becomes channel i·groups + g."""

    def __init__(self, groups: int) -> None:
        super().__init__()
        self.groups = groups

    def forward(self, inputs: Tensor) -> Tensor:
        """Return (N, C, H, W) of the input's shape."""
        # Numbers, not what a tracing exporter would follow back to the input's shape.
        _, channels, height, width = (int(size) for size in inputs.shape)
        parted = inputs.reshape(-1, self.groups, channels // self.groups, height, width)
        return parted.transpose(1, 2).reshape(-1, channels, height, width)


class MBConv(nn.Module):
    """The inverted residual of a `mbconv` block, (N, C, H, W) to (N, C', H / stride, W / stride).

    Raises:
        BadInputError: the block tells no hidden channels or no known activation, or its channels cannot be grouped.
    """

    def __init__(self, spec: BlockSpec) -> None:
        super().__init__()
        channels, hidden = spec.input_shapes[0][1], spec.require_hidden_channels()
        if any(width % spec.groups for width in (channels, hidden, spec.output_channels)):
            raise BadInputError(f"The channels of {spec.key} cannot be parted into {spec.groups} groups.")
        self.layers = nn.Sequential(
            _conv_bn(channels, hidden, groups=spec.groups),
            activation(spec.activation),
            ChannelShuffle(spec.groups) if spec.groups > 1 else nn.Identity(),
            _conv_bn(hidden, hidden, spec.kernel, spec.stride, spec.padding, groups=hidden),
            activation(spec.activation),
            _conv_bn(hidden, spec.output_channels, groups=spec.groups),
        )
        self.adds_input = spec.stride == 1 and channels == spec.output_channels

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the convolutions' result, plus the input where it has the same shape."""
        result: Tensor = self.layers(inputs)
        return inputs + result if self.adds_input else result


class MobileHead(nn.Module):
    """A 1x1 convolution with batch norm, global average pool and a linear layer, (N, C, H, W) to (N, classes).

    Raises:
        BadInputError: the block tells no hidden channels or no known activation.
    """

    def __init__(self, spec: BlockSpec) -> None:
        super().__init__()
        hidden = spec.require_hidden_channels()
        self.features = nn.Sequential(_conv_bn(spec.input_shapes[0][1], hidden), activation(spec.activation))
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.linear = nn.Linear(hidden, spec.output_channels)

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the logits, (N, classes)."""
        logits: Tensor = self.linear(self.pool(self.features(inputs)).flatten(1))
        return logits


def _conv_bn(
    channels: int, output_channels: int, kernel: int = 1, stride: int = 1, padding: int = 0, groups: int = 1
) -> nn.Sequential:
    convolution = nn.Conv2d(channels, output_channels, kernel, stride, padding, groups=groups, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(output_channels))
