"""ONNX Runtime: one session per model, run with inputs and outputs bound beforehand."""

from __future__ import annotations

import base64
import random
import tempfile
from pathlib import Path
from typing import Any, Dict, Tuple

import numpy
import onnxruntime

from profiler_agent.errors import BadInputError, SessionError
from profiler_agent.records import Settings
from profiler_agent.runtimes import check_readable
from profiler_agent.runtimes.inputs import input_shape, random_array
from profiler_agent.runtimes.onnx_graph import operator_names
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
# A 3×3 convolution of 16 channels at 32×32, opset 13, IR version 7; its weights are a folded ConstantOfShape.
_SENTINEL = base64.b64decode(
    "CAc62wEKLwoBcxIBdyIPQ29uc3RhbnRPZlNoYXBlKhYKBXZhbHVlKgoIARABSgQK1yM8oAEECjkKAXgKAXcSAXkiBENvbnYqFQoMa2VybmVsX3No"
    "YXBlQANAA6ABByoRCgRwYWRzQAFAAUABQAGgAQcSCHNlbnRpbmVsKikIBBAHQgFzSiAQAAAAAAAAABAAAAAAAAAAAwAAAAAAAAADAAAAAAAAAFob"
    "CgF4EhYKFAgBEhAKAggBCgIIEAoCCCAKAgggYhsKAXkSFgoUCAESEAoCCAEKAggQCgIIIAoCCCBCBAoAEA0="
)


class OnnxSession:
    """One model in ONNX Runtime."""

    def __init__(self, session: Any, inputs: Dict[str, Any]) -> None:
        self._session = session
        # The binding keeps addresses only: the values must live as long as the session.
        self._values = {name: onnxruntime.OrtValue.ortvalue_from_numpy(array) for name, array in inputs.items()}
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
            lender.bind_output(name)
        self._session.run_with_iobinding(lender)
        for name, value in zip(names, lender.get_outputs()):
            self._binding.bind_ortvalue_output(name, value)

    @property
    def provider(self) -> str:
        """The execution provider with the highest priority that the session really has."""
        return str(self._session.get_providers()[0])

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

    def effective(self, settings: Settings) -> Settings:
        """Return the settings as they are."""
        return settings

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
        session = _create(model, options)
        generator = random.Random(settings.seed)
        inputs = _inputs(session, input_shapes, generator)
        try:
            return OnnxSession(session, inputs)
        except Exception as e:
            raise SessionError("runtime_error", f"{model.name} fails when run: {_first_line(e)}") from e

    def operations(self, model: Path, settings: Settings) -> Tuple[str, ...]:
        """Return the operators of the optimised graph, from a session apart from the timed one."""
        with tempfile.TemporaryDirectory() as folder:
            optimized = Path(folder, "optimized.onnx")
            options = _options(settings)
            options.optimized_model_filepath = str(optimized)
            _create(model, options)
            return operator_names(optimized.read_bytes())


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


def _create(model: Path, options: Any) -> Any:
    check_readable(model)
    try:
        return onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
    except Exception as e:
        raise SessionError("unreadable_model", f"onnxruntime cannot load {model.name}: {_first_line(e)}") from e


def _inputs(session: Any, input_shapes: Dict[str, Tuple[int, ...]], generator: random.Random) -> Dict[str, Any]:
    inputs = {}
    for node in session.get_inputs():
        shape = input_shape(node.name, list(node.shape), input_shapes.get(node.name))
        if node.type not in _DTYPES:
            raise SessionError("unsupported_input", f"input {node.name!r} is of type {node.type}")
        inputs[node.name] = random_array(shape, _DTYPES[node.type], generator)
    unknown = sorted(set(input_shapes) - set(inputs))
    if unknown:
        raise SessionError("unknown_input", f"the model has no input {unknown[0]!r}; it has {', '.join(inputs)}")
    return inputs


def _first_line(error: Exception) -> str:
    text = str(error).strip() or type(error).__name__
    return text.splitlines()[0][:300]
