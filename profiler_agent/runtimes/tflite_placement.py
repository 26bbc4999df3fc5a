"""Which operators of a TFLite graph a delegate took, from the list that an interpreter gives of its operators."""

from __future__ import annotations

from typing import Any, Dict, List, NamedTuple, Sequence, Set, Tuple

from profiler_agent.runtimes.placement import PlacedOperator, works_on_data

DELEGATE = "DELEGATE"


class Delegates(NamedTuple):
    """Whose the parts of a graph are that delegates took.

    Attributes:
        asked: the delegate that was asked for.
        first: how many parts it took; they are listed first.
        default: the delegate that took the other parts.
        own: what computes where none does.
    """

    asked: str
    first: int
    default: str
    own: str


def placed_operators(
    details: Sequence[Dict[str, Any]], tensors: Dict[int, Tuple[str, int]], delegates: Delegates
) -> Tuple[PlacedOperator, ...]:
    """Return the operators of a graph in order, and what computes each.

    Args:
        details: one of each operator: `op_name`, and the tensors that are its `inputs` and `outputs`. The part of a
            graph that a delegate took is listed like an operator, behind those that were there before, without
            saying which of them it holds.
        tensors: type and rank of each tensor, by its number.
        delegates: whose the parts are.
    """
    operators = [one for one in details if one["op_name"] != DELEGATE]
    parts = [one for one in details if one["op_name"] == DELEGATE]
    asked = _taken(operators, parts[: delegates.first])
    default = _taken(operators, parts[delegates.first :])
    placed = []
    for index, one in enumerate(operators):
        provider = delegates.asked if asked[index] else delegates.default if default[index] else delegates.own
        outputs = [tensors[tensor] for tensor in _numbers(one["outputs"]) if tensor in tensors]
        placed.append(PlacedOperator(str(one["op_name"]), provider, works_on_data(outputs) if outputs else True))
    return tuple(placed)


def _taken(operators: Sequence[Dict[str, Any]], parts: Sequence[Dict[str, Any]]) -> List[bool]:
    """Tell of each operator whether one of these parts holds it.

    It does if a tensor of the operator's goes out of a part, or else goes into nothing but operators that they hold.
    """
    going_in = {tensor for one in parts for tensor in _numbers(one["inputs"])}
    going_out = {tensor for one in parts for tensor in _numbers(one["outputs"])}
    readers: Dict[int, List[int]] = {}
    for index, one in enumerate(operators):
        for tensor in _numbers(one["inputs"]):
            readers.setdefault(tensor, []).append(index)
    taken = [False] * len(operators)
    # The list is in the order of execution: what reads a tensor comes later.
    for index in reversed(range(len(operators))):
        outputs = _numbers(operators[index]["outputs"])
        reading = [reader for tensor in outputs for reader in readers.get(tensor, ())]
        inside = bool(reading) and not outputs & going_in and all(taken[reader] for reader in reading)
        taken[index] = bool(outputs & going_out) or inside
    return taken


def _numbers(tensors: Any) -> Set[int]:
    return {int(tensor) for tensor in tensors}
