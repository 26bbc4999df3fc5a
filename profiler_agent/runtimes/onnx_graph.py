"""Reads operator names and external files from an ONNX file without the onnx package, which a device does not have.

An ONNX file is a protocol buffer; few fields matter here: ModelProto.graph (7), GraphProto.node (1), initializer (5)
and input (11), NodeProto.op_type (4) and domain (7), TensorProto.external_data (13) with its key (1) and value (2),
ValueInfoProto.name (1) and type (2), TypeProto.tensor_type (1) and its shape (2). Everything else is skipped by its
wire type.
"""

from __future__ import annotations

from pathlib import Path
from typing import Iterator, List, Tuple

from profiler_agent.errors import SessionError

_MODEL_GRAPH, _GRAPH_NODE, _NODE_OPERATION, _NODE_DOMAIN = 7, 1, 4, 7
_GRAPH_INITIALIZER, _TENSOR_EXTERNAL, _ENTRY_KEY, _ENTRY_VALUE = 5, 13, 1, 2
_GRAPH_INPUT, _VALUE_NAME, _VALUE_TYPE, _TYPE_TENSOR, _TENSOR_SHAPE = 11, 1, 2, 1, 2
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


def operator_names(model: bytes) -> Tuple[str, ...]:
    """Return the operators of the main graph in order; those of other domains as `domain:name`.

    Raises:
        SessionError: the bytes are no ONNX model.
    """
    view = memoryview(model)
    graphs = [value for number, value in _fields(view) if number == _MODEL_GRAPH]
    return tuple(_operator(node) for graph in graphs for number, node in _fields(graph) if number == _GRAPH_NODE)


def external_files(model: memoryview) -> Tuple[str, ...]:
    """Return the names of the files beside a model that hold weights of its main graph.

    Raises:
        SessionError: the bytes are no ONNX model.
    """
    names = set()
    for entry in _inside([model], _MODEL_GRAPH, _GRAPH_INITIALIZER, _TENSOR_EXTERNAL):
        texts = {number: str(value, "utf-8", "replace") for number, value in _fields(entry)}
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


def _inside(messages: List[memoryview], *path: int) -> List[memoryview]:
    """Return what lies at the end of a path of field numbers."""
    for wanted in path:
        messages = [value for message in messages for number, value in _fields(message) if number == wanted]
    return messages


def _operator(node: memoryview) -> str:
    texts = {number: str(value, "utf-8", "replace") for number, value in _fields(node)}
    name, domain = texts.get(_NODE_OPERATION, ""), texts.get(_NODE_DOMAIN, "")
    return f"{domain}:{name}" if domain not in ("", "ai.onnx") else name


def _fields(message: memoryview) -> Iterator[Tuple[int, memoryview]]:
    """Yield number and bytes of the length-delimited fields; skip the others."""
    position = 0
    while position < len(message):
        tag, position = _varint(message, position)
        wire_type = tag & 7
        if wire_type == _VARINT:
            _, position = _varint(message, position)
        elif wire_type in (_FIXED64, _FIXED32):
            position += 8 if wire_type == _FIXED64 else 4
        elif wire_type == _BYTES:
            length, position = _varint(message, position)
            if position + length > len(message):
                raise SessionError("unreadable_model", "the ONNX file ends in the middle of a field")
            yield tag >> 3, message[position : position + length]
            position += length
        else:
            raise SessionError("unreadable_model", f"no ONNX file: it has a field of wire type {wire_type}")


def _varint(message: memoryview, position: int) -> Tuple[int, int]:
    value = shift = 0
    while position < len(message) and shift < 64:
        byte = message[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
        shift += 7
    raise SessionError("unreadable_model", "the ONNX file ends in the middle of a number")
