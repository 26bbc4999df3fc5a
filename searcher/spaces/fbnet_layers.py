"""The layers of an FBNet chain: the nine choices that each of the 22 has, their blocks, and the sizes on the way.

Sources: Wu et al., "FBNet: Hardware-Aware Efficient ConvNet Design via Differentiable Neural Architecture Search", CVPR
2019, tables 1 and 2; and, for the order of the choices in an encoding, the skip that changes the shape and the networks
for small images, Li et al., "HW-NAS-Bench", ICLR 2021, with the authors' code.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from searcher.spaces.block import BlockSpec, Shape

# Kernel, expansion and groups of the 1x1 convolutions.
_MBCONVS = {
    "k3_e1": (3, 1, 1),
    "k3_e1_g2": (3, 1, 2),
    "k3_e3": (3, 3, 1),
    "k3_e6": (3, 6, 1),
    "k5_e1": (5, 1, 1),
    "k5_e1_g2": (5, 1, 2),
    "k5_e3": (5, 3, 1),
    "k5_e6": (5, 6, 1),
}
SKIP = "skip"
CHOICES = (*_MBCONVS, SKIP)
REPEATS = (1, 4, 4, 4, 4, 4, 1)
LAYERS = sum(REPEATS)
STEM_CHANNELS = 16
ACTIVATION = "relu"

_CHANNELS = (16, 24, 32, 64, 112, 184, 352)


@dataclass(frozen=True)
class Layer:
    """One place in the chain.

    Attributes:
        input_shape: (1, C, H, W).
        output_channels: channels of its output.
        stride: 1 or 2.
    """

    input_shape: Shape
    output_channels: int
    stride: int

    @property
    def keeps_shape(self) -> bool:
        """Whether the output has the input's shape, so that a skip computes nothing."""
        return self.stride == 1 and self.input_shape[1] == self.output_channels

    @property
    def output_shape(self) -> Shape:
        """(1, C, H, W) of its output."""
        size = self.input_shape[2] // self.stride
        return (1, self.output_channels, size, size)

    def block(self, choice: str) -> BlockSpec | None:
        """Return the block of one of CHOICES here; None for a skip that computes nothing."""
        if choice == SKIP and self.keeps_shape:
            return None
        inputs = (self.input_shape,)
        if choice == SKIP:
            return BlockSpec("conv_bn", inputs, self.output_channels, stride=self.stride, activation=ACTIVATION)
        kernel, expansion, groups = _MBCONVS[choice]
        return BlockSpec(
            "mbconv",
            inputs,
            self.output_channels,
            kernel=kernel,
            stride=self.stride,
            padding=kernel // 2,
            groups=groups,
            activation=ACTIVATION,
            hidden_channels=self.input_shape[1] * expansion,
        )


@dataclass(frozen=True)
class Skeleton:
    """What differs between networks for small images and for large ones.

    Attributes:
        stem_stride: stride of the stem.
        strides: of each stage's first layer.
        head_channels: channels between the last layer and the classes.
    """

    stem_stride: int
    strides: tuple[int, ...]
    head_channels: int

    @property
    def reduction(self) -> int:
        """How many pixels of a side of the image become one of the last layer's output."""
        return self.stem_stride * math.prod(self.strides)

    def layers(self, image_size: int) -> tuple[Layer, ...]:
        """Return the layers for square images of this size, from the stem to the head."""
        size = image_size // self.stem_stride
        shape: Shape = (1, STEM_CHANNELS, size, size)
        layers: list[Layer] = []
        for repeats, channels, stride in zip(REPEATS, _CHANNELS, self.strides, strict=True):
            for repeat in range(repeats):
                layers.append(Layer(shape, channels, 1 if repeat else stride))
                shape = layers[-1].output_shape
        return tuple(layers)


SMALL = Skeleton(1, (1, 1, 2, 2, 1, 2, 1), 1504)
LARGE = Skeleton(2, (1, 2, 2, 2, 1, 2, 1), 1984)
# HW-NAS-Bench knows 32 pixels and 224; between them lies no published network.
LEAST_LARGE = 128
