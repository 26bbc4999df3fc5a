"""The two cells of a DARTS architecture: their edges, their text, and moves that leave two edges into each node.

A cell has two inputs (0 is what the cell before the last one gave, 1 what the last one gave) and four nodes, 2 to 5.
A node is the sum of two operations on two different earlier nodes or inputs; the cell's output is the channels of all
nodes, one after the other. A genotype holds one operation's index for each of the 14 edges, in the order 0→2, 1→2, 0→3,
1→3, 2→3, 0→4, …, first those of the normal cell, then those of the reduction cell; an edge that is not there is `none`.

Source: Liu, Simonyan and Yang, "DARTS: Differentiable Architecture Search", ICLR 2019, with the authors' code, whose
text of a genotype this is.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from searcher.errors import BadInputError

Genotype = tuple[int, ...]

NONE, MAX_POOL, AVG_POOL, SKIP = "none", "max_pool_3x3", "avg_pool_3x3", "skip_connect"
SEP_CONV_3X3, SEP_CONV_5X5, DIL_CONV_3X3, DIL_CONV_5X5 = "sep_conv_3x3", "sep_conv_5x5", "dil_conv_3x3", "dil_conv_5x5"
OPERATIONS = (NONE, MAX_POOL, AVG_POOL, SKIP, SEP_CONV_3X3, SEP_CONV_5X5, DIL_CONV_3X3, DIL_CONV_5X5)
POOLS = (MAX_POOL, AVG_POOL)
INPUTS = 2
NODES = 4
EDGES = tuple((source, target) for target in range(INPUTS, INPUTS + NODES) for source in range(target))
KINDS = ("normal", "reduce")
POSITIONS = len(KINDS) * len(EDGES)

# For each node, the places of its edges in a cell's part of the genotype.
NODE_EDGES = tuple(
    tuple(place for place, edge in enumerate(EDGES) if edge[1] == node) for node in range(INPUTS, INPUTS + NODES)
)

_LONGEST_QUOTE = 160
_EDGE = r"\('([a-z0-9_]+)', ([0-4])\)"
_CELL = ", ".join([_EDGE] * (2 * NODES))
_CONCAT = r"(?:range\(2, 6\)|\[2, 3, 4, 5\])"
_TEXT = re.compile(
    rf"Genotype\(normal=\[{_CELL}\], normal_concat={_CONCAT}, reduce=\[{_CELL}\], reduce_concat={_CONCAT}\)"
)
_PAIRS = tuple(tuple(itertools.combinations(range(len(edges)), 2)) for edges in NODE_EDGES)
_KEPT = len(OPERATIONS) - 1


def parse_genotype(text: str) -> Genotype:
    """Read a genotype as DARTS prints it.

    The two edges of a node may come in either order, and the nodes to join as a range or as a list.

    Args:
        text: such as `Genotype(normal=[('sep_conv_3x3', 0), …], normal_concat=range(2, 6), reduce=[…], …)`.

    Raises:
        BadInputError: anything else; the message quotes the text's beginning and says what is wrong with it.
    """
    match = _TEXT.fullmatch(text)
    if match is None:
        raise _no_genotype(
            text,
            "it needs normal=[…] and reduce=[…] with eight pairs ('operation', source) each, every normal_concat and "
            "reduce_concat being range(2, 6)",
        )
    words = match.groups()
    pairs = [(operation, int(source)) for operation, source in zip(words[::2], words[1::2], strict=True)]
    genes = [0] * POSITIONS
    for place, (operation, source) in enumerate(pairs):
        kind, node = divmod(place // 2, NODES)
        if operation not in OPERATIONS[1:]:
            raise _no_genotype(text, f"there is no operation {operation!r}, only {', '.join(OPERATIONS[1:])}")
        if source >= INPUTS + node:
            raise _no_genotype(text, f"node {INPUTS + node} comes before what its edge from {source} needs")
        gene = kind * len(EDGES) + NODE_EDGES[node][source]
        if genes[gene]:
            raise _no_genotype(text, f"both edges into node {INPUTS + node} come from {source}")
        genes[gene] = OPERATIONS.index(operation)
    return tuple(genes)


def _no_genotype(text: str, reason: str) -> BadInputError:
    # A file read by mistake can be megabytes long; its beginning is enough to recognise it.
    quoted = repr(text if len(text) <= _LONGEST_QUOTE else text[:_LONGEST_QUOTE] + "…")
    return BadInputError(f"{quoted} is not a DARTS genotype: {reason}.")


def format_genotype(genes: Sequence[int]) -> str:
    """Write a genotype as DARTS prints it, the edges into a node by what they come from."""
    cells = [
        ", ".join(f"('{OPERATIONS[gene]}', {source})" for gene, (source, _) in zip(cell, EDGES, strict=True) if gene)
        for cell in cells_of(genes)
    ]
    parts = (f"{kind}=[{cell}], {kind}_concat=range(2, 6)" for kind, cell in zip(KINDS, cells, strict=True))
    return f"Genotype({', '.join(parts)})"


def cells_of(genes: Sequence[int]) -> tuple[Genotype, Genotype]:
    """Return the genes of the normal cell and of the reduction cell."""
    return tuple(genes[: len(EDGES)]), tuple(genes[len(EDGES) :])


def has_two_edges_a_node(genes: Sequence[int]) -> bool:
    """Tell whether each node has exactly two edges that are not `none`."""
    return all(sum(cell[edge] != 0 for edge in edges) == 2 for cell in cells_of(genes) for edges in NODE_EDGES)


def two_edges_a_node(genotypes: NDArray[np.integer[Any]]) -> NDArray[np.bool_]:
    """Return (n,) whether each node has exactly two edges that are not `none`, of (n, 28) genes."""
    there = np.ascontiguousarray((genotypes != 0).T).reshape(len(KINDS), len(EDGES), len(genotypes))
    into = np.stack([there[:, list(edges)].sum(axis=1, dtype=np.int8) for edges in NODE_EDGES])
    two: NDArray[np.bool_] = (into == 2).all(axis=(0, 1))
    return two


def all_cells() -> Iterator[Genotype]:
    """Yield all 1,037,664,180 cells in lexicographic order; nobody can wait for the last."""
    return (tuple(itertools.chain.from_iterable(nodes)) for nodes in itertools.product(*_nodes()))


def all_genotypes() -> Iterator[Genotype]:
    """Yield all pairs of cells in lexicographic order, lazily."""
    return (normal + reduce for normal in all_cells() for reduce in all_cells())


@cache
def _nodes() -> tuple[tuple[Genotype, ...], ...]:
    """Return, for each node, the operations that its edges can have, in lexicographic order."""
    return tuple(
        tuple(sorted(_node(len(edges), pair, kept) for pair in pairs for kept in _operations()))
        for edges, pairs in zip(NODE_EDGES, _PAIRS, strict=True)
    )


def _operations() -> Iterator[tuple[int, int]]:
    return ((first, second) for first in range(1, 1 + _KEPT) for second in range(1, 1 + _KEPT))


def _node(edges: int, pair: tuple[int, int], operations: tuple[int, int]) -> Genotype:
    genes = [0] * edges
    for place, operation in zip(pair, operations, strict=True):
        genes[place] = operation
    return tuple(genes)


# What a move changes: of each node the pair of its edges, and what either of them does.
_CHOICES = np.array([[len(pairs), _KEPT, _KEPT] for pairs in _PAIRS] * len(KINDS))


def sampled(generator: np.random.Generator) -> Genotype:
    """Draw one of all genotypes uniformly."""
    return _joined(generator.integers(_CHOICES))


def mutated(genes: Sequence[int], rate: float, generator: np.random.Generator) -> Genotype:
    """Replace each node's pair of edges, and each edge's operation, with probability `rate` by another one.

    Where the pair changes, the edge of the earlier source hands its operation to the new edge of the earlier source.
    Node 2 has one pair only and keeps it.

    Raises:
        BadInputError: `rate` is not between 0 and 1.
    """
    if not 0.0 <= rate <= 1.0:
        raise BadInputError(f"The mutation rate {rate} is not between 0 and 1.")
    # As many numbers are drawn whatever changes, so that a search's later draws do not depend on it.
    chosen = generator.random(_CHOICES.shape) < rate
    steps = generator.integers(1, np.maximum(_CHOICES, 2))
    before = _parted(genes)
    return _joined(np.where(chosen, (before + steps) % _CHOICES, before))


def crossed(first: Sequence[int], second: Sequence[int], generator: np.random.Generator) -> Genotype:
    """Take the edges into each node from one genotype or the other with equal probability."""
    from_first = generator.random(len(KINDS) * NODES) < 0.5
    wide = np.repeat(from_first, [len(edges) for edges in NODE_EDGES] * len(KINDS))
    return tuple(int(gene) for gene in np.where(wide, first, second))


def _parted(genes: Sequence[int]) -> NDArray[np.int64]:
    """Return (8, 3): of each node the index of its pair of edges, and the indices of their two operations."""
    rows = []
    for cell in cells_of(genes):
        for edges, pairs in zip(NODE_EDGES, _PAIRS, strict=True):
            kept = [(place, cell[edge]) for place, edge in enumerate(edges) if cell[edge]]
            (first, one), (second, other) = kept
            rows.append([pairs.index((first, second)), one - 1, other - 1])
    return np.array(rows)


def _joined(parts: NDArray[np.int64]) -> Genotype:
    """Return the genotype of what `_parted` returns."""
    genes: list[int] = []
    nodes = list(zip(NODE_EDGES, _PAIRS, strict=True)) * len(KINDS)
    for (edges, pairs), (pair, one, other) in zip(nodes, parts.tolist(), strict=True):
        genes.extend(_node(len(edges), pairs[pair], (one + 1, other + 1)))
    return tuple(genes)


def representative(genes: Sequence[int]) -> Genotype:
    """Return the first genotype, in lexicographic order, that differs from this one only in how nodes are numbered.

    The nodes' order decides nothing but the order of the channels that the cell's output is joined from.
    """
    normal, reduce = cells_of(genes)
    return _renumbered(normal) + _renumbered(reduce)


def _renumbered(cell: Genotype) -> Genotype:
    place = {edge: index for index, edge in enumerate(EDGES)}
    kept = [(edge, gene) for edge, gene in zip(EDGES, cell, strict=True) if gene]
    found = []
    for order in itertools.permutations(range(INPUTS, INPUTS + NODES)):
        number = {**{one: one for one in range(INPUTS)}, **dict(zip(range(INPUTS, INPUTS + NODES), order, strict=True))}
        moved = {(number[source], number[target]): gene for (source, target), gene in kept}
        if all(source < target for source, target in moved):
            genes = [0] * len(EDGES)
            for edge, gene in moved.items():
                genes[place[edge]] = gene
            found.append(tuple(genes))
    return min(found)
