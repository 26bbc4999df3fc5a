"""The smallest thing that is measured on a device: what one block computes, and its key in a table.

A block is described by what it computes alone. This file knows nothing of weights, files, runtimes or layouts.

The operations:

| operation            | what it computes                                                                        |
|----------------------|-----------------------------------------------------------------------------------------|
| `conv_bn`            | Conv (no bias), BN, and the activation if there is one                                  |
| `relu_conv_bn`       | ReLU, Conv (no bias), BN                                                                |
| `relu`               | ReLU alone                                                                              |
| `avg_pool`           | average pooling that does not count the padding                                         |
| `max_pool`           | maximum over the window                                                                 |
| `sep_conv`           | twice ReLU, depthwise Conv, Conv1x1, BN; no bias; the stride is the first one's         |
| `dil_conv`           | ReLU, depthwise Conv of dilation 2, Conv1x1, BN; no bias                                |
| `factorised_reduction` | ReLU, two Conv1x1/2 (no bias), the second one pixel further right and down, each to   |
|                      | half of the output's channels; BN over both                                             |
| `add`                | sum of two inputs; the second may have sizes of 1 that are repeated                     |
| `concat`             | channels of all inputs, one after the other                                             |
| `residual_reduction` | ReLU-Conv3x3/2-BN, ReLU-Conv3x3-BN, plus the shortcut AvgPool2x2/2, Conv1x1 (no bias)   |
| `head`               | BN, ReLU, global average pool, fully connected layer with bias                          |
| `pool_head`          | global average pool, fully connected layer with bias                                    |
| `mbconv`             | Conv1x1 to the hidden channels, BN, activation; depthwise Conv, BN, activation;         |
|                      | Conv1x1, BN; no bias anywhere; plus the input where stride is 1 and channels agree      |
| `mobile_head`        | Conv1x1 (no bias) to the hidden channels, BN, activation; global average pool; fully    |
|                      | connected layer with bias                                                               |
| `identity`           | nothing: what is left is the price of calling the runtime                               |

Kernels that networks hold beside these (a runtime may take one apart all the same: docs/method.md, Kernels):

| operation            | what it computes                                                                        |
|----------------------|-----------------------------------------------------------------------------------------|
| `conv_bn_add`        | Conv (no bias), BN, plus a second input of the output's shape, then the activation      |
| `dilated_conv_bn`    | `conv_bn` of dilation 2                                                                 |
| `fully_connected`    | fully connected layer with bias, and the activation if there is one; 1x1 images         |
| `global_avg_pool`    | mean of each channel                                                                    |
| `batch_norm`         | BN alone                                                                                |
| `mul`                | product of two inputs; as in `add`, the second may have sizes of 1 that are repeated    |
| `div`                | quotient of two inputs, likewise                                                        |
| `softmax`            | softmax over the channels of 1x1 images                                                 |
| those of ACTIVATIONS | the activation alone                                                                    |
| `transpose`          | the channels of all groups dealt out in turn, as below, by a transposition alone        |
| `slice`              | rows from the `kernel`-th on (counted from 1), each `stride`-th of them                 |
| `pad`                | zeros around the image, and channels of zeros                                           |
| `view`               | nothing: the same numbers in the same order under another shape. Alone it copies them,  |
|                      | inside a network nothing is moved                                                       |

Groups of an `mbconv` are those of its 1x1 convolutions; where there are several, the channels are shuffled before the
depthwise convolution: channel i of group g becomes channel i·groups + g (ShuffleNet, Zhang et al., CVPR 2018).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace

from searcher.errors import BadInputError

Shape = tuple[int, int, int, int]

FP32, FP16, INT8 = "fp32", "fp16", "int8"
DTYPES = (FP32, FP16, INT8)

ACTIVATIONS = (
    *("relu", "relu6", "leaky_relu", "hard_sigmoid", "sigmoid", "tanh"),
    *("hard_swish", "silu", "gelu", "elu"),
)
"""Names of activations, as operations of their own and inside others."""

# Operations whose output has the rank of their input.
_REPEATABLE = ("conv_bn", "relu_conv_bn", "avg_pool", "max_pool", "sep_conv", "dil_conv", "mbconv")

PAIRWISE = ("add", "mul", "div")
"""Operations that compute each number of the output from one number of each of two inputs."""
_NUMBER: Shape = (1, 1, 1, 1)

_WORD = re.compile(r"[a-z][a-z0-9_]*")


@dataclass(frozen=True)
class BlockSpec:
    """What a block computes; two blocks of equal specification cost the same on one device and runtime.

    Attributes:
        operation: one of the operations in this file's table.
        input_shapes: (N, C, H, W) of every input, as computed, whatever the runtime stores.
        output_channels: channels (or classes) of the output.
        kernel: side of the square kernel; 1 where an operation has none.
        stride: of the operation; 1 where it has none.
        padding: zeros added on every side; 0 where an operation pads nothing.
        groups: groups of the convolution; 1 where there is none.
        activation: activation fused after the operation, or inside it where this file's table says so, such as
            `relu`, or None. A ReLU that the operation's own name speaks of is no part of it.
        dtype: numbers that it computes with: one of DTYPES, though nothing here depends on it.
        hidden_channels: channels between its convolutions, for operations whose input and output do not tell them;
            None for all others.

    Raises:
        BadInputError: a name that no key can hold, no input, or a size that is not positive.
    """

    operation: str
    input_shapes: tuple[Shape, ...]
    output_channels: int
    kernel: int = 1
    stride: int = 1
    padding: int = 0
    groups: int = 1
    activation: str | None = None
    dtype: str = FP32
    hidden_channels: int | None = None

    def __post_init__(self) -> None:
        words = [self.operation, self.dtype] + ([] if self.activation is None else [self.activation])
        for word in words:
            if not _WORD.fullmatch(word):
                raise BadInputError(f"{word!r} cannot be part of a block's key: use a-z, 0-9 and _.")
        sizes = [self.output_channels, self.kernel, self.stride, self.groups]
        if self.hidden_channels is not None:
            sizes.append(self.hidden_channels)
        for shape in self.input_shapes:
            sizes.extend(shape)
        four_each = all(len(shape) == 4 for shape in self.input_shapes)
        if not (self.input_shapes and four_each and min(sizes) > 0 and self.padding >= 0):
            raise BadInputError(f"The block {self.operation!r} has a size that is missing or not positive: {self}.")

    @property
    def key(self) -> str:
        """Return the block's name in tables, job files and file names; different blocks have different keys.

        The form is `operation-kK-sS-pP-gG-SHAPES[-hH]-toC[-activation]-dtype`, where SHAPES is `NxCxHxW` of each
        input joined by `+`, and H the hidden channels: `relu_conv_bn-k3-s1-p1-g1-1x16x32x32-to16-fp32`,
        `mbconv-k5-s2-p2-g1-1x24x32x32-h144-to32-relu-fp32`.
        """
        shapes = "+".join("x".join(str(size) for size in shape) for shape in self.input_shapes)
        numbers = f"k{self.kernel}-s{self.stride}-p{self.padding}-g{self.groups}-{shapes}"
        hidden = "" if self.hidden_channels is None else f"-h{self.hidden_channels}"
        activation = "" if self.activation is None else f"-{self.activation}"
        return f"{self.operation}-{numbers}{hidden}-to{self.output_channels}{activation}-{self.dtype}"

    def require_hidden_channels(self) -> int:
        """Return the hidden channels of an operation that needs them.

        Raises:
            BadInputError: they are not told.
        """
        if self.hidden_channels is None:
            raise BadInputError(f"The block {self.key} does not tell its hidden channels.")
        return self.hidden_channels

    @property
    def dilation(self) -> int:
        """How many pixels of the input lie from one weight of the kernel to the next."""
        return 2 if self.operation in ("dil_conv", "dilated_conv_bn") else 1

    @property
    def file_shapes(self) -> tuple[tuple[int, ...], ...]:
        """The shapes that the inputs of its file have: those of `input_shapes`, but for what no image goes into.

        Rows (N, C) for a fully connected layer and a softmax, (N, groups, C / groups, H, W) for a transposition: what
        reshapes images is a kernel of its own. A single number that is repeated has one size, as exporters write it.

        Raises:
            BadInputError: the images are larger than 1x1, or their channels cannot be parted into groups.
        """
        batch, channels, height, width = self.input_shapes[0]
        if self.operation in ("fully_connected", "softmax"):
            if (height, width) != (1, 1):
                raise BadInputError(f"{self.operation!r} takes images of 1x1 pixels: {self.key}.")
            return ((batch, channels),)
        if self.operation == "transpose":
            if channels % self.groups:
                raise BadInputError(f"The channels of {self.key} cannot be parted into {self.groups} groups.")
            return ((batch, self.groups, channels // self.groups, height, width),)
        if self.operation in PAIRWISE and _NUMBER in self.input_shapes[1:] and self.input_shapes[0] != _NUMBER:
            return (self.input_shapes[0], (1,))
        return self.input_shapes

    @property
    def is_part(self) -> bool:
        """Whether it stands for a part of other blocks: no architecture executes it beside them."""
        return self.operation == "relu"

    @property
    def repeatable(self) -> bool:
        """Whether its output can be the input of another such block: one input, and an output of the same shape."""
        keeps_size = self.stride == 1 and 2 * self.padding == self.dilation * (self.kernel - 1)
        keeps_channels = self.output_channels == self.input_shapes[0][1]
        return self.operation in _REPEATABLE and len(self.input_shapes) == 1 and keeps_size and keeps_channels

    def chain_key(self, copies: int) -> str:
        """Return the name of so many copies of the block in a row; only a `repeatable` one has chains."""
        return f"{self.key}*{copies}"

    def in_dtype(self, dtype: str) -> BlockSpec:
        """Return the same block computed with other numbers."""
        return replace(self, dtype=dtype)


def measurable(blocks: Iterable[BlockSpec], dtype: str) -> tuple[BlockSpec, ...]:
    """Return the blocks of which there are files in a number type, in that type.

    A ReLU by itself computes nothing new in integers: quantisers make it a part of what produces its input.
    """
    return tuple(block.in_dtype(dtype) for block in blocks if not (block.is_part and dtype == INT8))


CALL_OVERHEAD = BlockSpec("identity", ((1, 1, 1, 1),), output_channels=1)
"""A block that computes nothing: its latency is what one call of the runtime costs."""
