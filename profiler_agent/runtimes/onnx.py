"""ONNX Runtime: one session per model, run with inputs and outputs bound beforehand."""

from __future__ import annotations

import base64
import random
import tempfile
from pathlib import Path
from typing import Any, Dict, List, NamedTuple, Tuple, Union

import numpy
import onnxruntime

from profiler_agent.errors import BadInputError, SessionError
from profiler_agent.records import Settings, same_provider, short_provider
from profiler_agent.runtimes import check_readable
from profiler_agent.runtimes.inputs import input_shape, random_array
from profiler_agent.runtimes.onnx_files import has_rank
from profiler_agent.runtimes.onnx_graph import operator_names
from profiler_agent.runtimes.onnx_placement import placed_nodes
from profiler_agent.runtimes.placement import PlacedOperator
from profiler_agent.runtimes.session import Runtime

OPTIMIZATIONS = {
    "disabled": onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL,
    "basic": onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC,
    "extended": onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED,
    "all": onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL,
}
_DTYPES = {
    "tensor(float)": numpy.float32,
    "tensor(float16)": numpy.float16,
    "tensor(double)": numpy.float64,
    "tensor(int64)": numpy.int64,
    "tensor(int32)": numpy.int32,
    "tensor(int8)": numpy.int8,
    "tensor(uint8)": numpy.uint8,
    "tensor(bool)": numpy.bool_,
}
_ERRORS_ONLY = 3
_CPU, _CUDA, _TENSORRT = "CPUExecutionProvider", "CUDAExecutionProvider", "TensorrtExecutionProvider"
_Provider = Union[str, Tuple[str, Dict[str, str]]]
# A 3×3 convolution of 16 channels at 32×32, opset 13, IR version 7; its weights are a folded ConstantOfShape.
_SENTINEL = base64.b64decode(
    "CAc62wEKLwoBcxIBdyIPQ29uc3RhbnRPZlNoYXBlKhYKBXZhbHVlKgoIARABSgQK1yM8oAEECjkKAXgKAXcSAXkiBENvbnYqFQoMa2VybmVsX3No"
    "YXBlQANAA6ABByoRCgRwYWRzQAFAAUABQAGgAQcSCHNlbnRpbmVsKikIBBAHQgFzSiAQAAAAAAAAABAAAAAAAAAAAwAAAAAAAAADAAAAAAAAAFob"
    "CgF4EhYKFAgBEhAKAggBCgIIEAoCCCAKAgggYhsKAXkSFgoUCAESEAoCCAEKAggQCgIIIAoCCCBCBAoAEA0="
)


class _Memory(NamedTuple):
    """Where inputs and outputs lie: the kind of device as ONNX Runtime names it, and its number."""

    kind: str
    number: int


_HOST = _Memory("cpu", 0)


class OnnxSession:
    """One model in ONNX Runtime."""

    def __init__(self, session: Any, inputs: Dict[str, Any], memory: _Memory = _HOST) -> None:
        self._session = session
        self._memory = memory
        # The binding keeps addresses only: the values must live as long as the session.
        self._values = {
            name: onnxruntime.OrtValue.ortvalue_from_numpy(array, *memory) for name, array in inputs.items()
        }
        self._binding = self._bind_inputs()
        self._bind_outputs()

    def _bind_inputs(self) -> Any:
        binding = self._session.io_binding()
        for name, value in self._values.items():
            binding.bind_ortvalue_input(name, value)
        return binding

    def _bind_outputs(self) -> None:
        """Run once to learn the outputs' shapes, then bind fixed memory: no allocation in the timed runs."""
        names = [output.name for output in self._session.get_outputs()]
        # A binding of its own: ONNX Runtime 1.19, the last for Python 3.9, lends its outputs and takes them back when
        # they are cleared or the binding is gone; the other binding shares their memory from here on.
        lender = self._bind_inputs()
        for name in names:
            lender.bind_output(name, *self._memory)
        self._session.run_with_iobinding(lender)
        lender.synchronize_outputs()
        for name, value in zip(names, lender.get_outputs()):
            self._binding.bind_ortvalue_output(name, value)

    def run(self) -> None:
        """Run one inference."""
        self._session.run_with_iobinding(self._binding)

    def end_profiling(self) -> Path:
        """Write the profile of a session that was opened for one, and return its file."""
        return Path(self._session.end_profiling())

    def close(self) -> None:
        """Free the session's memory."""
        self._binding.clear_binding_inputs()
        self._binding.clear_binding_outputs()
        self._values.clear()
        self._session = _Closed()


class DeviceSession(OnnxSession):
    """One model whose inputs and outputs stay in the memory of a device that computes by itself."""

    def run(self) -> None:
        """Run one inference and wait for the device: what is timed ends when the outputs are there."""
        self._session.run_with_iobinding(self._binding)
        self._binding.synchronize_outputs()


class _Closed:
    """Stands where a session was."""

    def run_with_iobinding(self, _binding: Any) -> None:
        """Refuse to run."""
        raise SessionError("runtime_error", "the session is closed")


class OnnxRuntime:
    """The installed ONNX Runtime."""

    @property
    def version(self) -> str:
        """Version of the installed runtime."""
        return str(onnxruntime.__version__)

    @property
    def sentinel_model(self) -> bytes:
        """A convolution, in 230 bytes."""
        return _SENTINEL

    @property
    def own_provider(self) -> str:
        """The processor's own provider, which takes what the others leave."""
        return _CPU

    def effective(self, settings: Settings) -> Settings:
        """Return the settings as they are; see `Runtime.effective`."""
        self.provider(settings)
        return settings

    def provider(self, settings: Settings) -> str:
        """Return the full name of the execution provider that the settings ask for.

        Raises:
            BadInputError: this build has no such provider.
        """
        asked = settings.asked_provider
        offered = onnxruntime.get_available_providers()
        for name in [_CPU] if asked is None else offered:
            if asked is None or same_provider(name, asked):
                return str(name)
        names = ", ".join(short_provider(name).lower() for name in offered)
        raise BadInputError(f"this build of onnxruntime {self.version} has no provider {asked!r}; it offers {names}")

    def open(self, model: Path, settings: Settings, input_shapes: Dict[str, Tuple[int, ...]]) -> OnnxSession:
        """Load a model and bind random inputs; see `Runtime.open`."""
        return self._bound(model, _options(settings), settings, input_shapes)

    def open_profiled(
        self,
        model: Path,
        settings: Settings,
        input_shapes: Dict[str, Tuple[int, ...]],
        profile_prefix: Path,
        optimized: Path,
    ) -> OnnxSession:
        """Load a model with the runtime's profiler on, and write the optimised graph; see `Runtime.open`."""
        options = _options(settings)
        options.enable_profiling = True
        options.profile_file_prefix = str(profile_prefix)
        options.optimized_model_filepath = str(optimized)
        return self._bound(model, options, settings, input_shapes)

    def _bound(
        self, model: Path, options: Any, settings: Settings, input_shapes: Dict[str, Tuple[int, ...]]
    ) -> OnnxSession:
        session = _create(model, options, self._providers(settings))
        inputs = _inputs(session, model, input_shapes, random.Random(settings.seed))
        memory = _memory(self.provider(settings), settings)
        try:
            return OnnxSession(session, inputs) if memory == _HOST else DeviceSession(session, inputs, memory)
        except Exception as e:
            raise SessionError("runtime_error", f"{model.name} fails when run: {_first_line(e)}") from e

    def placement(
        self, model: Path, settings: Settings, input_shapes: Dict[str, Tuple[int, ...]]
    ) -> Tuple[PlacedOperator, ...]:
        """Return the operators of the optimised graph, from a session apart from the timed one.

        Where no other provider was asked for they are read from the graph; else from the profile of one run, which
        alone tells what ran where.
        """
        options = _options(settings)
        with tempfile.TemporaryDirectory() as folder:
            if self.provider(settings) == _CPU:
                optimized = Path(folder, "optimized.onnx")
                options.optimized_model_filepath = str(optimized)
                _create(model, options, self._providers(settings))
                return tuple(PlacedOperator(name, _CPU) for name in operator_names(optimized.read_bytes()))
            options.enable_profiling = True
            options.profile_file_prefix = str(Path(folder, "profile"))
            session = _create(model, options, self._providers(settings))
            inputs = _inputs(session, model, input_shapes, random.Random(settings.seed))
            try:
                session.run(None, inputs)
            except Exception as e:
                raise SessionError("runtime_error", f"{model.name} fails when run: {_first_line(e)}") from e
            return placed_nodes(Path(session.end_profiling()).read_text(encoding="utf-8"))

    def _providers(self, settings: Settings) -> List[_Provider]:
        """Return the providers in their order: the one asked for, and what takes what it leaves."""
        asked = self.provider(settings)
        chosen: List[_Provider] = [(asked, dict(settings.provider_options)) if settings.provider_options else asked]
        # TensorRT leaves to CUDA what it cannot compile, on the same device.
        if asked == _TENSORRT and _CUDA in onnxruntime.get_available_providers():
            chosen.append((_CUDA, {"device_id": settings.provider_options.get("device_id", "0")}))
        return chosen if asked == _CPU else [*chosen, _CPU]


RUNTIME: Runtime = OnnxRuntime()


def _options(settings: Settings) -> Any:
    if settings.optimization not in OPTIMIZATIONS:
        raise BadInputError(
            f"unknown optimisation level {settings.optimization!r}; choose one of {', '.join(OPTIMIZATIONS)}"
        )
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = OPTIMIZATIONS[settings.optimization]
    options.intra_op_num_threads = settings.threads
    options.inter_op_num_threads = 1
    options.log_severity_level = _ERRORS_ONLY
    options.add_session_config_entry("session.intra_op.allow_spinning", "1" if settings.spinning else "0")
    return options


def _create(model: Path, options: Any, providers: List[_Provider]) -> Any:
    """Create a session that has the first of the providers, or none."""
    check_readable(model)
    try:
        # Without the fall-back, by which it would go on with the processor's provider when another fails.
        session = onnxruntime.InferenceSession(str(model), options, providers=providers, enable_fallback=0)
    except Exception as e:
        raise SessionError("unreadable_model", f"onnxruntime cannot load {model.name}: {_first_line(e)}") from e
    session.disable_fallback()
    asked = providers[0] if isinstance(providers[0], str) else providers[0][0]
    if asked not in session.get_providers():
        raise SessionError(
            "not_placed",
            f"{short_provider(asked)} is built into onnxruntime but does not start here, and {model.name} would run "
            f"on {' and '.join(map(short_provider, session.get_providers()))}: are its libraries installed?",
        )
    return session


def _memory(provider: str, settings: Settings) -> _Memory:
    """Return where inputs and outputs lie: on a graphics processor no run pays for bringing them there and back."""
    if provider not in (_CUDA, _TENSORRT):
        return _HOST
    number = settings.provider_options.get("device_id", "0")
    if not number.isdecimal():
        raise BadInputError(f"the provider's device_id must be a number, not {number!r}")
    return _Memory("cuda", int(number))


def _inputs(
    session: Any, model: Path, input_shapes: Dict[str, Tuple[int, ...]], generator: random.Random
) -> Dict[str, Any]:
    inputs = {}
    for node in session.get_inputs():
        if node.type not in _DTYPES:
            raise SessionError("unsupported_input", f"input {node.name!r} is of type {node.type}")
        # The session gives the same empty list for a scalar and for an input without a shape.
        declared = list(node.shape) if node.shape or has_rank(model, node.name) else None
        shape = input_shape(node.name, declared, input_shapes.get(node.name), _DTYPES[node.type])
        inputs[node.name] = random_array(shape, _DTYPES[node.type], generator)
    unknown = sorted(set(input_shapes) - set(inputs))
    if unknown:
        raise SessionError("unknown_input", f"the model has no input {unknown[0]!r}; it has {', '.join(inputs)}")
    return inputs


def _first_line(error: Exception) -> str:
    text = str(error).strip() or type(error).__name__
    return text.splitlines()[0][:300]
