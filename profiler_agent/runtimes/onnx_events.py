"""What ONNX Runtime's profiler wrote, read event by event: the time of each node, and what it worked on.

The file has one event a line; those of a run's nodes stand before that of the run.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Dict, Iterable, List, Tuple

from profiler_agent.errors import SessionError
from profiler_agent.records import TensorType

_NODE_SUFFIX = "_kernel_time"
_RUN = "model_run"
# These run graphs of their own, whose nodes' events stand before theirs and within their time.
_WITH_GRAPHS = ("If", "Loop", "Scan", "SequenceMap", "BeamSearch", "GreedySearch", "Sampling")
# The profiler uses the names of C++ for some types.
_DTYPES = {"float": "float32", "double": "float64"}
_Event = Dict[str, Any]


@dataclass(frozen=True)
class KernelTimes:
    """The events of one node over all runs that count.

    Attributes:
        name: of the node; made up by the runtime where it has none.
        operation: without its domain.
        durations_us: of each run, in whole µs.
    """

    name: str
    operation: str
    provider: str
    inputs: Tuple[TensorType, ...]
    outputs: Tuple[TensorType, ...]
    durations_us: Tuple[int, ...]


def read_profile(lines: Iterable[str], runs: int) -> Tuple[KernelTimes, ...]:
    """Read a profile as ONNX Runtime writes it.

    Args:
        lines: of the file.
        runs: how many runs count: the last ones.

    Returns:
        The nodes of the main graph in the order in which they ran.

    Raises:
        SessionError: it cannot be read, or the runs differ.
    """
    events: List[_Event] = []
    described: List[_Event] = []
    sequences: List[Tuple[str, ...]] = []
    durations: List[Tuple[int, ...]] = []
    for line in lines:
        event = _event(line)
        name = event.get("name")
        if event.get("cat") == "Session" and name == _RUN:
            sequences.append(tuple(one["name"] for one in events))
            durations.append(tuple(_duration(one) for one in events))
            described, events = events, []
        elif event.get("cat") == "Node" and isinstance(name, str) and name.endswith(_NODE_SUFFIX):
            if _text(event, "op_name") in _WITH_GRAPHS:
                events = [one for one in events if _start(one) < _start(event)]
            events.append(event)
    if not 0 < runs <= len(sequences):
        raise SessionError("runtime_error", f"the profile tells {len(sequences)} runs, not {runs}")
    if set(sequences[-runs:]) != {sequences[-1]}:
        raise SessionError("runtime_error", "the profile's runs differ in the nodes that they tell")
    by_node = zip(*durations[-runs:])
    return tuple(_kernel(event, times) for event, times in zip(described, by_node))


def _event(line: str) -> _Event:
    text = line.strip().rstrip(",")
    if text in ("[", "]", ""):
        return {}
    try:
        event = json.loads(text)
    except ValueError as e:
        raise SessionError("runtime_error", f"the profile of ONNX Runtime is unreadable: {text[:80]!r}") from e
    return event if isinstance(event, dict) else {}


def _kernel(event: _Event, durations_us: Tuple[int, ...]) -> KernelTimes:
    return KernelTimes(
        name=event["name"][: -len(_NODE_SUFFIX)],
        operation=_text(event, "op_name"),
        provider=_text(event, "provider"),
        inputs=_tensors(event, "input_type_shape"),
        outputs=_tensors(event, "output_type_shape"),
        durations_us=durations_us,
    )


def _duration(event: _Event) -> int:
    value = event.get("dur")
    if not isinstance(value, int) or value < 0:
        raise SessionError("runtime_error", f"the profile tells no time of the node {event['name']!r}")
    return value


def _arguments(event: _Event) -> _Event:
    arguments = event.get("args")
    return arguments if isinstance(arguments, dict) else {}


def _text(event: _Event, name: str) -> str:
    value = _arguments(event).get(name)
    return value if isinstance(value, str) else ""


def _start(event: _Event) -> int:
    value = event.get("ts")
    return value if isinstance(value, int) else 0


def _tensors(event: _Event, name: str) -> Tuple[TensorType, ...]:
    """Return what `[{"float": [1, 16]}, ...]` says; releases before 1.13 say nothing."""
    listed = _arguments(event).get(name)
    found = []
    for one in listed if isinstance(listed, list) else []:
        for dtype, shape in one.items() if isinstance(one, dict) else ():
            if isinstance(shape, list) and all(isinstance(size, int) for size in shape):
                found.append(TensorType(_DTYPES.get(dtype, str(dtype)), tuple(shape)))
    return tuple(found)
