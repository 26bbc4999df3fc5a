"""What kernels of each type are drawn from: sizes, forms, and the most work that one may take.

The ranges hold MobileNetV2 and ResNet-18 at 224 pixels, NAS-Bench-201 and FBNet, with room on both sides: a model of
latency answers for nothing that lies outside of what it was fitted to. Sizes are log-uniform, since latencies span
decades and errors are relative.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from searcher.errors import BadInputError
from searcher.spaces.block import BlockSpec
from searcher.spaces.kernels import CONVOLUTION, DEPTHWISE, GROUPED, POINTWISE, kernel_features

Range = tuple[int, int]
Window = tuple[int, int, int]
"""Kernel, stride and padding."""

_SIDES: Range = (4, 256)
_CHANNELS: Range = (4, 2048)


@dataclass(frozen=True)
class Domain:
    """What kernels of one type are drawn from.

    Attributes:
        operations: of block.py, equally often.
        sides: least and largest height and width of an input.
        channels: least and largest channels of an input.
        outputs: least and largest channels of the output; None where the input settles them.
        windows: kernels with their strides and paddings; one that stands twice is drawn twice as often.
        activations: fused ones, equally often.
        groups: of grouped convolutions; None for all others.
        inputs: least and largest number of inputs.
        expansions: least and largest quotient of hidden channels and channels; None where there are none.
    """

    operations: tuple[str, ...]
    sides: Range = _SIDES
    channels: Range = _CHANNELS
    outputs: Range | None = None
    windows: tuple[Window, ...] = ((1, 1, 0),)
    activations: tuple[str | None, ...] = (None,)
    groups: tuple[int, ...] | None = None
    inputs: Range = (1, 1)
    expansions: Range | None = None


_CONVOLVING = ("conv_bn",)
_ACTIVATIONS = (None, "relu")
_POOLS = ((2, 2, 0), (3, 1, 1), (3, 2, 1))
_POINT, _POINT_OF_TWO = (1, 1, 0), (1, 2, 0)
_SMALL, _SMALL_OF_TWO, _MIDDLE, _MIDDLE_OF_TWO = (3, 1, 1), (3, 2, 1), (5, 1, 2), (5, 2, 2)
_LARGE, _LARGE_OF_TWO = (7, 1, 3), (7, 2, 3)

DOMAINS: Mapping[str, Domain] = {
    CONVOLUTION: Domain(
        _CONVOLVING,
        channels=(3, 768),
        outputs=(8, 768),
        windows=(*(_SMALL,) * 4, *(_SMALL_OF_TWO,) * 2, _MIDDLE, _MIDDLE_OF_TWO, _LARGE, _LARGE_OF_TWO),
        activations=_ACTIVATIONS,
    ),
    POINTWISE: Domain(
        _CONVOLVING, outputs=_CHANNELS, windows=(*(_POINT,) * 8, _POINT_OF_TWO), activations=_ACTIVATIONS
    ),
    DEPTHWISE: Domain(
        _CONVOLVING,
        windows=(*(_SMALL,) * 3, *(_SMALL_OF_TWO,) * 2, *(_MIDDLE,) * 2, _MIDDLE_OF_TWO, _LARGE, _LARGE_OF_TWO),
        activations=_ACTIVATIONS,
    ),
    GROUPED: Domain(
        _CONVOLVING,
        channels=(8, 1024),
        outputs=(8, 1024),
        windows=(*(_POINT,) * 3, *(_SMALL,) * 2, _SMALL_OF_TWO, _MIDDLE),
        activations=_ACTIVATIONS,
        groups=(2, 4, 8, 16, 32),
    ),
    "max_pool": Domain(("max_pool",), windows=_POOLS),
    "avg_pool": Domain(("avg_pool",), windows=_POOLS),
    "add": Domain(("add",), inputs=(2, 2)),
    "concat": Domain(("concat",), channels=(4, 512), inputs=(2, 5)),
    "relu": Domain(("relu",)),
    "mbconv": Domain(
        ("mbconv",),
        channels=(8, 384),
        outputs=(8, 384),
        windows=(_SMALL, _SMALL_OF_TWO, _MIDDLE, _MIDDLE_OF_TWO),
        activations=("relu",),
        expansions=(1, 6),
    ),
}
"""What is drawn of each type that can be drawn, by its name."""

DEFAULT_TYPES = tuple(name for name in DOMAINS if name != "mbconv")
"""Types that a runtime executes as one operator; a block of several is drawn where it is asked for."""


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
