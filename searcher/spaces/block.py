"""The smallest thing that is measured on a device: what one block computes, and its key in a table.

A block is described by what it computes alone. This file knows nothing of weights, files, runtimes or layouts.

The operations:

| operation            | what it computes                                                                        |
|----------------------|-----------------------------------------------------------------------------------------|
| `conv_bn`            | Conv (no bias), BN                                                                      |
| `relu_conv_bn`       | ReLU, Conv (no bias), BN                                                                |
| `relu`               | ReLU alone                                                                              |
| `avg_pool`           | average pooling that does not count the padding                                         |
| `add`                | sum of two inputs                                                                       |
| `residual_reduction` | ReLU-Conv3x3/2-BN, ReLU-Conv3x3-BN, plus the shortcut AvgPool2x2/2, Conv1x1 (no bias)   |
| `head`               | BN, ReLU, global average pool, fully connected layer with bias                          |
| `identity`           | nothing: what is left is the price of calling the runtime                               |
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from searcher.errors import BadInputError

Shape = tuple[int, int, int, int]

FP32, FP16, INT8 = "fp32", "fp16", "int8"
DTYPES = (FP32, FP16, INT8)

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
        activation: activation fused after the operation, such as `relu`, or None. A ReLU that the operation's
            own name speaks of is no part of it.
        dtype: numbers that it computes with: one of DTYPES, though nothing here depends on it.

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

    def __post_init__(self) -> None:
        words = [self.operation, self.dtype] + ([] if self.activation is None else [self.activation])
        for word in words:
            if not _WORD.fullmatch(word):
                raise BadInputError(f"{word!r} cannot be part of a block's key: use a-z, 0-9 and _.")
        sizes = [self.output_channels, self.kernel, self.stride, self.groups]
        for shape in self.input_shapes:
            sizes.extend(shape)
        four_each = all(len(shape) == 4 for shape in self.input_shapes)
        if not (self.input_shapes and four_each and min(sizes) > 0 and self.padding >= 0):
            raise BadInputError(f"The block {self.operation!r} has a size that is missing or not positive: {self}.")

    @property
    def key(self) -> str:
        """Return the block's name in tables, job files and file names; different blocks have different keys.

        The form is `operation-kK-sS-pP-gG-SHAPES-toC[-activation]-dtype`, where SHAPES is `NxCxHxW` of each
        input joined by `+`: `relu_conv_bn-k3-s1-p1-g1-1x16x32x32-to16-fp32`.
        """
        shapes = "+".join("x".join(str(size) for size in shape) for shape in self.input_shapes)
        numbers = f"k{self.kernel}-s{self.stride}-p{self.padding}-g{self.groups}-{shapes}-to{self.output_channels}"
        activation = "" if self.activation is None else f"-{self.activation}"
        return f"{self.operation}-{numbers}{activation}-{self.dtype}"

    def in_dtype(self, dtype: str) -> BlockSpec:
        """Return the same block computed with other numbers."""
        return replace(self, dtype=dtype)


CALL_OVERHEAD = BlockSpec("identity", ((1, 1, 1, 1),), output_channels=1)
"""A block that computes nothing: its latency is what one call of the runtime costs."""
