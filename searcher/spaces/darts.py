"""The DARTS search space: networks of normal and reduction cells, cut into blocks.

Stem Conv3x3-BN to three times the channels; cells, those at a third and at two thirds of the depth reduction cells;
head. All normal cells of a network are of one genotype, and so are both reduction cells. `darts_cell` has the genotype,
`darts_layout` the shapes and blocks of each cell.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from searcher.errors import BadInputError
from searcher.spaces.additive import AdditiveCounts
from searcher.spaces.architecture import Architecture
from searcher.spaces.block import CALL_OVERHEAD, BlockSpec, Shape
from searcher.spaces.counts import block_macs, block_parameters
from searcher.spaces.darts_cell import (
    EDGES,
    INPUTS,
    KINDS,
    OPERATIONS,
    POOLS,
    POSITIONS,
    Genotype,
    all_genotypes,
    cells_of,
    crossed,
    format_genotype,
    has_two_edges_a_node,
    mutated,
    parse_genotype,
    representative,
    sampled,
    two_edges_a_node,
)
from searcher.spaces.darts_extremes import cheapest_cell
from searcher.spaces.darts_layout import CellPlace, cell_places
from searcher.spaces.encodings import require_encodings
from searcher.spaces.extremes import Extremes, require_prices

STEM_MULTIPLIER = 3
LEAST_CELLS = 6
# Of each edge of a cell: whether it leads away from one of the inputs, which in a reduction cell have stride 2.
_FROM_INPUT = np.array([source < INPUTS for source, _ in EDGES])
_SOURCES = np.array([source for source, _ in EDGES])
_POOLS = [OPERATIONS.index(name) for name in POOLS]


@dataclass(frozen=True)
class DartsSpace:
    """DARTS's networks of one size; implements SearchSpace.

    From six cells on there are cells of both kinds at every width, so that networks of one width have the same blocks
    whatever their depth: one table does for all of them.

    Attributes:
        cells: in the whole network, at least 6: DARTS searches with 8 and trains with 20.
        channels: C of the first cells' nodes; each reduction cell doubles them. DARTS searches with 16, trains with 36.
        classes: outputs of the network.
        image_size: side of the square RGB images, divisible by 4.

    Raises:
        BadInputError: a size is too small, or the image cannot be halved twice.
    """

    cells: int = 20
    channels: int = 36
    classes: int = 10
    image_size: int = 32

    def __post_init__(self) -> None:
        if min(self.channels, self.classes, self.image_size) < 1:
            raise BadInputError(f"Every size of a DARTS network must be at least 1: {self}.")
        if self.cells < LEAST_CELLS:
            raise BadInputError(f"A DARTS network has at least {LEAST_CELLS} cells, not {self.cells}.")
        if self.image_size % 4:
            raise BadInputError(
                f"The image size {self.image_size} is not divisible by 4: a DARTS network halves it twice."
            )

    @property
    def name(self) -> str:
        """The name that its architectures carry."""
        return "darts"

    @property
    def image_shape(self) -> Shape:
        """(1, 3, H, W) of an image."""
        return (1, 3, self.image_size, self.image_size)

    def parse(self, text: str) -> Architecture:
        """Read a genotype as DARTS prints it, such as `Genotype(normal=[('sep_conv_3x3', 0), …], …)`.

        Raises:
            BadInputError: the text is no such genotype; the message quotes it.
        """
        return Architecture(self.name, parse_genotype(text))

    def format(self, architecture: Architecture) -> str:
        """Write a genotype as DARTS prints it, the edges into a node by what they come from."""
        return format_genotype(self._genotype(architecture))

    def sample(self, generator: np.random.Generator) -> Architecture:
        """Draw one of the 1.1e18 architectures uniformly."""
        return Architecture(self.name, sampled(generator))

    def mutate(self, architecture: Architecture, rate: float, generator: np.random.Generator) -> Architecture:
        """Replace which two edges lead into a node, and what each of them does, with probability `rate` each.

        Raises:
            BadInputError: `rate` is not between 0 and 1.
        """
        return Architecture(self.name, mutated(self._genotype(architecture), rate, generator))

    def crossover(self, first: Architecture, second: Architecture, generator: np.random.Generator) -> Architecture:
        """Take the edges into each node from one parent or the other with equal probability."""
        return Architecture(self.name, crossed(self._genotype(first), self._genotype(second), generator))

    def architectures(self) -> Iterator[Architecture]:
        """Yield all architectures in lexicographic order; nobody can wait for the last."""
        return (Architecture(self.name, genotype) for genotype in all_genotypes())

    def is_connected(self, architecture: Architecture) -> bool:
        """Return True: two operations lead into each node, and all nodes are part of the output."""
        self._genotype(architecture)
        return True

    def score_key(self, architecture: Architecture) -> str:
        """Return the text of the representative; never use it for latency."""
        return self.format(self.representative(architecture))

    def representative(self, architecture: Architecture) -> Architecture:
        """Return the first architecture, in lexicographic order, that differs only in how nodes are numbered."""
        return Architecture(self.name, representative(self._genotype(architecture)))

    def blocks(self, architecture: Architecture) -> Mapping[BlockSpec, int]:
        """Return how often a runtime executes each block in one pass.

        Equal pools of one value are executed once, as NAS-Bench-201's are.
        """
        counts = self.block_counts(np.array([self._genotype(architecture)]))[0]
        found = zip(self._all_blocks, counts.tolist(), strict=True)
        return {spec: count for spec, count in found if count and spec != CALL_OVERHEAD}

    def all_blocks(self) -> tuple[BlockSpec, ...]:
        """Return the blocks that a table must hold, 49 of them, the call overhead among them."""
        return self._all_blocks

    def block_counts(self, genotypes: NDArray[np.integer[Any]]) -> NDArray[np.int32]:
        """Return how often each of many architectures executes each block: `blocks` for a whole population.

        Args:
            genotypes: (n, 28), one architecture a row.

        Returns:
            (n, 49): columns in the order of `all_blocks`, that of the call overhead 1 everywhere.

        Raises:
            BadInputError: the array has another shape, holds no integers, a gene is out of range, or a node has not
                exactly two edges.
        """
        require_encodings(genotypes, POSITIONS, len(OPERATIONS), self.name)
        if not two_edges_a_node(genotypes).all():
            raise BadInputError(f"architectures of {self.name} have exactly two edges into each node")
        # An edge's genes side by side as bytes, and floats, which hold these integers exactly: both many times faster.
        per_cell = np.ascontiguousarray(genotypes.T, dtype=np.int8).reshape(len(KINDS), len(EDGES), len(genotypes))
        executed = np.zeros((*self._executions.shape[:3], len(genotypes)), np.float32)
        for kind, from_input, operation in itertools.product(range(len(KINDS)), (0, 1), range(1, len(OPERATIONS))):
            at = per_cell[kind] == operation
            executed[kind, from_input, operation] = _executed(at, operation, bool(from_input))
        per_execution = self._executions.reshape(-1, len(self._all_blocks)).astype(np.float32)
        varying = executed.reshape(len(per_execution), len(genotypes)).T @ per_execution
        counts: NDArray[np.int32] = (self._base.astype(np.float32) + varying).astype(np.int32)
        return counts

    def extremes(self, block_ms: NDArray[np.float64]) -> Extremes:
        """Return the architectures that cost least and most.

        Normal and reduction cells have nothing in common; in either, dynamic programming over the nodes has to know
        which pools of which values are paid already.

        Args:
            block_ms: (49,) what one execution of each of `all_blocks()` costs, in ms; may be negative.

        Raises:
            BadInputError: `block_ms` has another shape or holds what is not finite.
        """
        require_prices(block_ms, len(self._all_blocks))
        prices = self.additive_counts().choices @ block_ms
        by_kind = prices.reshape(len(KINDS), len(EDGES), len(OPERATIONS))
        found = []
        for sign in (1, -1):
            cells = [cheapest_cell(sign * of_kind) for of_kind in by_kind]
            found.append(Architecture(self.name, cells[0] + cells[1]))
        return Extremes(*found)

    def additive_counts(self) -> AdditiveCounts:
        """Return the blocks that each operation adds on each edge, in all cells of its kind.

        The sum is exact but for equal pools of one value, which are executed once and counted each. What brings inputs
        to a cell's channels, the adds and what joins the nodes are the same for all architectures.
        """
        choices = self._executions[:, _FROM_INPUT.astype(int)]
        return AdditiveCounts(self._base.copy(), choices.reshape(POSITIONS, len(OPERATIONS), -1).astype(np.float64))

    def parameters(self, architecture: Architecture) -> int:
        """Return the network's trainable parameters, without DARTS's auxiliary head."""
        return sum(count * block_parameters(spec) for spec, count in self.blocks(architecture).items())

    def macs(self, architecture: Architecture) -> int:
        """Return the multiply-accumulates of one image: convolutions and the fully connected layer."""
        return sum(count * block_macs(spec) for spec, count in self.blocks(architecture).items())

    def cell(self, architecture: Architecture, reduction: bool) -> tuple[tuple[str, int, int], ...]:
        """Return the eight edges of a cell: operation, what it is of, and the node that it leads to.

        Inputs are 0 and 1, nodes 2 to 5; the edges are in the order of the genotype.
        """
        genes = cells_of(self._genotype(architecture))[int(reduction)]
        return tuple((OPERATIONS[gene], *edge) for gene, edge in zip(genes, EDGES, strict=True) if gene)

    @cached_property
    def cell_places(self) -> tuple[CellPlace, ...]:
        """The cells, from the stem to the head."""
        stem = (1, self.stem.output_channels, self.image_size, self.image_size)
        return cell_places(stem, self.channels, self.cells)

    @property
    def feature_cells(self) -> tuple[int, int, int]:
        """The cells whose outputs are the network's three feature maps: the last one of each resolution."""
        return self.cells // 3 - 1, 2 * self.cells // 3 - 1, self.cells - 1

    @property
    def stem(self) -> BlockSpec:
        """The first block, from the RGB image to three times the channels."""
        return BlockSpec("conv_bn", (self.image_shape,), STEM_MULTIPLIER * self.channels, kernel=3, padding=1)

    @property
    def head(self) -> BlockSpec:
        """The last block, from the last cell's output to the classes."""
        return BlockSpec("pool_head", (self.cell_places[-1].output_shape,), self.classes)

    @cached_property
    def _all_blocks(self) -> tuple[BlockSpec, ...]:
        found = dict.fromkeys((CALL_OVERHEAD, self.stem, self.head))
        for place in dict.fromkeys(self.cell_places):
            operations = (place.operation(name, source) for source in (0, INPUTS) for name in OPERATIONS)
            found.update(dict.fromkeys((*place.skeleton, *(spec for spec in operations if spec is not None))))
        return tuple(found)

    @cached_property
    def _base(self) -> NDArray[np.float64]:
        """(B,) executions that no operation changes."""
        executed = Counter([CALL_OVERHEAD, self.stem, self.head])
        for place in self.cell_places:
            executed.update(place.skeleton)
        return np.array([executed[spec] for spec in self._all_blocks], np.float64)

    @cached_property
    def _executions(self) -> NDArray[np.int32]:
        """(2, 2, 8, B) executions, by kind of cell, whether of an input, and operation, in all cells of the kind."""
        rows = {spec: row for row, spec in enumerate(self._all_blocks)}
        counts = np.zeros((len(KINDS), 2, len(OPERATIONS), len(rows)), np.int32)
        for place in self.cell_places:
            for index, name in enumerate(OPERATIONS):
                for from_input, source in enumerate((INPUTS, 0)):
                    spec = place.operation(name, source)
                    if spec is not None:
                        counts[int(place.reduction), from_input, index, rows[spec]] += 1
        return counts

    def _genotype(self, architecture: Architecture) -> Genotype:
        genotype = architecture.genotype
        known = architecture.space == self.name and len(genotype) == POSITIONS
        if not (known and all(0 <= gene < len(OPERATIONS) for gene in genotype) and has_two_edges_a_node(genotype)):
            raise BadInputError(f"{architecture} is not an architecture of {self.name}.")
        return genotype


def _executed(at: NDArray[np.bool_], operation: int, from_input: bool) -> NDArray[np.int8]:
    """Count how often an operation is executed on inputs, or on nodes, of a cell.

    Args:
        at: (14, n) whether an edge has the operation.
        operation: its index.
        from_input: whether edges from inputs are counted, or those from nodes.
    """
    edges = np.flatnonzero(_FROM_INPUT) if from_input else np.flatnonzero(~_FROM_INPUT)
    rows = at[edges]
    if operation in _POOLS:
        rows = np.array([rows[_SOURCES[edges] == source].any(axis=0) for source in np.unique(_SOURCES[edges])])
    counts: NDArray[np.int8] = rows.sum(axis=0, dtype=np.int8)
    return counts
