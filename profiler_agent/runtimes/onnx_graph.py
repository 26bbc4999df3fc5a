"""Reads the nodes of an ONNX file without the onnx package, which a device does not have.

An ONNX file is a protocol buffer (onnx.proto3 of ONNX); only the fields that are named below matter here. Everything
else is skipped by its wire type.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Dict, Iterator, List, Tuple, Union

from profiler_agent.errors import SessionError

_MODEL_GRAPH = 7
_GRAPH_NODE, _GRAPH_INITIALIZER = 1, 5
_NODE_INPUT, _NODE_OUTPUT, _NODE_NAME, _NODE_OPERATION, _NODE_ATTRIBUTE, _NODE_DOMAIN = 1, 2, 3, 4, 5, 7
_ATTRIBUTE_NAME, _FLOAT, _INTEGER, _TEXT, _FLOATS, _INTEGERS, _TEXTS = 1, 2, 3, 4, 7, 8, 9
_TENSOR_SHAPE, _TENSOR_TYPE, _TENSOR_NAME = 1, 2, 8
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_LONGEST_TEXT = 40
# A field's number and its value: a number of a varint, else bytes.
_Field = Tuple[int, Union[int, memoryview]]


@dataclass(frozen=True)
class Node:
    """One node of the main graph.

    Attributes:
        name: may be empty.
        operation: those of other domains than ONNX's own as `domain:name`.
        inputs: names of its operands; empty for one that is left out.
        attributes: numbers and short texts, lists joined by commas; tensors and graphs are left out.
    """

    name: str
    operation: str
    inputs: Tuple[str, ...]
    outputs: Tuple[str, ...]
    attributes: Dict[str, str]


@dataclass(frozen=True)
class OnnxGraph:
    """The main graph of a model: its nodes in order, and its constants by name: number of their type, and shape."""

    nodes: Tuple[Node, ...]
    constants: Dict[str, Tuple[int, Tuple[int, ...]]]


def operator_names(model: bytes) -> Tuple[str, ...]:
    """Return the operators of the main graph in order; those of other domains as `domain:name`.

    Raises:
        SessionError: the bytes are no ONNX model.
    """
    return tuple(node.operation for node in read_graph(model).nodes)


def read_graph(model: bytes) -> OnnxGraph:
    """Read the main graph.

    Raises:
        SessionError: the bytes are no ONNX model.
    """
    nodes: List[Node] = []
    constants: Dict[str, Tuple[int, Tuple[int, ...]]] = {}
    for number, graph in messages(memoryview(model)):
        if number == _MODEL_GRAPH:
            for kind, message in messages(graph):
                if kind == _GRAPH_NODE:
                    nodes.append(_node(message))
                elif kind == _GRAPH_INITIALIZER:
                    name, dtype, shape = _tensor(message)
                    constants[name] = (dtype, shape)
    return OnnxGraph(tuple(nodes), constants)


def _node(message: memoryview) -> Node:
    texts: Dict[int, List[str]] = {number: [] for number in (1, 2, 3, 4, 7)}
    attributes: Dict[str, str] = {}
    for number, value in messages(message):
        if number == _NODE_ATTRIBUTE:
            name, text = _attribute(value)
            if text:
                attributes[name] = text
        elif number in texts:
            texts[number].append(_text(value))
    name, operation, domain = ((texts[number] or [""])[-1] for number in (_NODE_NAME, _NODE_OPERATION, _NODE_DOMAIN))
    if domain not in ("", "ai.onnx"):
        operation = f"{domain}:{operation}"
    return Node(name, operation, tuple(texts[_NODE_INPUT]), tuple(texts[_NODE_OUTPUT]), attributes)


def _tensor(message: memoryview) -> Tuple[str, int, Tuple[int, ...]]:
    """Return name, number of the type, and shape."""
    name, dtype = "", 0
    shape: List[int] = []
    for number, value in _fields(message):
        if isinstance(value, int):
            if number == _TENSOR_SHAPE:
                shape.append(value)
            elif number == _TENSOR_TYPE:
                dtype = value
        elif number == _TENSOR_SHAPE:
            shape.extend(_varints(value))
        elif number == _TENSOR_NAME:
            name = _text(value)
    return name, dtype, tuple(shape)


def _attribute(message: memoryview) -> Tuple[str, str]:
    """Return the name of an attribute and its value as text; empty for a tensor, a graph or a long text."""
    name, values = "", []
    for number, value in _fields(message):
        if isinstance(value, int):
            if number in (_INTEGER, _INTEGERS):
                values.append(str(_signed(value)))
        elif number == _ATTRIBUTE_NAME:
            name = _text(value)
        elif number in (_FLOAT, _FLOATS):
            values.extend(f"{one:g}" for one in _floats(value))
        elif number == _INTEGERS:
            values.extend(str(_signed(one)) for one in _varints(value))
        elif number in (_TEXT, _TEXTS) and len(value) <= _LONGEST_TEXT:
            values.append(_text(value))
    return name, ",".join(values)


def _floats(value: memoryview) -> Tuple[float, ...]:
    return struct.unpack_from(f"<{len(value) // 4}f", value)


def _varints(packed: memoryview) -> Iterator[int]:
    position = 0
    while position < len(packed):
        number, position = _varint(packed, position)
        yield number


def _signed(number: int) -> int:
    return number - 2**64 if number >= 2**63 else number


def _text(value: memoryview) -> str:
    return str(value, "utf-8", "replace")


def messages(message: memoryview) -> Iterator[Tuple[int, memoryview]]:
    """Yield number and bytes of the length-delimited fields."""
    for number, value in _fields(message):
        if not isinstance(value, int):
            yield number, value


def _fields(message: memoryview) -> Iterator[_Field]:
    """Yield number and value of all fields."""
    position = 0
    while position < len(message):
        tag, position = _varint(message, position)
        wire_type = tag & 7
        if wire_type == _VARINT:
            number, position = _varint(message, position)
            yield tag >> 3, number
            continue
        if wire_type in (_FIXED64, _FIXED32):
            length = 8 if wire_type == _FIXED64 else 4
        elif wire_type == _BYTES:
            length, position = _varint(message, position)
        else:
            raise SessionError("unreadable_model", f"no ONNX file: it has a field of wire type {wire_type}")
        if position + length > len(message):
            raise SessionError("unreadable_model", "the ONNX file ends in the middle of a field")
        yield tag >> 3, message[position : position + length]
        position += length


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
