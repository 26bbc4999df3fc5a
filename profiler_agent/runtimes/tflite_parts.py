"""Cuts a TFLite model into models of one operator each, as the interpreter at hand would execute it."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Dict, List, Optional, Sequence, Tuple

from profiler_agent.errors import SessionError
from profiler_agent.inspection import Inspected, SeenOperator
from profiler_agent.records import Settings, TensorType
from profiler_agent.runtimes.placement import PlacedOperator, operation_texts
from profiler_agent.runtimes.tflite import TfliteRuntime
from profiler_agent.runtimes.tflite_cut import Shapes, boundary, cut, write_sparse
from profiler_agent.runtimes.tflite_file import ABSENT, FileOperator, TfliteFile, read_tflite

_CALL_FILE = "call.tflite"
_BUILTIN, _XNNPACK = "builtin", "@XNNPACK"
# XNNPACK fuses a clamp into what makes its operand, and spatial padding into the convolution that reads it, where
# nothing else reads the value between them (xnn_subgraph_fusion in its subgraph.c).
_CLAMPS = ("RELU", "RELU6", "RELU_N1_TO_1", "RELU_0_TO_1")
_CLAMPED = (
    *("ADD", "SUB", "MUL", "DIV", "AVERAGE_POOL_2D", "MAX_POOL_2D"),
    *("CONV_2D", "DEPTHWISE_CONV_2D", "TRANSPOSE_CONV", "FULLY_CONNECTED"),
)
_PADDED = ("CONV_2D", "DEPTHWISE_CONV_2D")
_Key = Tuple[Any, ...]


def inspect(
    runtime: TfliteRuntime, model: Path, settings: Settings, input_shapes: Dict[str, Tuple[int, ...]], folder: Path
) -> Inspected:
    """List a model's operators, and write each that differs from the others as a model of its own.

    Args:
        runtime: what executes it.
        model: the file.
        settings: threads.
        input_shapes: of dynamic inputs, by name.
        folder: for the files: the operators, and a model that computes nothing.

    Raises:
        SessionError: the model cannot be read or prepared.
    """
    interpreter = runtime.prepare(model, settings, input_shapes)
    file = read_tflite(model.read_bytes())
    # A delegate keeps the shapes of what lies inside of it to itself: the interpreter goes on telling the file's.
    resized = runtime.prepare(model, settings, input_shapes, delegated=False) if input_shapes else interpreter
    shapes = _shapes(resized, len(file.tensors))
    placed = _placed(runtime.placement(model, settings, input_shapes), runtime.own_provider, file)
    write_sparse(folder / _CALL_FILE, cut(file, (), {one: shapes[one] for one in boundary(file, ())}))
    fused = fusions(file, placed)
    groups = {main: sorted([main, *(one for one in fused if fused[one] == main)]) for main in fused.values()}
    writer = _PartWriter(file, shapes, placed, folder)
    operators = []
    for number, operator in enumerate(file.operators):
        part, problem = writer.part((number,))
        operators.append(
            SeenOperator(
                name=next((file.tensors[one].name for one in operator.outputs if one != ABSENT), ""),
                operation=placed[number],
                provider=placed[number].rpartition("@")[2] if "@" in placed[number] else _BUILTIN,
                inputs=_types(file, operator.inputs, shapes),
                outputs=_types(file, operator.outputs, shapes),
                attributes=operator.attributes,
                part=part,
                group=writer.part(tuple(groups[number]))[0] if number in groups else None,
                fused_into=fused.get(number),
                problem=problem,
            )
        )
    return Inspected(tuple(operators), _CALL_FILE)


def fusions(file: TfliteFile, placed: Sequence[str]) -> Dict[int, int]:
    """Return the operators that XNNPACK may fuse into another, and into which.

    Args:
        file: the model.
        placed: its operations, `@XNNPACK` behind those that the delegate took.
    """
    readers: Dict[int, List[int]] = {}
    for number, operator in enumerate(file.operators):
        for tensor in operator.inputs:
            readers.setdefault(tensor, []).append(number)
    results = set(file.graph.vector(2).integers())
    found: Dict[int, int] = {}
    for number, operator in enumerate(file.operators):
        if len(operator.outputs) != 1 or results.intersection(operator.outputs):
            continue
        read_by = readers.get(operator.outputs[0], [])
        if len(read_by) != 1 or not placed[number].endswith(_XNNPACK):
            continue
        (reader,) = read_by
        next_operator = file.operators[reader]
        if not placed[reader].endswith(_XNNPACK) or next_operator.inputs[0] != operator.outputs[0]:
            continue
        if operator.operation == "PAD" and next_operator.operation in _PADDED:
            found[number] = reader
        elif operator.operation in _CLAMPED and next_operator.operation in _CLAMPS:
            found[reader] = number
    return found


class _PartWriter:
    """Writes cuts of a model as files, equal ones once."""

    def __init__(self, file: TfliteFile, shapes: Shapes, placed: Sequence[str], folder: Path) -> None:
        self._file = file
        self._shapes = shapes
        self._placed = placed
        self._folder = folder
        self._written: Dict[Tuple[_Key, ...], Tuple[Optional[str], Optional[str]]] = {}

    def part(self, numbers: Tuple[int, ...]) -> Tuple[Optional[str], Optional[str]]:
        """Return the name of a file with these operators alone, or why there is none."""
        key = tuple(self._key(number) for number in numbers)
        if key not in self._written:
            self._written[key] = self._write(numbers)
        return self._written[key]

    def _key(self, number: int) -> _Key:
        operator = self._file.operators[number]
        inputs, outputs = (_types(self._file, one, self._shapes) for one in (operator.inputs, operator.outputs))
        return self._placed[number], operator.version, tuple(operator.attributes.items()), inputs, outputs

    def _write(self, numbers: Tuple[int, ...]) -> Tuple[Optional[str], Optional[str]]:
        name = f"operator_{'_'.join(map(str, numbers))}.tflite"
        try:
            ends = {one: self._shapes[one] for one in boundary(self._file, numbers) if one in self._shapes}
            write_sparse(self._folder / name, cut(self._file, numbers, ends))
        except SessionError as e:
            return None, str(e)
        return name, None


def _shapes(interpreter: Any, count: int) -> Shapes:
    """Return the shapes of the tensors after preparation; delegates append tensors of their own."""
    details = interpreter.get_tensor_details()
    return {one["index"]: tuple(int(size) for size in one["shape"]) for one in details if one["index"] < count}


def _placed(placed: Sequence[PlacedOperator], own: str, file: TfliteFile) -> Tuple[str, ...]:
    """Return the operations in the words of records; the file's own names where the interpreter tells none."""
    names = _file_names(file.operators)
    if len(placed) != len(names):
        return names
    return operation_texts([one._replace(name=name) for name, one in zip(names, placed)], own)


def _file_names(operators: Sequence[FileOperator]) -> Tuple[str, ...]:
    return tuple(one.operation for one in operators)


def _types(file: TfliteFile, numbers: Tuple[int, ...], shapes: Shapes) -> Tuple[TensorType, ...]:
    tensors = [(number, file.tensors[number]) for number in numbers if number != ABSENT]
    return tuple(TensorType(one.dtype, shapes.get(number, one.shape), one.constant) for number, one in tensors)
