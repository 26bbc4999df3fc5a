"""A reader of pickles that runs nothing: plain containers, numbers, texts and numpy's arrays and scalars of numbers.

Python's own unpickler calls what a file names. This one is a small machine of its own over the file's instructions: a
name is looked up nowhere, it only marks what follows as one of numpy's few ways to write an array or a number, whose
bytes are then read here. Every other name, and every instruction that plain data does not need, ends the reading.

No claim of a file about sizes is believed: texts and bytes are as long as the file holds them, arrays as large as their
bytes, and instructions, containers, copies and the depth of marks are counted. Keys of dictionaries are short texts or
numbers: nested tuples and endless numbers can take for ever to hash.
"""

from __future__ import annotations

import math
import pickletools
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from searcher.errors import BadInputError
from searcher.tables.foreign.reading import MOST_BYTES, ForeignFile, quote

MOST_INSTRUCTIONS = 10_000_000
MOST_CONTAINERS = 2_000_000
MOST_MEMOS = 4_000_000
_MOST_MARKS = 1000
_MOST_DIMENSIONS = 8
_MOST_ARGUMENTS = 16
_LONGEST_KEY = 1000

_NUMPY = r"numpy\.(_?core\.(multiarray|numeric)\.(_reconstruct|scalar|_frombuffer)|dtype|ndarray)"
_KNOWN = re.compile(rf"{_NUMPY}|_codecs\.encode|collections\.OrderedDict")
_DTYPE = re.compile(r"[<>|=]?([biuf])([1248])")
_SKIPPED = frozenset({"PROTO", "FRAME"})
_VALUES = frozenset(
    {
        *("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT"),
        *("STRING", "BINSTRING", "SHORT_BINSTRING", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8"),
        *("UNICODE", "SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8"),
    }
)
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_EMPTY = {"EMPTY_LIST": list, "EMPTY_DICT": dict, "EMPTY_TUPLE": tuple}
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
_PUTS = frozenset({"PUT", "BINPUT", "LONG_BINPUT"})
_GETS = frozenset({"GET", "BINGET", "LONG_BINGET"})


@dataclass(frozen=True)
class _Name:
    """A callable that the file names; nothing stands behind it."""

    text: str

    @property
    def last(self) -> str:
        return self.text.rpartition(".")[2]


@dataclass
class _Dtype:
    """A number type; its byte order comes with its state."""

    text: str
    order: str = "<"

    def numpy(self) -> np.dtype[Any]:
        return np.dtype(self.order + self.text)


@dataclass
class PickledArray:
    """An array; None until its state is told."""

    values: NDArray[Any] | None = None


@dataclass
class _Machine:
    """The state of the reading."""

    stack: list[Any] = field(default_factory=list)
    marks: list[int] = field(default_factory=list)
    memo: dict[int, Any] = field(default_factory=dict)
    containers: int = 0
    copied_bytes: int = 0

    def made(self, container: Any) -> Any:
        self.containers += 1
        if self.containers > MOST_CONTAINERS:
            raise ValueError(f"it holds more than {MOST_CONTAINERS:,} lists, dictionaries and tuples")
        return container

    def copying(self, arguments: tuple[Any, ...]) -> None:
        """Count what a call may copy: one long text can be given to any number of calls."""
        if len(arguments) > _MOST_ARGUMENTS:
            raise ValueError("it calls something with too many arguments")
        self.copied_bytes += sum(len(one) for one in arguments if isinstance(one, str | bytes | bytearray))
        if self.copied_bytes > 2 * MOST_BYTES:
            raise ValueError("it uses its bytes again and again")

    def put(self, place: int, value: Any) -> None:
        self.memo[place] = value
        if len(self.memo) > MOST_MEMOS:
            raise ValueError(f"it remembers more than {MOST_MEMOS:,} values")

    def pop(self) -> Any:
        if len(self.stack) <= (self.marks[-1] if self.marks else 0):
            raise ValueError("an instruction finds nothing to work on")
        return self.stack.pop()

    def top(self) -> Any:
        value = self.pop()
        self.stack.append(value)
        return value

    def popped_to_mark(self) -> list[Any]:
        if not self.marks:
            raise ValueError("an instruction lacks its mark")
        start = self.marks.pop()
        items = self.stack[start:]
        del self.stack[start:]
        return items


def read_pickle(file: ForeignFile) -> Any:
    """Return what a pickle holds, made of lists, tuples, dictionaries, texts, bytes, numbers and `PickledArray`.

    Raises:
        BadInputError: it names anything else, is damaged, or is larger than any table.
    """
    machine = _Machine()
    try:
        for count, (name, argument) in enumerate(_instructions(file.content)):
            if count >= MOST_INSTRUCTIONS:
                raise ValueError(f"it has more than {MOST_INSTRUCTIONS:,} instructions")
            if name == "STOP":
                return machine.pop()
            _carry_out(machine, name, argument)
    except (ValueError, TypeError, OverflowError) as e:
        raise BadInputError(f"{file.path} is refused: {' '.join(str(e).split())[:200]}") from e
    raise BadInputError(f"{file.path} is refused: it ends early")


def _instructions(content: bytes) -> Iterator[tuple[str, Any]]:
    return ((opcode.name, argument) for opcode, argument, _ in pickletools.genops(content))


def _carry_out(machine: _Machine, name: str, argument: Any) -> None:
    """Carry out one instruction.

    Raises:
        ValueError: it is none of plain data, or does not fit.
    """
    if name in _SKIPPED:
        return
    if name in _VALUES:
        machine.stack.append(argument)
    elif name in _CONSTANTS:
        machine.stack.append(_CONSTANTS[name])
    elif name in _EMPTY:
        machine.stack.append(machine.made(_EMPTY[name]()))
    elif name == "MARK":
        machine.marks.append(len(machine.stack))
        if len(machine.marks) > _MOST_MARKS:
            raise ValueError(f"it is nested more than {_MOST_MARKS} deep")
    elif name in _PUTS or name == "MEMOIZE":
        machine.put(len(machine.memo) if name == "MEMOIZE" else argument, machine.top())
    elif name in _GETS:
        if argument not in machine.memo:
            raise ValueError("it speaks of something that it never told")
        machine.stack.append(machine.memo[argument])
    elif name in ("GLOBAL", "STACK_GLOBAL", "REDUCE", "BUILD"):
        _call(machine, name, argument)
    else:
        _contain(machine, name, argument)


def _contain(machine: _Machine, name: str, argument: Any) -> None:
    """Put values into containers."""
    if name in _TUPLES:
        items = [machine.pop() for _ in range(_TUPLES[name])]
        machine.stack.append(machine.made(tuple(reversed(items))))
    elif name == "TUPLE":
        machine.stack.append(machine.made(tuple(machine.popped_to_mark())))
    elif name == "LIST":
        machine.stack.append(machine.made(machine.popped_to_mark()))
    elif name == "DICT":
        machine.stack.append(machine.made(_filled({}, machine.popped_to_mark())))
    elif name in ("APPEND", "APPENDS"):
        items = [machine.pop()] if name == "APPEND" else machine.popped_to_mark()
        _of(list, machine.top()).extend(items)
    elif name in ("SETITEM", "SETITEMS"):
        items = [machine.pop(), machine.pop()][::-1] if name == "SETITEM" else machine.popped_to_mark()
        _filled(_of(dict, machine.top()), items)
    else:
        told = f" {quote(argument.replace(' ', '.'))}" if name == "INST" else ""
        raise ValueError(f"its instruction {name}{told} is none of plain data")


def _filled(filled: dict[Any, Any], items: list[Any]) -> dict[Any, Any]:
    if len(items) % 2:
        raise ValueError("a dictionary has a key without a value")
    for key, value in zip(items[::2], items[1::2], strict=True):
        if not _is_key(key):
            raise ValueError(f"a dictionary's key is {quote(key)}, neither a short text nor a number")
        filled[key] = value
    return filled


def _is_key(key: object) -> bool:
    """Tell what is hashed and compared in no time, however often."""
    if isinstance(key, str):
        return len(key) <= _LONGEST_KEY
    return isinstance(key, float) or (isinstance(key, int) and -(2**63) <= key < 2**63)


def _of(kind: type[Any], value: Any) -> Any:
    if type(value) is not kind:
        raise ValueError(f"something is added to {quote(value)}, not to a {kind.__name__}")
    return value


def _call(machine: _Machine, name: str, argument: Any) -> None:
    """Recognise one of the few calls by which numpy writes arrays and numbers."""
    if name == "GLOBAL":
        machine.stack.append(_named(str(argument).replace(" ", ".")))
    elif name == "STACK_GLOBAL":
        last, module = machine.pop(), machine.pop()
        if not isinstance(last, str) or not isinstance(module, str):
            raise ValueError("it names something by no text")
        machine.stack.append(_named(f"{module}.{last}"))
    elif name == "REDUCE":
        arguments, called = machine.pop(), machine.pop()
        if not isinstance(called, _Name) or not isinstance(arguments, tuple):
            raise ValueError(f"it calls {quote(called)}")
        machine.copying(arguments)
        machine.stack.append(machine.made(_result(called, arguments)))
    else:
        state, built = machine.pop(), machine.top()
        if isinstance(state, tuple):
            machine.copying(state)
        _build(built, state)


def _named(text: str) -> _Name:
    if not _KNOWN.fullmatch(text):
        raise ValueError(f"it asks for {quote(text)}, and only numpy's arrays and plain containers are read")
    return _Name(text)


def _result(called: _Name, arguments: tuple[Any, ...]) -> Any:
    match called.last, arguments:
        case "_reconstruct", (_Name(), (0,), bytes() | str()):
            return PickledArray()
        case "_frombuffer", (bytes() | bytearray() as raw, _Dtype() as dtype, tuple() as shape, "C" | "F" as order):
            return PickledArray(_array(raw, dtype, shape, order))
        case "scalar", (_Dtype() as dtype, bytes() | str() as raw):
            return _array(_bytes(raw), dtype, (), "C").item()
        case "dtype", (str() as text, *_):
            return _dtype(text)
        case "encode", (str() as text, "latin1" | "latin-1" as encoding):
            return text.encode(encoding)
        case "OrderedDict", ():
            return {}
    raise ValueError(f"it calls {called.text} with something else than data")


def _build(built: Any, state: Any) -> None:
    """Take in the state of a number type or an array."""
    match built, state:
        case _Dtype(), (int(), "<" | ">" | "|" | "=" as order, None, None, None, *_):
            # A number type is one object for all arrays of the file, told once.
            built.order = "<" if order in "|=" else order
        case PickledArray(values=None), (int(), tuple() as shape, _Dtype() as dtype, bool() | int() as fortran, raw):
            if not isinstance(raw, bytes | str | bytearray):
                raise ValueError("an array holds objects, not numbers")
            built.values = _array(_bytes(raw), dtype, shape, "F" if fortran else "C")
        case _:
            raise ValueError(f"it sets the state of {quote(built)}")


def _dtype(text: str) -> _Dtype:
    match = _DTYPE.fullmatch(text)
    if match is None or match[0][-2:] in ("b2", "b4", "b8", "f1"):
        raise ValueError(f"an array is of {quote(text)}, not of numbers")
    return _Dtype(match[1] + match[2], text[0] if text[0] in "<>" else "<")


def _bytes(raw: bytes | bytearray | str) -> bytes | bytearray:
    # Python 2 wrote bytes as texts.
    return raw.encode("latin-1") if isinstance(raw, str) else raw


def _array(raw: bytes | bytearray, dtype: _Dtype, shape: tuple[Any, ...], order: str) -> NDArray[Any]:
    sizes = [size for size in shape[:_MOST_DIMENSIONS] if type(size) is int and 0 <= size <= len(raw)]
    if len(sizes) != len(shape):
        raise ValueError("the shape of an array is none")
    numbers = dtype.numpy()
    if math.prod(sizes) * numbers.itemsize != len(raw):
        raise ValueError("an array has more or less bytes than its shape says")
    return np.frombuffer(raw, numbers).reshape(sizes, order="F" if order == "F" else "C")
