"""How often whole populations of cells execute each operation: `computation` in arrays, one cell a row.

Values are numbered by bits of an integer. A bit stands for the cell's input, the convolution of one edge or the sum at
one node; every average pool on top of a value moves its bit up by a fixed step. So equal values have equal bits, which
merges the pools of one value, and a skip keeps the bit of what it copies. With each node goes the set of the values
that are executed to compute it, the union of its operands' sets and itself: in the output's set, what is shared stands
once, and what does not reach the output not at all.

Flattening of sums is not needed here: two sums, one inside the other, take as many adds as one sum of all operands.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from searcher.spaces.cell import AVG_POOL, CONV_1X1, EDGES, NODES, NONE, OPERATIONS, SKIP

_Bits = NDArray[np.uint64]

_NONE, _SKIP, _CONV_1X1, _POOL = (OPERATIONS.index(name) for name in (NONE, SKIP, CONV_1X1, AVG_POOL))

# Places of the bits: the input, both kinds of convolution by edge, the sums by node; after them all, once pooled, and
# again. Three pools in a row are the most that a path of three edges has: four times sixteen places.
_INPUT_PLACE, _CONV_1X1_PLACE, _CONV_3X3_PLACE = 0, 1, 1 + len(EDGES)
_SUM_PLACE = _CONV_3X3_PLACE + len(EDGES)
_POOLED = np.uint64(16)
_SUMS = tuple(node for node in range(NODES) if sum(target == node for _, target in EDGES) > 1)

_NOTHING = np.uint64(0)
_ALL_CONV_1X1 = np.uint64(((1 << len(EDGES)) - 1) << _CONV_1X1_PLACE)
_ALL_CONV_3X3 = np.uint64(((1 << len(EDGES)) - 1) << _CONV_3X3_PLACE)
_ALL_POOLS = np.uint64((1 << 64) - (1 << 16))


@dataclass(frozen=True)
class _Values:
    """One tensor of each cell.

    Attributes:
        bit: (n,) its number as one bit; 0 where there is no tensor, since no live path leads to it.
        executed: (n,) the bits of all values that computing it takes, the input among them; 0 where there is none.
    """

    bit: _Bits
    executed: _Bits


def cell_counts(genotypes: NDArray[np.uint8]) -> tuple[NDArray[np.bool_], NDArray[np.uint8]]:
    """Count what is executed of each cell.

    It takes about 25 bytes of temporary memory for each cell and edge: a few thousand cells at once stay in the cache.

    Args:
        genotypes: (n, 6) indices of operations, all valid.

    Returns:
        (n,) whether the cell's output depends on its input, and (n, 4) how often one cell executes nor_conv_1x1,
        nor_conv_3x3, avg_pool_3x3 and add.
    """
    genes = np.ascontiguousarray(genotypes.T)
    one = np.full(len(genotypes), 1 << _INPUT_PLACE, np.uint64)
    nodes = [_Values(one, one)]
    adds = np.zeros((NODES, len(genotypes)), np.uint8)
    for node in range(1, NODES):
        operands = [
            _operand(genes[edge], nodes[source], edge) for edge, (source, target) in enumerate(EDGES) if target == node
        ]
        value, adds[node] = _sum(operands, node)
        nodes.append(value)
    output = nodes[-1]
    counts = np.zeros((len(genotypes), 4), np.uint8)
    for column, kind in enumerate((_ALL_CONV_1X1, _ALL_CONV_3X3, _ALL_POOLS)):
        counts[:, column] = np.bitwise_count(output.executed & kind)
    for node in _SUMS:
        counts[:, 3] += np.where((output.executed & _sum_bit(node)) != _NOTHING, adds[node], np.uint8(0))
    return output.bit != _NOTHING, counts


def _operand(genes: NDArray[np.uint8], source: _Values, edge: int) -> _Values:
    conv_1x1, conv_3x3 = np.uint64(1 << (_CONV_1X1_PLACE + edge)), np.uint64(1 << (_CONV_3X3_PLACE + edge))
    bit = np.where(genes == _CONV_1X1, conv_1x1, conv_3x3)
    bit = np.where(genes == _POOL, source.bit << _POOLED, bit)
    bit = np.where(genes == _SKIP, source.bit, bit)
    bit = np.where((genes == _NONE) | (source.bit == _NOTHING), _NOTHING, bit)
    return _Values(bit, np.where(bit == _NOTHING, _NOTHING, source.executed | bit))


def _sum(operands: Sequence[_Values], node: int) -> tuple[_Values, NDArray[np.uint8]]:
    """Return the sum of the operands that there are, and how many adds it takes (none where it is no sum)."""
    bit, executed = operands[0].bit, operands[0].executed
    terms = (bit != _NOTHING).astype(np.uint8)
    if node not in _SUMS:
        return operands[0], np.zeros_like(terms)
    for operand in operands[1:]:
        there = operand.bit != _NOTHING
        bit = np.where(there, operand.bit, bit)
        executed = executed | operand.executed
        terms = terms + there
    several = terms > 1
    bit = np.where(several, _sum_bit(node), bit)
    return _Values(bit, executed | bit), np.where(several, terms - np.uint8(1), np.uint8(0))


def _sum_bit(node: int) -> np.uint64:
    return np.uint64(1 << (_SUM_PLACE + _SUMS.index(node)))
