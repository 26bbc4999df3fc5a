"""What an ONNX file says of its inputs' ranks and of the files beside it, read without the onnx package.

Fields of onnx.proto3: ModelProto.graph (7), GraphProto.initializer (5) and input (11), TensorProto.external_data (13)
with its key (1) and value (2), ValueInfoProto.name (1) and type (2), TypeProto.tensor_type (1) and its shape (2).
"""

from __future__ import annotations

from pathlib import Path
from typing import List, Tuple

from profiler_agent.runtimes.onnx_graph import messages

_MODEL_GRAPH, _GRAPH_INITIALIZER, _GRAPH_INPUT = 7, 5, 11
_TENSOR_EXTERNAL, _ENTRY_KEY, _ENTRY_VALUE = 13, 1, 2
_VALUE_NAME, _VALUE_TYPE, _TYPE_TENSOR, _TENSOR_SHAPE = 1, 2, 1, 2


def external_files(model: memoryview) -> Tuple[str, ...]:
    """Return the names of the files beside a model that hold weights of its main graph.

    Raises:
        SessionError: the bytes are no ONNX model.
    """
    names = set()
    for entry in _inside([model], _MODEL_GRAPH, _GRAPH_INITIALIZER, _TENSOR_EXTERNAL):
        texts = {number: str(value, "utf-8", "replace") for number, value in messages(entry)}
        if texts.get(_ENTRY_KEY) == "location":
            names.add(texts.get(_ENTRY_VALUE, ""))
    return tuple(sorted(names))


def has_rank(model: Path, name: str) -> bool:
    """Tell whether an input is declared with a number of dimensions, be it none; for a name of no input, too.

    Raises:
        SessionError: the file is no ONNX model.
    """
    for value in _inside([memoryview(model.read_bytes())], _MODEL_GRAPH, _GRAPH_INPUT):
        if b"".join(_inside([value], _VALUE_NAME)) == name.encode():
            return bool(_inside([value], _VALUE_TYPE, _TYPE_TENSOR, _TENSOR_SHAPE))
    return True


def _inside(outer: List[memoryview], *path: int) -> List[memoryview]:
    """Return what lies at the end of a path of field numbers."""
    for wanted in path:
        outer = [value for message in outer for number, value in messages(message) if number == wanted]
    return outer
