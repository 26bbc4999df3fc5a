"""Torch modules of the blocks of DARTS networks: separable convolutions, the factorised reduction and the ends."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from searcher.errors import BadInputError
from searcher.spaces.block import BlockSpec


class SepConv(nn.Sequential):
    """The `sep_conv` of a block, (N, C, H, W) to (N, C', H / stride, W / stride): two separable convolutions."""

    def __init__(self, spec: BlockSpec) -> None:
        channels = spec.input_shapes[0][1]
        super().__init__(
            *_separable(channels, channels, spec.kernel, spec.stride, spec.padding, dilation=1),
            *_separable(channels, spec.output_channels, spec.kernel, 1, spec.padding, dilation=1),
        )


class DilConv(nn.Sequential):
    """The `dil_conv` of a block, (N, C, H, W) to (N, C', H / stride, W / stride): one separable dilated convolution."""

    def __init__(self, spec: BlockSpec) -> None:
        channels = spec.input_shapes[0][1]
        layers = _separable(channels, spec.output_channels, spec.kernel, spec.stride, spec.padding, spec.dilation)
        super().__init__(*layers)


class FactorisedReduction(nn.Module):
    """Halves the resolution with 1x1 convolutions that see half of the pixels, (N, C, H, W) to (N, C', H/2, W/2).

    Raises:
        BadInputError: the output's channels cannot be halved, or the image cannot.
    """

    def __init__(self, spec: BlockSpec) -> None:
        super().__init__()
        _, channels, height, width = spec.input_shapes[0]
        if spec.output_channels % 2 or height % 2 or width % 2:
            raise BadInputError(f"A factorised reduction halves channels and image, which {spec.key} cannot.")
        self.relu = nn.ReLU()
        self.even = nn.Conv2d(channels, spec.output_channels // 2, kernel_size=1, stride=2, bias=False)
        self.odd = nn.Conv2d(channels, spec.output_channels // 2, kernel_size=1, stride=2, bias=False)
        self.norm = nn.BatchNorm2d(spec.output_channels)

    def forward(self, inputs: Tensor) -> Tensor:
        """Return what the pixels of even and of odd places give, one after the other."""
        active = self.relu(inputs)
        result: Tensor = self.norm(torch.cat((self.even(active), self.odd(active[:, :, 1:, 1:])), dim=1))
        return result


class Concat(nn.Module):
    """The channels of several tensors, one after the other."""

    def forward(self, *inputs: Tensor) -> Tensor:
        """Return (N, the sum of all C, H, W)."""
        return torch.cat(inputs, dim=1)


class PoolHead(nn.Module):
    """Global average pool and a linear layer, (N, C, H, W) to (N, classes)."""

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.linear = nn.Linear(channels, classes)

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the logits, (N, classes)."""
        logits: Tensor = self.linear(self.pool(inputs).flatten(1))
        return logits


def _separable(
    channels: int, output_channels: int, kernel: int, stride: int, padding: int, dilation: int
) -> list[nn.Module]:
    depthwise = nn.Conv2d(channels, channels, kernel, stride, padding, dilation=dilation, groups=channels, bias=False)
    pointwise = nn.Conv2d(channels, output_channels, kernel_size=1, bias=False)
    return [nn.ReLU(), depthwise, pointwise, nn.BatchNorm2d(output_channels)]
