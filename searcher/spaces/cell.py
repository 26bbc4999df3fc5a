"""The cell of NAS-Bench-201: its text, its genotype, the benchmark's order and the benchmark's unique string.

A cell has four nodes; node 0 is its input, node 3 its output, and each node is the sum of one operation on every
earlier node. A genotype holds one operation's index for each of the six edges, in the order of the text:
0→1, 0→2, 1→2, 0→3, 1→3, 2→3.

Source: Dong and Yang, "NAS-Bench-201: Extending the Scope of Reproducible Neural Architecture Search", ICLR 2020.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Sequence
from functools import cache

from searcher.errors import BadInputError

Genotype = tuple[int, ...]

NONE, SKIP, CONV_1X1, CONV_3X3, AVG_POOL = (
    "none",
    "skip_connect",
    "nor_conv_1x1",
    "nor_conv_3x3",
    "avg_pool_3x3",
)
OPERATIONS = (NONE, SKIP, CONV_1X1, CONV_3X3, AVG_POOL)
CONVOLUTIONS = (CONV_1X1, CONV_3X3)
NODES = 4
EDGES = tuple((source, target) for target in range(1, NODES) for source in range(target))

_LONGEST_QUOTE = 160
_BENCHMARK_SEED = 88


def parse_cell(text: str) -> Genotype:
    """Read a cell exactly as the benchmark writes it.

    Args:
        text: such as `|nor_conv_3x3~0|+|none~0|none~1|+|skip_connect~0|nor_conv_3x3~1|skip_connect~2|`.

    Raises:
        BadInputError: anything else; the message quotes the text and says what is wrong with it.
    """
    groups = text.split("+")
    if len(groups) != NODES - 1:
        raise _not_a_cell(text, f"it needs {NODES - 1} nodes joined by '+', not {len(groups)}")
    genotype: list[int] = []
    for target, group in enumerate(groups, start=1):
        edges = group.split("|")
        if len(edges) != target + 2 or edges[0] or edges[-1]:
            raise _not_a_cell(text, f"node {target} needs {target} operation(s), each between '|'")
        genotype.extend(_parse_edge(text, edge, source) for source, edge in enumerate(edges[1:-1]))
    return tuple(genotype)


def _parse_edge(text: str, edge: str, source: int) -> int:
    operation, _, node = edge.partition("~")
    if operation not in OPERATIONS:
        raise _not_a_cell(text, f"there is no operation {_quote(operation)}, only {', '.join(OPERATIONS)}")
    if node != str(source):
        raise _not_a_cell(text, f"{_quote(edge)} should end in '~{source}'")
    return OPERATIONS.index(operation)


def _not_a_cell(text: str, reason: str) -> BadInputError:
    return BadInputError(f"{_quote(text)} is not a NAS-Bench-201 cell: {reason}.")


def _quote(text: str) -> str:
    # A file read by mistake can be megabytes long; its beginning is enough to recognise it.
    return repr(text if len(text) <= _LONGEST_QUOTE else text[:_LONGEST_QUOTE] + "…")


def format_cell(genotype: Sequence[int]) -> str:
    """Write a cell exactly as the benchmark does."""
    groups = [
        "".join(
            f"{OPERATIONS[gene]}~{source}|"
            for gene, (source, target) in zip(genotype, EDGES, strict=True)
            if target == node
        )
        for node in range(1, NODES)
    ]
    return "+".join(f"|{group}" for group in groups)


@cache
def all_genotypes() -> tuple[Genotype, ...]:
    """Return all 15,625 genotypes in the benchmark's order.

    The benchmark's authors shuffled the lexicographic order with Python's generator and seed 88.
    """
    genotypes = list(itertools.product(range(len(OPERATIONS)), repeat=len(EDGES)))
    random.Random(_BENCHMARK_SEED).shuffle(genotypes)
    return tuple(genotypes)


def score_key(genotype: Sequence[int]) -> str:
    """Return the benchmark's own unique string (`to_unique_str(True)`), of which there are 6,466.

    A node is the sorted list of its operands joined by `+`, where the input is `0`, a skip is the node it copies,
    a zero (`none`, or any operation on a node whose text is `#`) is `#` and stays an operand, and an operation is
    `(node)@operation`. A node that is a sum of several zeros is no `#`, so equal functions can have different
    keys: that is the benchmark's definition.
    """
    texts = ["0"]
    operands: list[list[str]] = [[] for _ in range(NODES)]
    for gene, (source, target) in zip(genotype, EDGES, strict=True):
        operands[target].append(_operand(OPERATIONS[gene], texts[source]))
        if source == target - 1:  # the last edge into this node
            texts.append("+".join(sorted(operands[target])))
    return texts[-1]


def _operand(operation: str, node: str) -> str:
    if operation == NONE or node == "#":
        return "#"
    return node if operation == SKIP else f"({node})@{operation}"
