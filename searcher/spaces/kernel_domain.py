"""What kernels of each type are drawn from: sizes, forms, and the most work that one may take.

The ranges hold today's networks for phones at up to 224 pixels (MobileNetV2 and V3, EfficientNet-B0, MnasNet, GhostNet,
ShuffleNetV2, SqueezeNet, RegNetY), ResNet-18, NAS-Bench-201 and FBNet, with room on both sides: a model of latency
answers for nothing that lies outside of what it was fitted to. Sizes are log-uniform, since latencies span decades and
errors are relative.

Images of 1 to 3 pixels a side are what squeeze-and-excitation works on and what networks of small images end in. A
range from 1 would give them a quarter of all points, though little happens in them: they are drawn beside the range,
with a share of their own, most of them of a single row.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from searcher.errors import BadInputError
from searcher.spaces.block import ACTIVATIONS, PAIRWISE, BlockSpec, Shape
from searcher.spaces.kernels import (
    CONVOLUTION,
    DEPTHWISE,
    GROUPED,
    POINTWISE,
    REPEATED_NUMBER,
    REPEATED_PIXEL,
    REPEATED_PLANE,
    kernel_features,
)

Range = tuple[int, int]
Window = tuple[int, int, int]
"""Kernel, stride and padding."""

_PIXEL: Range = (1, 1)
_SIDES: Range = (4, 256)
_SMALL_SIDES = (1, 1, 1, 2, 3)
# Where pixels are gates, code of its own is to be known from as many points as can be.
_MOSTLY_PIXELS = (*(1,) * 6, 2, 3)
_CHANNELS: Range = (4, 2048)


@dataclass(frozen=True)
class Domain:
    """What kernels of one type are drawn from.

    Attributes:
        operation: of block.py.
        sides: least and largest height and width of most inputs.
        small_sides: heights of the other inputs, equally often; none if empty.
        channels: least and largest channels of an input.
        outputs: least and largest channels of the output; None where the input settles them.
        windows: kernels with their strides and paddings; one that stands twice is drawn twice as often.
        activations: fused ones, equally often.
        groups: into which channels are parted, which are rounded to that; None where there are none, or as many as
            channels.
        depthwise: whether every channel is a group of its own.
        inputs: least and largest number of inputs.
        repeated: how second inputs are repeated, equally often; None where they are as large as the first.
        columns: whether half of the images are one pixel wide.
        always: shapes that are drawn before all others.
        expansions: least and largest quotient of hidden channels and channels; None where there are none.
    """

    operation: str
    sides: Range = _SIDES
    small_sides: tuple[int, ...] = _SMALL_SIDES
    channels: Range = _CHANNELS
    outputs: Range | None = None
    windows: tuple[Window, ...] = ((1, 1, 0),)
    activations: tuple[str | None, ...] = (None,)
    groups: tuple[int, ...] | None = None
    depthwise: bool = False
    inputs: Range = (1, 1)
    repeated: tuple[str | None, ...] = (None,)
    columns: bool = False
    always: tuple[Shape, ...] = ()
    expansions: Range | None = None

    @property
    def least_side(self) -> int:
        """Least height and width of an input, small ones included."""
        return min((self.sides[0], *self.small_sides))


_CONVOLVING = "conv_bn"
_FUSED = (None, None, "relu", "relu", "relu6")
# 1x1 convolutions and linear layers end in what gates channels, too.
_FUSED_OR_GATING = (*_FUSED, *_FUSED, "hard_sigmoid", "sigmoid")
_REPEATED = (*(None,) * 3, *(REPEATED_PIXEL,) * 2, *(REPEATED_NUMBER,) * 2, REPEATED_PLANE)
_POOLS = ((2, 2, 0), (3, 1, 1), (3, 2, 1))
_POINT, _POINT_OF_TWO = (1, 1, 0), (1, 2, 0)
_SMALL, _SMALL_OF_TWO, _MIDDLE, _MIDDLE_OF_TWO = (3, 1, 1), (3, 2, 1), (5, 1, 2), (5, 2, 2)
_LARGE, _LARGE_OF_TWO = (7, 1, 3), (7, 2, 3)
_UNPADDED_OF_TWO = (3, 2, 0)

DOMAINS: Mapping[str, Domain] = {
    CONVOLUTION: Domain(
        _CONVOLVING,
        channels=(3, 768),
        outputs=(8, 768),
        windows=(
            *(*(_SMALL,) * 4, *(_SMALL_OF_TWO,) * 2, _UNPADDED_OF_TWO),
            *(_MIDDLE, _MIDDLE_OF_TWO, _LARGE, _LARGE_OF_TWO),
        ),
        activations=_FUSED,
    ),
    POINTWISE: Domain(
        _CONVOLVING,
        small_sides=_MOSTLY_PIXELS,
        outputs=_CHANNELS,
        windows=(*(_POINT,) * 8, _POINT_OF_TWO),
        activations=_FUSED_OR_GATING,
    ),
    DEPTHWISE: Domain(
        _CONVOLVING,
        windows=(*(_SMALL,) * 3, *(_SMALL_OF_TWO,) * 2, *(_MIDDLE,) * 2, _MIDDLE_OF_TWO, _LARGE, _LARGE_OF_TWO),
        activations=_FUSED,
        depthwise=True,
    ),
    GROUPED: Domain(
        _CONVOLVING,
        channels=(8, 1024),
        outputs=(8, 1024),
        windows=(*(_POINT,) * 3, *(_SMALL,) * 2, _SMALL_OF_TWO, _MIDDLE),
        activations=_FUSED,
        groups=(2, 4, 8, 16, 32, 64),
    ),
    "dilated_conv_bn": Domain(
        "dilated_conv_bn", windows=((3, 1, 2), (3, 2, 2), (5, 1, 4), (5, 2, 4)), activations=_FUSED, depthwise=True
    ),
    "fully_connected": Domain(
        "fully_connected",
        sides=_PIXEL,
        small_sides=(),
        channels=(4, 4096),
        outputs=(2, 4096),
        activations=(*(None,) * 4, *("relu",) * 2, "hard_sigmoid", "sigmoid"),
    ),
    "max_pool": Domain("max_pool", windows=_POOLS),
    "avg_pool": Domain("avg_pool", windows=_POOLS),
    "global_avg_pool": Domain("global_avg_pool", sides=(4, 128)),
    **{name: Domain(name, inputs=(2, 2), repeated=_REPEATED) for name in PAIRWISE},
    "concat": Domain("concat", channels=(4, 512), inputs=(2, 5)),
    "batch_norm": Domain("batch_norm"),
    "softmax": Domain("softmax", sides=_PIXEL, small_sides=(), channels=(2, 4096)),
    # Of a slice along rows all that lies before them counts as channels, and a row has one pixel.
    # Of a single row nothing is left out.
    "slice": Domain(
        "slice",
        small_sides=(2, 3),
        channels=(4, 8192),
        windows=((2, 1, 0), (2, 1, 0), (1, 2, 0), (2, 2, 0)),
        columns=True,
    ),
    "transpose": Domain("transpose", channels=(8, 2048), groups=(2, 3, 4, 8)),
    # Inside a graph nothing is moved: those views are the view of a single number.
    "view": Domain("view", sides=(1, 256), small_sides=(), channels=(1, 2048), always=((1, 1, 1, 1),)),
    **{name: Domain(name) for name in ACTIVATIONS if name != "hard_swish"},
    "mbconv": Domain(
        "mbconv",
        channels=(8, 384),
        outputs=(8, 384),
        windows=(_SMALL, _SMALL_OF_TWO, _MIDDLE, _MIDDLE_OF_TWO),
        activations=("relu",),
        expansions=(1, 6),
    ),
}
"""What is drawn of each type that can be drawn, by its name."""

DEFAULT_TYPES = (
    *(CONVOLUTION, POINTWISE, DEPTHWISE, GROUPED, "fully_connected", "max_pool", "avg_pool", "global_avg_pool"),
    *(*PAIRWISE, "concat", "batch_norm", "transpose", "view", "relu", "relu6", "hard_sigmoid", "sigmoid", "silu"),
)
"""Types of which common networks are made; others, and blocks of several kernels, are drawn where they are named."""


@dataclass(frozen=True)
class Limits:
    """The most that a kernel may be, so that it takes milliseconds and not more.

    The bounds hold the largest kernels of ResNet-18 and MobileNetV2 at 224 pixels about twice.

    Attributes:
        macs: multiply-accumulates.
        numbers: in all inputs together, and in the output.
        weights: parameters.
    """

    macs: float = 2.5e8
    numbers: float = 3e6
    weights: float = 5e6

    def __post_init__(self) -> None:
        """Refuse limits that leave nothing.

        Raises:
            BadInputError: one is not positive.
        """
        if not min(self.macs, self.numbers, self.weights) > 0:
            raise BadInputError(f"limits on a kernel's size are positive, not {self}")

    def scaled(self, factor: float) -> Limits:
        """Return limits so many times as large."""
        return Limits(self.macs * factor, self.numbers * factor, self.weights * factor)

    def hold(self, spec: BlockSpec) -> bool:
        """Tell whether a kernel keeps them."""
        features = kernel_features(spec)
        numbers = max(features["read"], features["written"])
        return features["macs"] <= self.macs and numbers <= self.numbers and features["parameters"] <= self.weights


def domain_of(kernel_type: str) -> Domain:
    """Return what kernels of a type are drawn from.

    Raises:
        BadInputError: there is no such type.
    """
    try:
        return DOMAINS[kernel_type]
    except KeyError:
        raise BadInputError(f"there are kernels of {', '.join(DOMAINS)} to draw, not of {kernel_type!r}") from None
