"""What a runtime really executes of a NAS-Bench-201 cell, as a graph of values, and its canonical text.

Latency is computed from this form. What separates it from the cell as written:

- `none` is zero, and so is every operation on a node that has no live input; zeros disappear from sums.
- `skip_connect` is the node it copies; a sum with one operand left is that operand.
- A sum whose only consumer is another sum is part of it; a sum with several consumers is computed once.
- What does not reach the output is not computed.
- Average pools of one value are one value, as runtimes merge them; two convolutions on one input stay two, since
  their weights differ.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache

from searcher.spaces.cell import AVG_POOL, CONV_1X1, CONV_3X3, EDGES, NONE, OPERATIONS, SKIP, Genotype

INPUT = "input"
ADD = "add"
COUNTED = (CONV_1X1, CONV_3X3, AVG_POOL, ADD)


@dataclass(frozen=True)
class Value:
    """A tensor inside a cell; equal values are the same tensor, computed once.

    Attributes:
        operation: `input`, `nor_conv_1x1`, `nor_conv_3x3`, `avg_pool_3x3` or `add`.
        operands: what it is computed from, in the order of execution.
        edge: for a convolution, which edge's weights it uses; None otherwise.
    """

    operation: str
    operands: tuple[Value, ...] = ()
    edge: int | None = None


@dataclass(frozen=True)
class Computation:
    """What is executed of a cell, freed of how the cell's nodes are numbered.

    Attributes:
        text: canonical form, equal exactly for cells of the same graph of operations. `x` is the cell's input,
            `+` adds two tensors, and `v1=...;` names a value that is used more than once. Every operation written
            in it is executed once, so the text itself gives the counts:
            `v1=nor_conv_3x3(x);avg_pool_3x3(v1)+v1+x`. A disconnected cell is `0`, one that copies its input `x`.
        operations: how often one cell executes nor_conv_1x1, nor_conv_3x3, avg_pool_3x3 and add, in this order
            (a sum of n operands is n - 1 adds).
    """

    text: str
    operations: tuple[tuple[str, int], ...]


@cache
def computation(genotype: Genotype) -> Computation:
    """Return what is executed of a cell."""
    output = output_value([OPERATIONS[gene] for gene in genotype])
    counts = Counter[str]() if output is None else _operation_counts(output)
    return Computation(
        text="0" if output is None else canonical_text(output),
        operations=tuple((operation, counts[operation]) for operation in COUNTED),
    )


def output_value(operations: Sequence[str], edges: Sequence[tuple[int, int]] = EDGES) -> Value | None:
    """Return the value of a cell's last node, or None if no live path leads there from the input.

    Args:
        operations: one for each edge.
        edges: (source, target) of each edge, sorted by target, then source; node 0 is the input.
    """
    nodes: dict[int, Value | None] = {0: Value(INPUT)}
    for node in range(1, edges[-1][1] + 1):
        incoming = [
            _edge_value(operations[edge], nodes[source], edge)
            for edge, (source, target) in enumerate(edges)
            if target == node
        ]
        # The latest node comes first, so that no partial sum of one node repeats a partial sum of an earlier one
        # and the exported adds are as many as the counted ones after a runtime has merged what is equal.
        operands = tuple(value for value in reversed(incoming) if value is not None)
        if len(operands) > 1:
            nodes[node] = Value(ADD, operands)
        else:
            nodes[node] = operands[0] if operands else None
    output = nodes[edges[-1][1]]
    return None if output is None else _flatten(output, _uses(output))


def _edge_value(operation: str, node: Value | None, edge: int) -> Value | None:
    if node is None or operation == NONE:
        return None
    if operation == SKIP:
        return node
    return Value(operation, (node,), None if operation == AVG_POOL else edge)


def execution_order(output: Value) -> tuple[Value, ...]:
    """Return each value that the output needs once, operands before what uses them, the output last."""
    order: dict[Value, None] = {}

    def visit(value: Value) -> None:
        if value not in order:
            for operand in value.operands:
                visit(operand)
            order[value] = None

    visit(output)
    return tuple(order)


def _uses(output: Value) -> Counter[Value]:
    """Count, for each value, the operands of other values that it is."""
    return Counter(operand for value in execution_order(output) for operand in value.operands)


def _flatten(value: Value, uses: Mapping[Value, int]) -> Value:
    operands: list[Value] = []
    for operand in value.operands:
        flat = _flatten(operand, uses)
        inlined = value.operation == operand.operation == ADD and uses[operand] == 1
        operands.extend(flat.operands if inlined else (flat,))
    return replace(value, operands=tuple(operands))


def _operation_counts(output: Value) -> Counter[str]:
    counts = Counter[str]()
    for value in execution_order(output):
        counts[value.operation] += len(value.operands) - 1 if value.operation == ADD else 1
    return counts


def canonical_text(output: Value) -> str:
    """Return the text that Computation describes.

    Which shared value is v1 must not depend on the cell's node numbers: of all numberings that define a value
    before its use, the one with the least text is taken. A cell of four nodes shares two values at most.
    """
    uses = _uses(output)
    shared = [value for value in execution_order(output) if value.operation != INPUT and uses[value] > 1]
    texts = (_text(output, order) for order in itertools.permutations(shared) if _is_executable(order))
    return min(texts)


def _is_executable(order: Sequence[Value]) -> bool:
    place = {value: index for index, value in enumerate(order)}
    return all(place.get(needed, -1) <= index for index, value in enumerate(order) for needed in execution_order(value))


def _text(output: Value, shared: Sequence[Value]) -> str:
    names = {value: f"v{index}" for index, value in enumerate(shared, start=1)}

    def written(value: Value) -> str:
        return names.get(value) or body(value)

    def body(value: Value) -> str:
        if value.operation == INPUT:
            return "x"
        operands = "+".join(sorted(written(operand) for operand in value.operands))
        return operands if value.operation == ADD else f"{value.operation}({operands})"

    definitions = [f"{name}={body(value)};" for value, name in names.items()]
    return "".join(definitions) + body(output)
