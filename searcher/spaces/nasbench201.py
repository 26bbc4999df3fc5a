"""The NAS-Bench-201 search space: cells of six edges in a fixed macro skeleton, cut into blocks.

The skeleton: stem conv3x3-BN to C channels; N cells at C; a residual reduction to 2C; N cells; a reduction to 4C;
N cells; head. Source: Dong and Yang, "NAS-Bench-201", ICLR 2020, section 2.1 and the authors' code.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from searcher.errors import BadInputError
from searcher.spaces.additive import AdditiveCounts
from searcher.spaces.architecture import Architecture
from searcher.spaces.block import CALL_OVERHEAD, BlockSpec, Shape
from searcher.spaces.cell import (
    AVG_POOL,
    CONV_1X1,
    CONV_3X3,
    CONVOLUTIONS,
    EDGES,
    NONE,
    OPERATIONS,
    all_genotypes,
    format_cell,
    parse_cell,
    score_key,
)
from searcher.spaces.cell_counts import cell_counts
from searcher.spaces.computation import ADD, COUNTED, Computation, computation
from searcher.spaces.counts import block_macs, block_parameters
from searcher.spaces.encodings import require_encodings
from searcher.spaces.extremes import Extremes, require_prices
from searcher.spaces.fusion import UNFUSED, Fusion, head_relus, network_relus
from searcher.spaces.moves import crossed, mutated, sampled
from searcher.spaces.training_classes import trained_as

STAGES = 3
# Cells that are counted at once: what that takes beside the result stays in a processor's second cache.
_CELLS_AT_ONCE = 4096


@dataclass(frozen=True)
class NasBench201:
    """NAS-Bench-201 with its skeleton's sizes; implements SearchSpace.

    Attributes:
        cells_per_stage: N, cells in each of the three stages.
        channels: C, of the first stage; the others have 2C and 4C.
        classes: outputs of the network.
        image_size: side of the square RGB images, divisible by 4.
        fusion: what the runtime does with ReLUs, if that is known; unless it is, networks have as many as their blocks.

    Raises:
        BadInputError: a size is not positive, or the image cannot be halved twice.
    """

    cells_per_stage: int = 5
    channels: int = 16
    classes: int = 10
    image_size: int = 32
    # No part of what a network computes, and so of no name that is made of this.
    fusion: Fusion = field(default=UNFUSED, repr=False)

    def __post_init__(self) -> None:
        if min(self.cells_per_stage, self.channels, self.classes, self.image_size) < 1:
            raise BadInputError(f"Every size of a NAS-Bench-201 network must be at least 1: {self}.")
        if self.image_size % 4:
            raise BadInputError(
                f"The image size {self.image_size} is not divisible by 4: a NAS-Bench-201 network halves it twice."
            )

    @property
    def name(self) -> str:
        """The name that its architectures carry."""
        return "nasbench201"

    @property
    def image_shape(self) -> Shape:
        """(1, 3, H, W) of an image."""
        return (1, 3, self.image_size, self.image_size)

    def parse(self, text: str) -> Architecture:
        """Read a cell exactly as the benchmark writes it.

        Raises:
            BadInputError: the text is no such cell; the message quotes it.
        """
        return Architecture(self.name, parse_cell(text))

    def format(self, architecture: Architecture) -> str:
        """Write the cell exactly as the benchmark does."""
        return format_cell(self._genotype(architecture))

    def sample(self, generator: np.random.Generator) -> Architecture:
        """Draw one of the 15,625 cells uniformly."""
        return Architecture(self.name, sampled(len(EDGES), len(OPERATIONS), generator))

    def mutate(self, architecture: Architecture, rate: float, generator: np.random.Generator) -> Architecture:
        """Replace each edge's operation, with probability `rate`, by one of the other four drawn uniformly.

        Raises:
            BadInputError: `rate` is not between 0 and 1.
        """
        return Architecture(self.name, mutated(self._genotype(architecture), len(OPERATIONS), rate, generator))

    def crossover(self, first: Architecture, second: Architecture, generator: np.random.Generator) -> Architecture:
        """Take each edge's operation from one parent or the other with equal probability."""
        return Architecture(self.name, crossed(self._genotype(first), self._genotype(second), generator))

    def architectures(self) -> Iterator[Architecture]:
        """Yield all 15,625 cells in the benchmark's order."""
        return (Architecture(self.name, genotype) for genotype in all_genotypes())

    def is_connected(self, architecture: Architecture) -> bool:
        """Tell whether a path without `none` leads from the cell's input to its output (all but 341 cells)."""
        return self.computation(architecture).text != "0"

    def score_key(self, architecture: Architecture) -> str:
        """Return the benchmark's own unique string, of which there are 6,466; never use it for latency."""
        return score_key(self._genotype(architecture))

    def representative(self, architecture: Architecture) -> Architecture:
        """Return the one cell that is trained for all of the same `score_key`, and for all that compute the same."""
        return Architecture(self.name, trained_as(self._genotype(architecture)))

    def operations(self, architecture: Architecture) -> tuple[str, ...]:
        """Return the names of the operations on the cell's six edges, in the order of its text."""
        return tuple(OPERATIONS[gene] for gene in self._genotype(architecture))

    def computation(self, architecture: Architecture) -> Computation:
        """Return what a runtime executes of one cell; latency is computed from this."""
        return computation(self._genotype(architecture))

    def blocks(self, architecture: Architecture) -> Mapping[BlockSpec, int]:
        """Return how often a runtime executes each block in one pass.

        A ReLU that a convolution has as a block, and that the runtime merges with another or makes a part of what comes
        before it, is a negative number of the block `relu`. The output of a disconnected cell's network is a constant,
        so nothing is executed and the mapping is empty.
        """
        executed = self.computation(architecture)
        if executed.text == "0":
            return {}
        blocks = Counter(self.skeleton)
        relus = network_relus(self._genotype(architecture), self.fusion, self.cells_per_stage)
        for stage in range(STAGES):
            for operation, count in executed.operations:
                blocks[self.cell_block(operation, stage)] += count * self.cells_per_stage
            convolutions = sum(count for operation, count in executed.operations if operation in CONVOLUTIONS)
            blocks[self.relu_block(stage)] = relus[stage] - convolutions * self.cells_per_stage
        return {spec: count for spec, count in blocks.items() if count}

    def relus(self, architecture: Architecture) -> int:
        """Return how many ReLUs the runtime executes by themselves in cells and head, under the space's fusion."""
        genotype = self._genotype(architecture)
        in_cells = network_relus(genotype, self.fusion, self.cells_per_stage)
        return sum(in_cells) + head_relus(genotype, self.fusion)

    def all_blocks(self) -> tuple[BlockSpec, ...]:
        """Return the blocks that a table must hold: 20, the call overhead among them."""
        cells = (self.cell_block(operation, stage) for stage in range(STAGES) for operation in COUNTED)
        relus = (self.relu_block(stage) for stage in range(STAGES))
        return (CALL_OVERHEAD, *self.skeleton, *cells, *relus)

    def block_counts(self, genotypes: NDArray[np.integer[Any]]) -> NDArray[np.int32]:
        """Return how often a runtime executes each block of many architectures, worked out from their encodings.

        Args:
            genotypes: (n, 6) indices of operations.

        Returns:
            (n, 20) counts, a column for each of `all_blocks()`. That of the call is 1 in every row; the others are
            those of `blocks`, so all 0 for a disconnected cell.

        Raises:
            BadInputError: the array has another shape, is not of integers, or holds an operation that there is not.
        """
        require_encodings(genotypes, len(EDGES), len(OPERATIONS), self.name)
        skeleton = len(self.skeleton)
        cells = 1 + skeleton + STAGES * len(COUNTED)
        counts = np.empty((len(genotypes), cells + STAGES), np.int32)
        counts[:, 0] = 1
        for start in range(0, len(genotypes), _CELLS_AT_ONCE):
            rows = slice(start, start + _CELLS_AT_ONCE)
            counted = cell_counts(genotypes[rows].astype(np.uint8), self.fusion)
            counts[rows, 1 : 1 + skeleton] = counted.live[:, None]
            in_a_stage = counted.operations.astype(np.int32) * self.cells_per_stage
            counts[rows, 1 + skeleton : cells] = np.tile(in_a_stage, (1, STAGES))
            counts[rows, cells:] = counted.saved_relus(self.cells_per_stage)
        return counts

    def extremes(self, block_ms: NDArray[np.float64]) -> Extremes:
        """Return the connected cells that cost least and most; of equal ones the first in lexicographic order.

        Every cell is counted, which takes some milliseconds. Dynamic programming over the nodes would save next to
        nothing: what an edge costs depends on which values there are already (pools of one value are paid once), on
        whether its node reaches the output, and on how many operands the sum has, so that the state after node 2
        would be nearly the whole choice of the edges before.

        Args:
            block_ms: (20,) what one execution of each of `all_blocks()` costs, in ms; may be negative.

        Raises:
            BadInputError: `block_ms` has another shape or holds what is not finite.
        """
        require_prices(block_ms, len(self.all_blocks()))
        genotypes = np.indices((len(OPERATIONS),) * len(EDGES), dtype=np.uint8).reshape(len(EDGES), -1).T
        counts = self.block_counts(genotypes)
        connected = counts[:, 1] > 0  # the stem
        latencies = counts[connected] @ block_ms
        least, most = (genotypes[connected][index] for index in (latencies.argmin(), latencies.argmax()))
        return Extremes(*(Architecture(self.name, tuple(genotype.tolist())) for genotype in (least, most)))

    def additive_counts(self) -> AdditiveCounts:
        """Return what each operation adds on each edge where all edges are live and no pools are merged.

        Each edge into a node of k edges has (k - 1) ÷ k of an add, so that a full node's adds are counted exactly.
        """
        blocks = self.all_blocks()
        base = np.array([block == CALL_OVERHEAD or block in self.skeleton for block in blocks], np.float64)
        choices = np.zeros((len(EDGES), len(OPERATIONS), len(blocks)))
        for edge, (_, target) in enumerate(EDGES):
            for stage, (gene, operation) in itertools.product(range(STAGES), enumerate(OPERATIONS)):
                if operation in COUNTED:
                    choices[edge, gene, blocks.index(self.cell_block(operation, stage))] = self.cells_per_stage
                if operation != NONE:
                    share = (target - 1) / target  # node k has k edges
                    choices[edge, gene, blocks.index(self.cell_block(ADD, stage))] = share * self.cells_per_stage
        return AdditiveCounts(base, choices)

    def counted_blocks(self, architecture: Architecture) -> Mapping[BlockSpec, int]:
        """Return the blocks that the benchmark counts: those of all six edges of a cell, also the dead ones.

        Adds are not among them, having neither parameters nor multiply-accumulates.
        """
        blocks = Counter(self.skeleton)
        for operation in self.operations(architecture):
            if operation in COUNTED:
                for stage in range(STAGES):
                    blocks[self.cell_block(operation, stage)] += self.cells_per_stage
        return blocks

    def parameters(self, architecture: Architecture) -> int:
        """Return the network's trainable parameters as the benchmark counts them, dead edges included."""
        counted = self.counted_blocks(architecture)
        return sum(count * block_parameters(spec) for spec, count in counted.items())

    def macs(self, architecture: Architecture) -> int:
        """Return the multiply-accumulates of one image, convolutions and linear layer, dead edges included."""
        counted = self.counted_blocks(architecture)
        return sum(count * block_macs(spec) for spec, count in counted.items())

    def cell_block(self, operation: str, stage: int) -> BlockSpec:
        """Return the block of one operation inside a cell.

        Args:
            operation: nor_conv_1x1, nor_conv_3x3, avg_pool_3x3 or add.
            stage: 0, 1 or 2.

        Raises:
            BadInputError: the operation computes nothing or is unknown.
        """
        shape = self.stage_shape(stage)
        channels = shape[1]
        if operation == CONV_1X1:
            return BlockSpec("relu_conv_bn", (shape,), channels, kernel=1)
        if operation == CONV_3X3:
            return BlockSpec("relu_conv_bn", (shape,), channels, kernel=3, padding=1)
        if operation == AVG_POOL:
            return BlockSpec("avg_pool", (shape,), channels, kernel=3, padding=1)
        if operation == ADD:
            return BlockSpec("add", (shape, shape), channels)
        raise BadInputError(f"The cell operation {operation!r} has no block.")

    def relu_block(self, stage: int) -> BlockSpec:
        """Return the block of a ReLU by itself inside a stage (0, 1 or 2)."""
        shape = self.stage_shape(stage)
        return BlockSpec("relu", (shape,), shape[1])

    def stage_shape(self, stage: int) -> Shape:
        """Return (1, C, H, W) of the feature maps inside a stage (0, 1 or 2)."""
        size = self.image_size >> stage
        return (1, self.channels << stage, size, size)

    @property
    def stem(self) -> BlockSpec:
        """The first block, from the RGB image to C channels."""
        return BlockSpec("conv_bn", (self.image_shape,), self.channels, kernel=3, padding=1)

    @property
    def reductions(self) -> tuple[BlockSpec, ...]:
        """The residual reductions between the stages."""
        shapes = [self.stage_shape(stage) for stage in range(STAGES - 1)]
        return tuple(
            BlockSpec("residual_reduction", (shape,), 2 * shape[1], kernel=3, stride=2, padding=1) for shape in shapes
        )

    @property
    def head(self) -> BlockSpec:
        """The last block, from the last stage's features to the classes."""
        return BlockSpec("head", (self.stage_shape(STAGES - 1),), self.classes)

    @property
    def skeleton(self) -> tuple[BlockSpec, ...]:
        """What every connected network has once: stem, reductions and head."""
        return (self.stem, *self.reductions, self.head)

    def _genotype(self, architecture: Architecture) -> tuple[int, ...]:
        genotype = architecture.genotype
        known = architecture.space == self.name and len(genotype) == len(EDGES)
        if not (known and all(0 <= gene < len(OPERATIONS) for gene in genotype)):
            raise BadInputError(f"{architecture} is not an architecture of {self.name}.")
        return genotype
