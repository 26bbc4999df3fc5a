"""Reads and patches flatbuffers without their library: every access is checked against the file's bounds.

A flatbuffer is made of tables and vectors that refer to each other by unsigned distances towards the end of the file.
So a vector appended behind the end can be referred to from anywhere. Knows no schema: callers name fields by their
number (`slot`).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Optional, Tuple, Union

from profiler_agent.errors import SessionError

# Format of `struct` by what a schema calls it.
UINT8, INT8, UINT16, INT32, UINT32, INT64, UINT64, FLOAT32 = "<B", "<b", "<H", "<i", "<I", "<q", "<Q", "<f"
_OFFSET_BYTES = 4
_VTABLE_HEAD_BYTES = 4
Number = Union[int, float]


class FlatBuffer:
    """Bytes that hold a flatbuffer; `append_numbers` and the `patch` methods change them."""

    def __init__(self, data: bytes) -> None:
        self._data = bytearray(data)
        self._unclaimed = len(data)

    def __len__(self) -> int:
        return len(self._data)

    def root(self) -> Table:
        """Return the outermost table.

        Raises:
            SessionError: as all reading does, if the file is no flatbuffer.
        """
        return Table(self, self.follow(0))

    def number(self, kind: str, position: int) -> Number:
        """Return the number at a position."""
        size = struct.calcsize(kind)
        self._check(position, size)
        value: Number = struct.unpack_from(kind, self._data, position)[0]
        return value

    def integer(self, kind: str, position: int) -> int:
        """Return the integer at a position."""
        return int(self.number(kind, position))

    def follow(self, position: int) -> int:
        """Return where the reference at a position leads."""
        target = position + self.integer(UINT32, position)
        if target <= position:
            raise _broken("a reference leads nowhere")
        self._check(target, _OFFSET_BYTES)
        return target

    def raw(self, position: int, length: int) -> bytes:
        """Return some of the bytes."""
        self._check(position, length)
        return bytes(self._data[position : position + length])

    def vector(self, position: int, element_bytes: int) -> Vector:
        """Return the vector whose length stands at a position."""
        length = self.integer(UINT32, position)
        self._check(position + _OFFSET_BYTES, length * element_bytes)
        return Vector(self, position + _OFFSET_BYTES, length)

    def claim(self, elements: int) -> None:
        """Count elements that are read one by one: vectors of a sound file do not share their bytes.

        Raises:
            SessionError: more were read than the file has bytes; a file whose vectors lie upon each other could
                otherwise keep its reader busy for hours.
        """
        self._unclaimed -= elements
        if self._unclaimed < 0:
            raise _broken("its vectors lie upon each other")

    def patch(self, kind: str, position: int, value: Number) -> None:
        """Replace the number at a position."""
        self._check(position, struct.calcsize(kind))
        struct.pack_into(kind, self._data, position, value)

    def patch_reference(self, position: int, target: int) -> None:
        """Let the reference at a position lead to a later one."""
        if target <= position:
            raise _broken("what refers to a thing stands behind it")
        self.patch(UINT32, position, target - position)

    def clear(self, position: int, length: int) -> None:
        """Set bytes to zero."""
        self._check(position, length)
        self._data[position : position + length] = bytes(length)

    def append_numbers(self, values: Tuple[int, ...]) -> int:
        """Append a vector of 32-bit integers behind the end, and return where it stands."""
        self._data.extend(bytes(-len(self._data) % _OFFSET_BYTES))
        position = len(self._data)
        self._data.extend(struct.pack(f"<I{len(values)}i", len(values), *values))
        return position

    def copy(self) -> FlatBuffer:
        """Return a flatbuffer of its own with the same bytes."""
        return FlatBuffer(bytes(self._data))

    def to_bytes(self) -> bytes:
        """Return all bytes."""
        return bytes(self._data)

    def _check(self, position: int, length: int) -> None:
        if not 0 <= position <= len(self._data) - length:
            raise _broken("it ends in the middle of a value")


@dataclass(frozen=True)
class Vector:
    """Elements behind each other; `position` is that of the first."""

    buffer: FlatBuffer
    position: int
    length: int

    def integers(self, kind: str = INT32) -> Tuple[int, ...]:
        """Return all elements of a vector of integers."""
        self.buffer.claim(self.length)
        size = struct.calcsize(kind)
        return tuple(self.buffer.integer(kind, self.position + index * size) for index in range(self.length))

    def tables(self) -> Tuple[Table, ...]:
        """Return all elements of a vector of references to tables."""
        self.buffer.claim(self.length)
        places = (self.position + index * _OFFSET_BYTES for index in range(self.length))
        return tuple(Table(self.buffer, self.buffer.follow(place)) for place in places)


@dataclass(frozen=True)
class Table:
    """A table: fields by number, any of which may be missing."""

    buffer: FlatBuffer
    position: int

    def field(self, slot: int) -> Optional[int]:
        """Return where a field stands, or None if the table does not have it."""
        vtable = self.position - self.buffer.integer(INT32, self.position)
        size = self.buffer.integer(UINT16, vtable)
        entry = _VTABLE_HEAD_BYTES + 2 * slot
        if entry + 2 > size:
            return None
        distance = self.buffer.integer(UINT16, vtable + entry)
        return self.position + distance if distance else None

    def number(self, slot: int, kind: str, default: Number = 0) -> Number:
        """Return a field that is a number."""
        place = self.field(slot)
        return default if place is None else self.buffer.number(kind, place)

    def integer(self, slot: int, kind: str = INT32, default: int = 0) -> int:
        """Return a field that is an integer."""
        return int(self.number(slot, kind, default))

    def table(self, slot: int) -> Optional[Table]:
        """Return a field that is a table, or None."""
        place = self.field(slot)
        return None if place is None else Table(self.buffer, self.buffer.follow(place))

    def vector(self, slot: int, element_bytes: int = _OFFSET_BYTES) -> Vector:
        """Return a field that is a vector; a missing one is empty."""
        place = self.field(slot)
        if place is None:
            return Vector(self.buffer, 0, 0)
        return self.buffer.vector(self.buffer.follow(place), element_bytes)

    def text(self, slot: int) -> str:
        """Return a field that is a text; a missing one is empty."""
        found = self.vector(slot, 1)
        self.buffer.claim(found.length)
        return self.buffer.raw(found.position, found.length).decode("utf-8", "replace")


def _broken(reason: str) -> SessionError:
    return SessionError("unreadable_model", f"the TFLite file is broken: {reason}")
