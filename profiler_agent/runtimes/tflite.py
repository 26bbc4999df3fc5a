"""TFLite models in any interpreter of its Python interface: LiteRT's and the older tflite-runtime's are the same.

Neither runtime is imported here: `litert` and `tflite_runtime` bring their own interpreter.
"""

from __future__ import annotations

import base64
import random
import sys
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any, Dict, List, Sequence, Set, Tuple

from profiler_agent.errors import SessionError
from profiler_agent.records import Settings
from profiler_agent.runtimes import check_readable
from profiler_agent.runtimes.inputs import input_shape, random_array

_DELEGATE = "DELEGATE"
# The convolution of the ONNX sentinel, channels last: 9,856 bytes, nearly all of them the same weight.
_SENTINEL = zlib.decompress(
    base64.b64decode(
        "eNrt2rFOwzAQBuBLEyAKUZUhQh06VKLqC7AydEIIdeQBANGhEmQhA0PHPkInJh6EkSdgQYi3YEaY/+wLrSw2JqTf1RfbV59t3excRM5PZkdn787V"
        "GK/HIo9wOhFJMd+BJeYtjKHEPIPPN+c+kKNjQbx4PTwmIiIiIiIiIiIiIiIiIiIiIqL/SWRXcsnwDe+DpvL3dvHl3DXkGN/Nm3bRzG80nkDtV/Rl"
        "gFElpT+7b/EhtHCvb5fsPreXiybOPcBXc/ctdxiOTUbhSRNa4d876d6F5XZSo60XxROL67nPdoepza+cc7qk8meHmPazEP/J0z1GRv9/iPJS61dR"
        "XrV1Nx2/RHk965+28hKLCSoy8NUJFQ1tz9dJl9VWu66Gmf9t2m/37vYufZ3DqnJTu/Qb+3Z5Bg=="
    )
)


class TfliteSession:
    """One model in an interpreter, with inputs set."""

    def __init__(self, interpreter: Any) -> None:
        self._interpreter = interpreter
        self.provider = "XNNPACK" if _DELEGATE in _names(interpreter) else "builtin"

    def run(self) -> None:
        """Run one inference."""
        self._interpreter.invoke()

    def close(self) -> None:
        """Free the interpreter's memory."""
        self._interpreter = _Closed()


class _Closed:
    """Stands where an interpreter was."""

    def invoke(self) -> None:
        """Refuse to run."""
        raise SessionError("runtime_error", "the session is closed")


class TfliteRuntime:
    """An installed interpreter."""

    def __init__(self, name: str, version: str, interpreter: Any) -> None:
        """Offer an interpreter.

        Args:
            name: the runtime's identifier, for messages.
            version: of the package that brings it.
            interpreter: its class.
        """
        self.version = version
        self._name = name
        self._interpreter = interpreter

    def effective(self, settings: Settings) -> Settings:
        """Return the settings without levels of optimisation and spinning, which TFLite does not have."""
        return replace(settings, optimization="none", spinning=False)

    @property
    def sentinel_model(self) -> bytes:
        """A convolution."""
        return _SENTINEL

    def open(self, model: Path, settings: Settings, input_shapes: Dict[str, Tuple[int, ...]]) -> TfliteSession:
        """Load a model and set random inputs; see `Runtime.open`."""
        interpreter = self.prepare(model, settings, input_shapes)
        generator = random.Random(settings.seed)
        try:
            for details in interpreter.get_input_details():
                array = random_array(details["shape"], details["dtype"], generator)
                interpreter.set_tensor(details["index"], array)
            interpreter.invoke()
        except Exception as e:
            raise SessionError("runtime_error", f"{model.name} fails when run: {_first_line(e)}") from e
        return TfliteSession(interpreter)

    def prepare(
        self, model: Path, settings: Settings, input_shapes: Dict[str, Tuple[int, ...]], delegated: bool = True
    ) -> Any:
        """Return an interpreter with its tensors allocated, with the default delegates or none; see `Runtime.open`."""
        interpreter = self._load(model, settings, delegated)
        _resize(interpreter, input_shapes)
        try:
            interpreter.allocate_tensors()
        except Exception as e:
            raise SessionError("unreadable_model", f"{self._name} cannot prepare {model.name}: {_first_line(e)}") from e
        return interpreter

    def operations(self, model: Path, settings: Settings) -> Tuple[str, ...]:
        """Return the operators that the interpreter executes; those that a delegate took end in `@` and its name."""
        interpreter = self._load(model, settings)
        try:
            interpreter.allocate_tensors()
        except Exception as e:
            raise SessionError("unreadable_model", f"{self._name} cannot prepare {model.name}: {_first_line(e)}") from e
        return placed_operations(_details(interpreter))

    def _load(self, model: Path, settings: Settings, delegated: bool = True) -> Any:
        check_readable(model)
        options: Dict[str, Any] = {}
        if not delegated:
            kinds = sys.modules[self._interpreter.__module__].OpResolverType
            options["experimental_op_resolver_type"] = kinds.BUILTIN_WITHOUT_DEFAULT_DELEGATES
        try:
            return self._interpreter(model_path=str(model), num_threads=settings.threads, **options)
        except Exception as e:
            raise SessionError("unreadable_model", f"{self._name} cannot load {model.name}: {_first_line(e)}") from e


def placed_operations(details: Sequence[Dict[str, Any]]) -> Tuple[str, ...]:
    """Return the operators of a graph in order, with `@XNNPACK` behind those that the delegate computes.

    Args:
        details: one of each operator: `op_name`, and the tensors that are its `inputs` and `outputs`. A delegate is
            listed like an operator, behind those that it took, without saying which they are: an operator is its own
            if a tensor of its goes out of the delegate, or else into nothing but operators of the delegate.
    """
    delegates = [one for one in details if one["op_name"] == _DELEGATE]
    operators = [one for one in details if one["op_name"] != _DELEGATE]
    going_in: Set[int] = {int(tensor) for one in delegates for tensor in one["inputs"]}
    going_out: Set[int] = {int(tensor) for one in delegates for tensor in one["outputs"]}
    taken: List[bool] = [False] * len(operators)
    for index in reversed(range(len(operators))):
        outputs = {int(tensor) for tensor in operators[index]["outputs"]}
        readers = [
            later
            for later in range(index + 1, len(operators))
            if outputs & {int(tensor) for tensor in operators[later]["inputs"]}
        ]
        inside = bool(readers) and not outputs & going_in and all(taken[later] for later in readers)
        taken[index] = bool(outputs & going_out) or inside
    return tuple(one["op_name"] + ("@XNNPACK" if own else "") for one, own in zip(operators, taken))


def _details(interpreter: Any) -> List[Dict[str, Any]]:
    # The interface has no public way; a version that drops this one gives no list, and no error.
    return list(getattr(interpreter, "_get_ops_details", list)())


def _names(interpreter: Any) -> Set[str]:
    return {one["op_name"] for one in _details(interpreter)}


def _resize(interpreter: Any, input_shapes: Dict[str, Tuple[int, ...]]) -> None:
    details = {one["name"]: one for one in interpreter.get_input_details()}
    unknown = sorted(set(input_shapes) - set(details))
    if unknown:
        raise SessionError("unknown_input", f"the model has no input {unknown[0]!r}; it has {', '.join(details)}")
    for name, one in details.items():
        declared = [int(size) for size in one.get("shape_signature", one["shape"])]
        fixed = [size if size >= 0 else "?" for size in declared or [int(size) for size in one["shape"]]]
        shape = input_shape(name, fixed, input_shapes.get(name))
        if list(shape) != [int(size) for size in one["shape"]]:
            interpreter.resize_tensor_input(one["index"], list(shape))


def _first_line(error: Exception) -> str:
    text = str(error).strip() or type(error).__name__
    return text.splitlines()[0][:300]
