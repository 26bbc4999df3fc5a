"""Two ONNX models that cost next to nothing: they show what calling and profiling cost. Written without packages.

Both take and give one float, as 1×1×1×1, in opset 13 and IR version 7, which ONNX Runtime has read since 2020.
"""

from __future__ import annotations

import struct
from typing import Sequence

_IR_VERSION, _OPSET, _FLOAT = 7, 13, 1
_RANK = 4


def call_model() -> bytes:
    """Return a model that computes nothing: one Identity."""
    return _model([_node("Identity", ("x",), "y")], ())


def chain_model(nodes: int) -> bytes:
    """Return a chain of additions of a constant, which no optimiser shortens."""
    names = ["x", *(f"v{index}" for index in range(1, nodes)), "y"]
    chain = [_node("Add", (names[index], "w"), names[index + 1]) for index in range(nodes)]
    constant = b"".join((_number(1, 1) * _RANK, _number(2, _FLOAT), _bytes(4, struct.pack("<f", 1.0)), _text(8, "w")))
    return _model(chain, (constant,))


def _model(nodes: Sequence[bytes], constants: Sequence[bytes]) -> bytes:
    graph = b"".join(
        (
            *(_bytes(1, node) for node in nodes),
            _text(2, "graph"),
            *(_bytes(5, constant) for constant in constants),
            _bytes(11, _value("x")),
            _bytes(12, _value("y")),
        )
    )
    return _number(1, _IR_VERSION) + _bytes(7, graph) + _bytes(8, _number(2, _OPSET))


def _node(operation: str, inputs: Sequence[str], output: str) -> bytes:
    return b"".join((*(_text(1, name) for name in inputs), _text(2, output), _text(4, operation)))


def _value(name: str) -> bytes:
    shape = _bytes(1, _number(1, 1)) * _RANK
    return _text(1, name) + _bytes(2, _bytes(1, _number(1, _FLOAT) + _bytes(2, shape)))


def _number(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value)


def _text(field: int, text: str) -> bytes:
    return _bytes(field, text.encode())


def _bytes(field: int, content: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(content)) + content


def _varint(value: int) -> bytes:
    low, rest = value & 0x7F, value >> 7
    return bytes([low]) if not rest else bytes([low | 0x80]) + _varint(rest)
