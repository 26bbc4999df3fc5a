"""Cuts models out of a TFLite file: some of its operators, as a file of its own that any interpreter runs.

The Python interface of TFLite's interpreters tells no operator's time, so operators are measured as models. The cut is
made in place: the list of operators is shortened and led to those that are kept, and new lists of the graph's inputs
and outputs are appended behind the end. Constant values that are not needed become zeros, and holes in the file.
"""

from __future__ import annotations

from pathlib import Path
from typing import FrozenSet, List, Mapping, Optional, Sequence, Set, Tuple

from profiler_agent.errors import SessionError
from profiler_agent.runtimes.flatbuffer import INT32, UINT32
from profiler_agent.runtimes.tflite_file import ABSENT, TfliteFile

_INPUTS, _OUTPUTS, _OPERATORS = 1, 2, 3
_SHAPE, _SIGNATURE = 0, 7
_MODEL_SIGNATURES = 7
_PAGE_BYTES = 4096
_INPUT_DTYPES = ("float32", "float16", "int8", "uint8", "int16", "int32", "int64", "bool")
Shapes = Mapping[int, Tuple[int, ...]]


def cut(file: TfliteFile, chosen: Sequence[int], shapes: Optional[Shapes] = None) -> bytes:
    """Return a model that holds some operators alone; what they read of others becomes an input.

    Operators that make a chosen one's operands out of constants alone (unpacked weights, for example) come along:
    without them the operand would be no constant any more.

    Args:
        file: where the operators are from.
        chosen: their numbers, ascending; none gives a model that computes nothing.
        shapes: of tensors that the runtime resized, by number.

    Raises:
        SessionError: the file has no such operators, or cannot be cut in place.
    """
    unknown = [number for number in chosen if not 0 <= number < len(file.operators)]
    if unknown:
        raise SessionError("runtime_error", f"the model has no operator {unknown[0]}")
    kept = sorted(set(chosen) | _constant_ancestors(file, chosen))
    inputs, outputs = _ends(file, kept, chosen)
    result = file.buffer.copy()
    graph = file.graph
    fields = [graph.field(slot) for slot in (_INPUTS, _OUTPUTS, _OPERATORS)]
    if any(place is None for place in fields):
        raise SessionError("unsupported_model", "the graph lacks a list of inputs, outputs or operators")
    places = [place for place in fields if place is not None]
    operators = result.follow(places[2])
    result.patch(UINT32, operators, len(kept))
    for index, number in enumerate(kept):
        result.patch_reference(operators + 4 + 4 * index, file.operators[number].position)
    for place, numbers in zip(places, (inputs, outputs)):
        result.patch_reference(place, result.append_numbers(numbers))
    # Signatures speak of the whole model's inputs and outputs.
    signatures = file.buffer.root().vector(_MODEL_SIGNATURES)
    if signatures.length:
        result.patch(UINT32, signatures.position - 4, 0)
    for number, shape in (shapes or {}).items():
        for slot in (_SHAPE, _SIGNATURE):
            written = file.tensors[number].table.vector(slot)
            if written.length == len(shape):
                for axis, size in enumerate(shape):
                    result.patch(INT32, written.position + 4 * axis, size)
    for position, length in _unneeded(file, kept):
        result.clear(position, length)
    return result.to_bytes()


def boundary(file: TfliteFile, chosen: Sequence[int]) -> Tuple[int, ...]:
    """Return the numbers of the tensors that a cut of these operators reads from outside and writes."""
    kept = sorted(set(chosen) | _constant_ancestors(file, chosen))
    inputs, outputs = _ends(file, kept, chosen)
    return inputs + outputs


def write_sparse(path: Path, data: bytes) -> None:
    """Write a file whose pages of zeros take no space where the file system can leave them out."""
    empty = bytes(_PAGE_BYTES)
    with path.open("wb") as file:
        for start in range(0, len(data), _PAGE_BYTES):
            page = data[start : start + _PAGE_BYTES]
            if page == empty:
                file.seek(len(page), 1)
            else:
                file.write(page)
        file.truncate(len(data))


def _ends(file: TfliteFile, kept: Sequence[int], chosen: Sequence[int]) -> Tuple[Tuple[int, ...], Tuple[int, ...]]:
    """Return the tensors that go into a cut and those that come out of it."""
    if not kept:
        # A graph without operators hands its input through.
        tensor = _any_tensor(file)
        return (tensor,), (tensor,)
    made: Set[int] = set()
    inputs: List[int] = []
    for number in kept:
        for tensor in file.operators[number].inputs:
            known = tensor == ABSENT or tensor in made or tensor in inputs
            if not known and not file.tensors[tensor].constant and not file.tensors[tensor].variable:
                inputs.append(tensor)
        made.update(file.operators[number].outputs)
    read = {tensor for number in kept for tensor in file.operators[number].inputs}
    results = [tensor for number in chosen for tensor in file.operators[number].outputs if tensor != ABSENT]
    # What only the cut itself reads is no result; of a cut in a circle everything is.
    return tuple(inputs), tuple(tensor for tensor in results if tensor not in read) or tuple(results)


def _any_tensor(file: TfliteFile) -> int:
    """Return the smallest tensor that is no constant and of a type that an input can have."""
    candidates = [
        (_size(tensor.shape), number)
        for number, tensor in enumerate(file.tensors)
        if not tensor.constant and not tensor.variable and tensor.dtype in _INPUT_DTYPES
    ]
    if not candidates:
        raise SessionError("unsupported_model", "the graph has no tensor of numbers that it computes")
    return min(candidates)[1]


def _size(shape: Tuple[int, ...]) -> int:
    size = 1
    for side in shape:
        size *= max(1, side)
    return size


def _constant_ancestors(file: TfliteFile, chosen: Sequence[int]) -> Set[int]:
    """Return the operators that chosen ones depend on and that depend on constants alone."""
    fixed = constant_operators(file)
    maker = {tensor: number for number in fixed for tensor in file.operators[number].outputs}
    found: Set[int] = set()
    waiting = list(chosen)
    while waiting:
        for tensor in file.operators[waiting.pop()].inputs:
            number = maker.get(tensor)
            if number is not None and number not in found:
                found.add(number)
                waiting.append(number)
    return found


def constant_operators(file: TfliteFile) -> FrozenSet[int]:
    """Return the operators whose result never changes: their operands are constants, or such results."""
    known: Set[int] = set()
    fixed: Set[int] = set()
    for number, operator in enumerate(file.operators):
        operands = [tensor for tensor in operator.inputs if tensor != ABSENT]
        if operands and all(file.tensors[tensor].constant or tensor in known for tensor in operands):
            fixed.add(number)
            known.update(operator.outputs)
    return frozenset(fixed)


def _unneeded(file: TfliteFile, kept: Sequence[int]) -> Tuple[Tuple[int, int], ...]:
    """Return where the constant values stand that no kept operator reads."""
    read = {tensor for number in kept for tensor in file.operators[number].inputs if tensor != ABSENT}
    needed = {file.tensors[tensor].data for tensor in read}
    return tuple(
        one.data
        for one in file.tensors
        if one.data is not None and one.data not in needed and one.data[1] > _PAGE_BYTES
    )
