"""The cells of a DARTS network: where each stands, the shapes that go in and come out, and the blocks that it executes.

Source: Liu, Simonyan and Yang, "DARTS: Differentiable Architecture Search", ICLR 2019, with the authors' code. Cells at
a third and at two thirds of the depth halve the resolution and double the channels. A cell first brings both of its
inputs to its own channels, by ReLU-Conv1x1-BN; where the cell before was a reduction, its first input has the double
resolution and goes through a factorised reduction instead. In a reduction cell the operations on the two inputs have
stride 2. A skip of stride 2 is a factorised reduction, which has weights; one of stride 1 computes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

from searcher.spaces.block import BlockSpec, Shape
from searcher.spaces.darts_cell import AVG_POOL, INPUTS, MAX_POOL, NODES, NONE, SKIP

_POOLS = {MAX_POOL: "max_pool", AVG_POOL: "avg_pool"}
# Operation, kernel and padding.
_CONVOLUTIONS = {
    "sep_conv_3x3": ("sep_conv", 3, 1),
    "sep_conv_5x5": ("sep_conv", 5, 2),
    "dil_conv_3x3": ("dil_conv", 3, 2),
    "dil_conv_5x5": ("dil_conv", 5, 4),
}


@dataclass(frozen=True)
class CellPlace:
    """One cell of a network.

    Attributes:
        reduction: whether it halves the resolution.
        before: (1, C, H, W) of its first input, the output of the cell before the last one.
        last: (1, C, H, W) of its second input, the last cell's output.
        channels: of each of its nodes.
    """

    reduction: bool
    before: Shape
    last: Shape
    channels: int

    @property
    def input_shape(self) -> Shape:
        """(1, C, H, W) of both inputs when they have the cell's channels."""
        return (1, self.channels, *self.last[2:])

    @property
    def node_shape(self) -> Shape:
        """(1, C, H, W) of each node."""
        size = self.last[2] // 2 if self.reduction else self.last[2]
        return (1, self.channels, size, size)

    @property
    def output_shape(self) -> Shape:
        """(1, 4C, H, W) of its output."""
        return (1, NODES * self.channels, *self.node_shape[2:])

    @property
    def preprocessing(self) -> tuple[BlockSpec, BlockSpec]:
        """The blocks that bring the two inputs to the cell's channels."""
        second = BlockSpec("relu_conv_bn", (self.last,), self.channels)
        if self.before[2] == self.last[2]:
            return BlockSpec("relu_conv_bn", (self.before,), self.channels), second
        return _factorised_reduction(self.before, self.channels), second

    @property
    def add(self) -> BlockSpec:
        """The sum of a node's two operations."""
        return BlockSpec("add", (self.node_shape,) * 2, self.channels)

    @property
    def concat(self) -> BlockSpec:
        """What makes one output of the nodes."""
        return BlockSpec("concat", (self.node_shape,) * NODES, NODES * self.channels)

    @property
    def skeleton(self) -> tuple[BlockSpec, ...]:
        """What the cell executes whatever its operations are, as often as it does."""
        return (*self.preprocessing, *(self.add,) * NODES, self.concat)

    def stride(self, source: int) -> int:
        """Return the stride of an operation on an input (0 or 1) or on a node (2 to 4)."""
        return 2 if self.reduction and source < INPUTS else 1

    def operation(self, name: str, source: int) -> BlockSpec | None:
        """Return the block of an operation on an input or on a node; None for what computes nothing.

        Args:
            name: one of `darts_cell.OPERATIONS`.
            source: 0 or 1 for an input, 2 to 4 for a node.
        """
        shape, stride = self.input_shape if source < INPUTS else self.node_shape, self.stride(source)
        if name == NONE or (name == SKIP and stride == 1):
            return None
        if name == SKIP:
            return _factorised_reduction(shape, self.channels)
        operation, kernel, padding = (_POOLS[name], 3, 1) if name in _POOLS else _CONVOLUTIONS[name]
        return BlockSpec(operation, (shape,), self.channels, kernel, stride, padding)


def _factorised_reduction(shape: Shape, channels: int) -> BlockSpec:
    return BlockSpec("factorised_reduction", (shape,), channels, stride=2)


def cell_places(stem: Shape, channels: int, cells: int) -> tuple[CellPlace, ...]:
    """Return the cells of a network, from the stem to the head.

    Args:
        stem: (1, C, H, W) of the stem's output, which is both inputs of the first cell.
        channels: of the first cells' nodes.
        cells: how many there are.
    """
    before, last = stem, stem
    places: list[CellPlace] = []
    for index in range(cells):
        reduction = index in (cells // 3, 2 * cells // 3)
        channels *= 2 if reduction else 1
        places.append(CellPlace(reduction, before, last, channels))
        before, last = last, places[-1].output_shape
    return tuple(places)
