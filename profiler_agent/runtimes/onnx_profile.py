"""Reads where the nodes of an ONNX model ran from the profile of one run, as ONNX Runtime 1.19 and later write it.

A session tells only which providers are registered, and its file of the optimised graph cannot be written where a
provider compiles nodes. The profile holds what was really executed, by whom, with the types of its outputs.
"""

from __future__ import annotations

import json
from typing import Any, Dict, List, Tuple

from profiler_agent.errors import SessionError
from profiler_agent.runtimes.placement import PlacedOperator, works_on_data

_KERNEL = "_kernel_time"


def placed_nodes(profile: str) -> Tuple[PlacedOperator, ...]:
    """Return the nodes in the order of their first execution.

    Args:
        profile: the text of the file that `end_profiling` names.

    Raises:
        SessionError: it is no profile, or names no node or no provider.
    """
    try:
        events = json.loads(profile)
        nodes: Dict[str, PlacedOperator] = {}
        for event in events:
            if event.get("cat") == "Node" and event["name"].endswith(_KERNEL):
                # Once each: a loop's nodes run many times.
                nodes.setdefault(event["name"], _placed(event["args"]))
    except (ValueError, KeyError, TypeError, AttributeError) as e:
        raise SessionError("runtime_error", f"the profile of a run does not tell what ran where: {e!r}") from e
    if not nodes:
        raise SessionError("runtime_error", "the profile of a run tells of no node that was executed")
    return tuple(nodes.values())


def _placed(told: Dict[str, Any]) -> PlacedOperator:
    outputs: List[Tuple[str, int]] = [
        (kind, len(shape)) for output in told.get("output_type_shape", ()) for kind, shape in output.items()
    ]
    # Where no output is described it counts as computing: a refusal too many is seen, one too few is not.
    return PlacedOperator(told["op_name"], told["provider"], works_on_data(outputs) if outputs else True)
