"""Reads what a TFLite file holds, without any runtime: the operators of its main graph, their tensors and options."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Dict, List, Optional, Tuple

from profiler_agent.errors import SessionError
from profiler_agent.runtimes.flatbuffer import INT8, INT32, INT64, UINT8, UINT32, UINT64, FlatBuffer, Table, Vector
from profiler_agent.runtimes.tflite_schema import ACTIVATIONS, CUSTOM, DTYPES, OPERATORS, OPTIONS, PADDINGS, Attribute

IDENTIFIER = b"TFL3"
ABSENT = -1
# Constant operands of so many integers or fewer (axes, permutations, paddings) change what an operator costs.
_MOST_VALUES = 16
_KERNEL_SIDES = {"CONV_2D": slice(1, 3), "DEPTHWISE_CONV_2D": slice(1, 3), "TRANSPOSE_CONV": slice(1, 3)}
_INTEGERS = {"int32": (INT32, 4), "int64": (INT64, 8)}


@dataclass(frozen=True)
class Tensor:
    """One tensor of a graph.

    Attributes:
        shape: as the file says; a runtime may resize it.
        data: where its constant values stand in the file and how many bytes they take, or None if it has none.
        outside: whether it has constant values behind the flatbuffer itself.
        variable: whether it keeps its values from one inference to the next.
    """

    name: str
    dtype: str
    shape: Tuple[int, ...]
    data: Optional[Tuple[int, int]]
    outside: bool
    variable: bool
    table: Table

    @property
    def constant(self) -> bool:
        """Whether the file holds its values."""
        return self.data is not None or self.outside


@dataclass(frozen=True)
class FileOperator:
    """One operator of a graph.

    Attributes:
        position: of its table in the file.
        operation: the name in TFLite's schema; `custom:NAME` for one that is not.
        version: of the operation.
        inputs: numbers of its tensors; -1 for an operand that is left out.
        attributes: the options that change what it costs.
    """

    position: int
    operation: str
    version: int
    inputs: Tuple[int, ...]
    outputs: Tuple[int, ...]
    attributes: Dict[str, str]


@dataclass(frozen=True)
class TfliteFile:
    """The main graph of a file, which is its first."""

    buffer: FlatBuffer
    graph: Table
    tensors: Tuple[Tensor, ...]
    operators: Tuple[FileOperator, ...]


def read_tflite(data: bytes) -> TfliteFile:
    """Read the main graph of a TFLite file.

    Raises:
        SessionError: the bytes are none.
    """
    if data[4:8] != IDENTIFIER:
        raise SessionError("unreadable_model", "the file is no TFLite model: it does not say so in its fifth byte")
    buffer = FlatBuffer(data)
    model = buffer.root()
    graphs = model.vector(2).tables()
    if not graphs:
        raise SessionError("unreadable_model", "the TFLite file holds no graph")
    buffers = tuple(_values(one) for one in model.vector(4).tables())
    tensors = tuple(_tensor(one, buffers) for one in graphs[0].vector(0).tables())
    codes = tuple(_code(one) for one in model.vector(1).tables())
    operators = tuple(_operator(one, codes, tensors) for one in graphs[0].vector(3).tables())
    return TfliteFile(buffer, graphs[0], tensors, operators)


def _values(buffer: Table) -> Tuple[Vector, bool]:
    """Return the constant values of a buffer, and whether it has some behind the flatbuffer itself."""
    return buffer.vector(0, 1), buffer.integer(2, UINT64) > 1


def _tensor(table: Table, buffers: Tuple[Tuple[Vector, bool], ...]) -> Tensor:
    number = table.integer(2, UINT32)
    if number >= len(buffers) > 0:
        raise SessionError("unreadable_model", f"the TFLite file is broken: it has no buffer {number}")
    values, outside = buffers[number] if buffers else (Vector(table.buffer, 0, 0), False)
    dtype = table.integer(1, INT8)
    return Tensor(
        name=table.text(3),
        dtype=DTYPES[dtype] if 0 <= dtype < len(DTYPES) else f"type{dtype}",
        shape=table.vector(0).integers(),
        data=(values.position, values.length) if values.length else None,
        outside=outside,
        variable=bool(table.integer(5, UINT8)),
        table=table,
    )


def _code(table: Table) -> Tuple[str, int]:
    """Return the name and the version of an operation."""
    # Before there were more than 127 operations, the number stood in the first field alone.
    number = max(table.integer(0, INT8), table.integer(3))
    version = table.integer(2, default=1)
    if number == CUSTOM:
        return f"custom:{table.text(1)}", version
    return (OPERATORS[number] if 0 <= number < len(OPERATORS) else f"BUILTIN_{number}"), version


def _operator(table: Table, codes: Tuple[Tuple[str, int], ...], tensors: Tuple[Tensor, ...]) -> FileOperator:
    code = table.integer(0, UINT32)
    if code >= len(codes):
        raise SessionError("unreadable_model", f"the TFLite file is broken: it has no operation {code}")
    inputs, outputs = table.vector(1).integers(), table.vector(2).integers()
    for number in inputs + outputs:
        if not ABSENT <= number < len(tensors):
            raise SessionError("unreadable_model", f"the TFLite file is broken: it has no tensor {number}")
    operation, version = codes[code]
    attributes = _options(table)
    operands = [None if number == ABSENT else tensors[number] for number in inputs]
    if operation in _KERNEL_SIDES and len(operands) > 1 and operands[1] is not None:
        attributes["kernel"] = _joined(operands[1].shape[_KERNEL_SIDES[operation]])
    if operation == "CONV_2D":
        attributes["groups"] = str(_groups(operands))
    for index, operand in enumerate(operands):
        values = None if operand is None else _small_values(operand)
        if values is not None:
            attributes[f"input_{index}"] = _joined(values)
    return FileOperator(table.position, operation, version, inputs, outputs, attributes)


def _options(operator: Table) -> Dict[str, str]:
    options = operator.table(4)
    known = OPTIONS.get(operator.integer(3, UINT8), ())
    return {} if options is None else {one[0]: _option(options, one) for one in known}


def _option(options: Table, attribute: Attribute) -> str:
    name, slots, kind, default = attribute
    values = tuple(options.number(slot, kind, default) for slot in slots)
    words = {"padding": PADDINGS, "activation": ACTIVATIONS}.get(name, ())
    value = values[0]
    if isinstance(value, int) and 0 <= value < len(words):
        return words[value]
    return ",".join(f"{one:g}" if isinstance(one, float) else str(one) for one in values)


def _groups(operands: List[Optional[Tensor]]) -> int:
    """Return the groups of a convolution: channels of its input, for each one that a filter sees."""
    shapes = [() if one is None else one.shape for one in operands[:2]]
    if len(shapes) < 2 or not all(shapes) or shapes[1][-1] < 1:
        return 1
    return max(1, shapes[0][-1] // shapes[1][-1])


def _small_values(tensor: Tensor) -> Optional[Tuple[int, ...]]:
    """Return the values of a constant operand that is a short list of integers, else None."""
    if tensor.data is None or tensor.dtype not in _INTEGERS:
        return None
    kind, size = _INTEGERS[tensor.dtype]
    position, length = tensor.data
    if length > _MOST_VALUES * size or length % size:
        return None
    return Vector(tensor.table.buffer, position, length // size).integers(kind)


def _joined(values: Tuple[int, ...]) -> str:
    return ",".join(map(str, values))
