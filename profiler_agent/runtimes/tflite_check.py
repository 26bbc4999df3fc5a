"""Checks the structure of a TFLite file before a runtime gets it: tflite-runtime follows any offset, and dies of it.

A TFLite file is a FlatBuffer: tables that point to each other by offsets. Checked is what leads to tensors, operators
and buffers; options of single operators are taken as they are.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Dict, List, NamedTuple, Tuple

from profiler_agent.errors import SessionError

_IDENTIFIER = b"TFL3"
# Field numbers of the schema (version 3), by table.
_MODEL_CODES, _MODEL_SUBGRAPHS, _MODEL_BUFFERS = 1, 2, 4
_CODE_CUSTOM = 1
_GRAPH_TENSORS, _GRAPH_INPUTS, _GRAPH_OUTPUTS, _GRAPH_OPERATORS, _GRAPH_NAME = 0, 1, 2, 3, 4
_TENSOR_SHAPE, _TENSOR_BUFFER, _TENSOR_NAME, _TENSOR_QUANTIZATION, _TENSOR_SIGNATURE = 0, 2, 3, 4, 7
_QUANTIZATION_VECTORS = {0: 4, 1: 4, 2: 4, 3: 8}
_OPERATOR_CODE, _OPERATOR_INPUTS, _OPERATOR_OUTPUTS, _OPERATOR_OPTIONS, _OPERATOR_CUSTOM = 0, 1, 2, 4, 5
_OPERATOR_MUTATING, _OPERATOR_INTERMEDIATES = 7, 8
_BUFFER_DATA = 0


class _BrokenFileError(Exception):
    """An offset or an index leads nowhere."""


class _Table(NamedTuple):
    """Where the fields of a table lie, by number; those that it leaves out are missing."""

    fields: Dict[int, int]


def check_structure(model: Path) -> None:
    """Refuse a file whose offsets and indices lead out of it.

    Raises:
        SessionError: it is no TFLite file, or is damaged.
    """
    data = model.read_bytes()
    if data[4:8] != _IDENTIFIER:
        raise SessionError("unreadable_model", f"{model.name} is no TFLite file")
    try:
        _Checked(data).model()
    except (_BrokenFileError, struct.error) as e:
        raise SessionError("unreadable_model", f"{model.name} is damaged or cut off: {e}") from e


class _Checked:
    """Follows a file's offsets, each checked."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def model(self) -> None:
        root = self._table(self._number("<I", 0))
        codes = self._tables(root, _MODEL_CODES)
        for code in codes:
            self._vector(code, _CODE_CUSTOM, 1)
        buffers = self._tables(root, _MODEL_BUFFERS)
        for buffer in buffers:
            self._vector(buffer, _BUFFER_DATA, 1)
        graphs = self._tables(root, _MODEL_SUBGRAPHS)
        if not graphs:
            raise _BrokenFileError("it has no graph")
        for graph in graphs:
            self._graph(graph, len(codes), len(buffers))

    def _graph(self, graph: _Table, codes: int, buffers: int) -> None:
        tensors = self._tables(graph, _GRAPH_TENSORS)
        for tensor in tensors:
            self._tensor(tensor, buffers)
        self._vector(graph, _GRAPH_NAME, 1)
        for field in (_GRAPH_INPUTS, _GRAPH_OUTPUTS):
            self._indices(graph, field, 0, len(tensors))
        for operator in self._tables(graph, _GRAPH_OPERATORS):
            if self._unsigned(operator, _OPERATOR_CODE) >= codes:
                raise _BrokenFileError("an operator has no code")
            for field in (_OPERATOR_INPUTS, _OPERATOR_OUTPUTS, _OPERATOR_INTERMEDIATES):
                self._indices(operator, field, -1, len(tensors))
            for field in (_OPERATOR_CUSTOM, _OPERATOR_MUTATING):
                self._vector(operator, field, 1)
            if _OPERATOR_OPTIONS in operator.fields:
                self._table(self._target(operator.fields[_OPERATOR_OPTIONS]))

    def _tensor(self, tensor: _Table, buffers: int) -> None:
        for field, size in ((_TENSOR_SHAPE, 4), (_TENSOR_SIGNATURE, 4), (_TENSOR_NAME, 1)):
            self._vector(tensor, field, size)
        if self._unsigned(tensor, _TENSOR_BUFFER) >= max(buffers, 1):
            raise _BrokenFileError("a tensor has no buffer")
        if _TENSOR_QUANTIZATION in tensor.fields:
            quantization = self._table(self._target(tensor.fields[_TENSOR_QUANTIZATION]))
            for field, size in _QUANTIZATION_VECTORS.items():
                self._vector(quantization, field, size)

    def _number(self, kind: str, position: int) -> int:
        if not 0 <= position <= len(self._data) - struct.calcsize(kind):
            raise _BrokenFileError(f"an offset leads to byte {position} of {len(self._data)}")
        number: int = struct.unpack_from(kind, self._data, position)[0]
        return number

    def _target(self, position: int) -> int:
        return position + self._number("<I", position)

    def _table(self, position: int) -> _Table:
        directory = position - self._number("<i", position)
        size, room = self._number("<H", directory), self._number("<H", directory + 2)
        if size < 4 or size % 2 or directory + size > len(self._data) or position + room > len(self._data):
            raise _BrokenFileError(f"the table at byte {position} does not fit")
        entries = struct.unpack_from(f"<{size // 2 - 2}H", self._data, directory + 4)
        if any(entry and not 4 <= entry < room for entry in entries):
            raise _BrokenFileError(f"the table at byte {position} has a field outside")
        return _Table({number: position + entry for number, entry in enumerate(entries) if entry})

    def _tables(self, table: _Table, field: int) -> List[_Table]:
        start, count = self._vector(table, field, 4)
        return [self._table(self._target(start + 4 * index)) for index in range(count)]

    def _vector(self, table: _Table, field: int, item_bytes: int) -> Tuple[int, int]:
        """Return where the items of a vector or string begin, and how many there are; none where it is left out."""
        if field not in table.fields:
            return 0, 0
        start = self._target(table.fields[field])
        count = self._number("<I", start)
        if start + 4 + count * item_bytes > len(self._data):
            raise _BrokenFileError(f"{count} items at byte {start} go beyond its {len(self._data)} bytes")
        return start + 4, count

    def _indices(self, table: _Table, field: int, least: int, count: int) -> None:
        start, length = self._vector(table, field, 4)
        for index in struct.unpack_from(f"<{length}i", self._data, start):
            if not least <= index < count:
                raise _BrokenFileError(f"there is no tensor {index}")

    def _unsigned(self, table: _Table, field: int) -> int:
        return self._number("<I", table.fields[field]) if field in table.fields else 0
