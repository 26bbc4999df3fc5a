"""In which order the cells of several candidates are computed, so that equal operations fall together."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from searcher.spaces.cell import AVG_POOL, CONV_1X1, CONV_3X3
from searcher.spaces.computation import ADD, INPUT, Value, execution_order, output_value

# A value and whose it is: the candidate's index.
Place = tuple[int, Value]

# What is computed from one depth to the next; sums follow, since they need values of both.
_OPERATIONS = (CONV_3X3, CONV_1X1, AVG_POOL, ADD)


@dataclass(frozen=True)
class CellPlan:
    """How the cells of several candidates are computed; it is the same for all cells of a network.

    Attributes:
        inputs: each candidate's input, in their order.
        steps: one operation each, with the values that it computes, whose operands are there by then. Only sums may
            have operands of their own step, and those stand before them.
        outputs: each candidate's output, in their order.
    """

    inputs: tuple[Place, ...]
    steps: tuple[tuple[str, tuple[Place, ...]], ...]
    outputs: tuple[Place, ...]


def plan_cells(cells: Sequence[Sequence[str]]) -> CellPlan:
    """Return how to compute cells together, in as few steps as their depth allows.

    Args:
        cells: of each candidate, an operation for each edge.

    Raises:
        ValueError: a cell is disconnected, and there is nothing to compute.
    """
    members: defaultdict[tuple[int, str], list[Place]] = defaultdict(list)
    outputs: list[Place] = []
    for candidate, operations in enumerate(cells):
        output = output_value(operations)
        if output is None:
            raise ValueError(f"a disconnected cell computes nothing: {operations}")
        outputs.append((candidate, output))
        for value in execution_order(output):
            members[_depth(value), value.operation].append((candidate, value))
    depths = range(max(depth for depth, _ in members) + 1)
    wanted = [(depth, operation) for depth in depths for operation in _OPERATIONS]
    return CellPlan(
        inputs=tuple((candidate, Value(INPUT)) for candidate in range(len(cells))),
        steps=tuple((key[1], tuple(members[key])) for key in wanted if key in members),
        outputs=tuple(outputs),
    )


def _depth(value: Value) -> int:
    """Return how many convolutions and pools lie one after the other on the longest way to a value, itself included."""
    before = max((_depth(operand) for operand in value.operands), default=0)
    return before + (value.operation not in (INPUT, ADD))
