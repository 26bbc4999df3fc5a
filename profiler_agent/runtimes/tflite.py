"""TFLite models in any interpreter of its Python interface: LiteRT's and the older tflite-runtime's are the same.

Neither runtime is imported here: `litert` and `tflite_runtime` bring their own interpreter.
"""

from __future__ import annotations

import base64
import random
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any, Dict, List, Tuple

import numpy

from profiler_agent.errors import BadInputError, SessionError
from profiler_agent.records import Settings, same_provider
from profiler_agent.runtimes import check_readable
from profiler_agent.runtimes.inputs import input_shape, random_array
from profiler_agent.runtimes.placement import PlacedOperator
from profiler_agent.runtimes.tflite_check import check_structure
from profiler_agent.runtimes.tflite_placement import DELEGATE, Delegates, placed_operators

_XNNPACK, _BUILTIN = "XNNPACK", "builtin"
_WITHOUT_DELEGATE = ("none", "cpu", _BUILTIN)
# Where a delegate's library lies unless the option `library` says so; others have no usual name.
_LIBRARIES = {"edgetpu": "libedgetpu.so.1"}
_LIBRARY_OPTION = "library"
# The interface has no public way; a version that drops this one gives no list, and an error only where one is needed.
_LISTING = "_get_ops_details"
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

    def __init__(self, name: str, version: str, interface: Any) -> None:
        """Offer an interpreter.

        Args:
            name: the runtime's identifier, for messages.
            version: of the package that brings it.
            interface: its module, with `Interpreter`, `OpResolverType` and `load_delegate`.
        """
        self.version = version
        self._name = name
        self._interface = interface

    @property
    def own_provider(self) -> str:
        """The interpreter's own operators, which take what delegates leave."""
        return _BUILTIN

    def effective(self, settings: Settings) -> Settings:
        """Return the settings without levels of optimisation and spinning, which TFLite does not have."""
        self.provider(settings)
        return replace(settings, optimization="none", spinning=False)

    def provider(self, settings: Settings) -> str:
        """Return the delegate that the settings ask for: XNNPACK, which both runtimes engage by themselves, or none.

        Raises:
            BadInputError: it is no such delegate, and no library is named that brings it.
        """
        asked, options = settings.asked_provider, settings.provider_options
        if asked is None or same_provider(asked, _XNNPACK):
            own = _XNNPACK
        elif asked.lower() in _WITHOUT_DELEGATE:
            own = _BUILTIN
        elif asked.lower() in _LIBRARIES or _LIBRARY_OPTION in options:
            return asked.lower()
        else:
            raise BadInputError(
                f"{self._name} has no delegate {asked!r} of its own: it offers xnnpack, none, and edgetpu; for another "
                f"give its library by --provider-option {_LIBRARY_OPTION}=PATH"
            )
        if options:
            raise BadInputError(f"{own} takes no options here, such as {sorted(options)[0]!r}")
        return own

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
            return TfliteSession(interpreter)
        except Exception as e:
            raise SessionError("runtime_error", f"{model.name} fails when run: {_first_line(e)}") from e

    def prepare(
        self, model: Path, settings: Settings, input_shapes: Dict[str, Tuple[int, ...]], delegated: bool = True
    ) -> Any:
        """Return an interpreter with its tensors allocated, with the default delegates or none; see `Runtime.open`."""
        interpreter = self._load(model, settings, delegated)
        self._allocate(interpreter, model, input_shapes)
        return interpreter

    def placement(
        self, model: Path, settings: Settings, input_shapes: Dict[str, Tuple[int, ...]]
    ) -> Tuple[PlacedOperator, ...]:
        """Return the operators of the file and what computes each, from an interpreter apart from the timed one."""
        interpreter = self._load(model, settings)
        # A delegate that was asked for takes its operators at once, XNNPACK what is left when tensors are allocated.
        first = sum(one["op_name"] == DELEGATE for one in _details(interpreter))
        self._allocate(interpreter, model, input_shapes)
        if settings.require is not None and not hasattr(interpreter, _LISTING):
            raise SessionError("not_placed", f"{self._name} {self.version} does not tell what a delegate took")
        delegates = Delegates(self.provider(settings), first, _XNNPACK, _BUILTIN)
        return placed_operators(_details(interpreter), _tensors(interpreter), delegates)

    def _load(self, model: Path, settings: Settings, delegated: bool = True) -> Any:
        check_readable(model)
        check_structure(model)
        provider = self.provider(settings)
        chosen: Dict[str, Any] = {}
        if provider == _BUILTIN or not delegated:
            resolvers = self._interface.OpResolverType
            chosen["experimental_op_resolver_type"] = resolvers.BUILTIN_WITHOUT_DEFAULT_DELEGATES
        elif provider != _XNNPACK:
            chosen["experimental_delegates"] = [self._delegate(provider, settings.provider_options)]
        try:
            return self._interface.Interpreter(model_path=str(model), num_threads=settings.threads, **chosen)
        except Exception as e:
            raise SessionError("unreadable_model", f"{self._name} cannot load {model.name}: {_first_line(e)}") from e

    def _delegate(self, name: str, options: Dict[str, str]) -> Any:
        library = options.get(_LIBRARY_OPTION, _LIBRARIES.get(name, ""))
        own = {key: value for key, value in options.items() if key != _LIBRARY_OPTION}
        try:
            return self._interface.load_delegate(library, own)
        except Exception as e:
            raise SessionError(
                "not_placed", f"the delegate {name} cannot be loaded from {library}: {_first_line(e)}"
            ) from e

    def _allocate(self, interpreter: Any, model: Path, input_shapes: Dict[str, Tuple[int, ...]]) -> None:
        try:
            _resize(interpreter, input_shapes)
            interpreter.allocate_tensors()
        except SessionError:
            raise
        except Exception as e:
            raise SessionError("unreadable_model", f"{self._name} cannot prepare {model.name}: {_first_line(e)}") from e


def _details(interpreter: Any) -> List[Dict[str, Any]]:
    return list(getattr(interpreter, _LISTING, list)())


def _tensors(interpreter: Any) -> Dict[int, Tuple[str, int]]:
    """Return type and rank of each tensor, by its number."""
    details = interpreter.get_tensor_details()
    return {int(one["index"]): (numpy.dtype(one["dtype"]).name, len(one["shape"])) for one in details}


def _resize(interpreter: Any, input_shapes: Dict[str, Tuple[int, ...]]) -> None:
    details = {one["name"]: one for one in interpreter.get_input_details()}
    unknown = sorted(set(input_shapes) - set(details))
    if unknown:
        raise SessionError("unknown_input", f"the model has no input {unknown[0]!r}; it has {', '.join(details)}")
    for name, one in details.items():
        declared = [int(size) for size in one.get("shape_signature", one["shape"])]
        fixed = [size if size >= 0 else "?" for size in declared or [int(size) for size in one["shape"]]]
        shape = input_shape(name, fixed, input_shapes.get(name), one["dtype"])
        if list(shape) != [int(size) for size in one["shape"]]:
            interpreter.resize_tensor_input(one["index"], list(shape))


def _first_line(error: Exception) -> str:
    text = str(error).strip() or type(error).__name__
    return text.splitlines()[0][:300]
