"""Cuts a TFLite model into models of one operator each, as the interpreter at hand would execute it."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Dict, List, Optional, Sequence, Tuple

from profiler_agent.errors import SessionError
from profiler_agent.inspection import Inspected, SeenOperator
from profiler_agent.records import Settings, TensorType
from profiler_agent.runtimes.tflite import TfliteRuntime, placed_operations
from profiler_agent.runtimes.tflite_cut import Shapes, boundary, cut, write_sparse
from profiler_agent.runtimes.tflite_file import ABSENT, FileOperator, TfliteFile, read_tflite

CALL_FILE = "call.tflite"
_BUILTIN = "builtin"
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
    shapes = _shapes(interpreter, len(file.tensors))
    placed = _placed(interpreter, file)
    write_sparse(folder / CALL_FILE, cut(file, ()))
    parts: Dict[_Key, Tuple[Optional[str], Optional[str]]] = {}
    operators = []
    for number, (operator, operation) in enumerate(zip(file.operators, placed)):
        inputs, outputs = _types(file, operator.inputs, shapes), _types(file, operator.outputs, shapes)
        key = (operation, operator.version, tuple(operator.attributes.items()), inputs, outputs)
        if key not in parts:
            parts[key] = _part(file, number, shapes, folder)
        part, problem = parts[key]
        operators.append(
            SeenOperator(
                name=next((file.tensors[one].name for one in operator.outputs if one != ABSENT), ""),
                operation=operation,
                provider=operation.rpartition("@")[2] if "@" in operation else _BUILTIN,
                inputs=inputs,
                outputs=outputs,
                attributes=operator.attributes,
                part=part,
                problem=problem,
            )
        )
    return Inspected(tuple(operators), CALL_FILE)


def _part(file: TfliteFile, number: int, shapes: Shapes, folder: Path) -> Tuple[Optional[str], Optional[str]]:
    """Write one operator as a model, and return the file's name, or why it cannot be cut out."""
    name = f"operator_{number}.tflite"
    try:
        ends = {tensor: shapes[tensor] for tensor in boundary(file, (number,)) if tensor in shapes}
        write_sparse(folder / name, cut(file, (number,), ends))
    except SessionError as e:
        return None, str(e)
    return name, None


def _shapes(interpreter: Any, count: int) -> Shapes:
    """Return the shapes of the tensors after preparation; delegates append tensors of their own."""
    details = interpreter.get_tensor_details()
    return {one["index"]: tuple(int(size) for size in one["shape"]) for one in details if one["index"] < count}


def _placed(interpreter: Any, file: TfliteFile) -> Tuple[str, ...]:
    """Return the operations in the words of records; the file's own names where the interpreter tells none."""
    # The interface has no public way; a version that drops this one gives no list, and no error.
    details: List[Dict[str, Any]] = list(getattr(interpreter, "_get_ops_details", list)())
    placed = placed_operations(details)
    names = _file_names(file.operators)
    if len(placed) != len(names):
        return names
    return tuple(name + one[len(one.partition("@")[0]) :] for name, one in zip(names, placed))


def _file_names(operators: Sequence[FileOperator]) -> Tuple[str, ...]:
    return tuple(one.operation for one in operators)


def _types(file: TfliteFile, numbers: Tuple[int, ...], shapes: Shapes) -> Tuple[TensorType, ...]:
    tensors = [(number, file.tensors[number]) for number in numbers if number != ABSENT]
    return tuple(TensorType(one.dtype, shapes.get(number, one.shape), one.constant) for number, one in tensors)
