"""Sessions on a graphics processor, with a stand-in for ONNX Runtime: no such processor was ever used here."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy
import onnxruntime
import pytest

from profiler_agent.errors import BadInputError, SessionError
from profiler_agent.records import Settings
from profiler_agent.runtimes import onnx as onnx_module

CPU, CUDA, TENSORRT = "CPUExecutionProvider", "CUDAExecutionProvider", "TensorrtExecutionProvider"


class FakeBinding:
    def __init__(self, log: list[str]) -> None:
        self._log = log
        self.inputs: dict[str, Any] = {}
        self.outputs: dict[str, Any] = {}

    def bind_ortvalue_input(self, name: str, value: Any) -> None:
        self.inputs[name] = value

    def bind_ortvalue_output(self, name: str, value: Any) -> None:
        self.outputs[name] = value

    def bind_output(self, name: str, kind: str, number: int) -> None:
        self.outputs[name] = (kind, number)

    def get_outputs(self) -> list[Any]:
        return list(self.outputs.values())

    def synchronize_outputs(self) -> None:
        self._log.append("wait")

    def clear_binding_inputs(self) -> None:
        self.inputs.clear()

    def clear_binding_outputs(self) -> None:
        self.outputs.clear()


class FakeOnnxRuntime:
    """Offers what a build offers, and starts what starts here."""

    __version__ = "1.0"
    SessionOptions = onnxruntime.SessionOptions
    GraphOptimizationLevel = onnxruntime.GraphOptimizationLevel

    def __init__(self, offered: list[str], starting: list[str]) -> None:
        self._offered, self._starting = offered, starting
        self.log: list[str] = []
        self.bindings: list[FakeBinding] = []
        self.asked: list[Any] = []
        self.OrtValue = SimpleNamespace(ortvalue_from_numpy=lambda array, kind, number: (array.shape, kind, number))

    def get_available_providers(self) -> list[str]:
        return self._offered

    def InferenceSession(self, _path: str, _options: Any, providers: list[Any], enable_fallback: int) -> Any:
        assert enable_fallback == 0
        self.asked = providers
        names = [one if isinstance(one, str) else one[0] for one in providers]
        return SimpleNamespace(
            get_providers=lambda: [name for name in names if name in self._starting],
            disable_fallback=lambda: self.log.append("no fall-back"),
            get_inputs=lambda: [SimpleNamespace(name="x", type="tensor(float)", shape=[1, 3])],
            get_outputs=lambda: [SimpleNamespace(name="y")],
            io_binding=self._binding,
            run_with_iobinding=lambda _binding: self.log.append("run"),
        )

    def _binding(self) -> FakeBinding:
        self.bindings.append(FakeBinding(self.log))
        return self.bindings[-1]


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "m.onnx"
    path.write_bytes(b"anything")
    return path


def install(monkeypatch: pytest.MonkeyPatch, offered: list[str], starting: list[str]) -> FakeOnnxRuntime:
    fake = FakeOnnxRuntime(offered, starting)
    monkeypatch.setattr(onnx_module, "onnxruntime", fake)
    return fake


def test_a_run_on_the_device_ends_when_its_outputs_are_there(monkeypatch: pytest.MonkeyPatch, model: Path) -> None:
    fake = install(monkeypatch, [CUDA, CPU], [CUDA, CPU])
    settings = Settings(provider="cuda", provider_options={"device_id": "1"})
    session = onnx_module.OnnxRuntime().open(model, settings, {})
    assert fake.asked == [(CUDA, {"device_id": "1"}), CPU]
    assert fake.log == ["no fall-back", "run", "wait"]
    assert fake.bindings[0].inputs == {"x": ((1, 3), "cuda", 1)}
    assert fake.bindings[0].outputs == {"y": ("cuda", 1)}
    fake.log.clear()
    for _ in range(2):
        session.run()
    assert fake.log == ["run", "wait", "run", "wait"]
    session.close()
    with pytest.raises(SessionError, match="closed"):
        session.run()


def test_the_processors_own_sessions_pay_for_no_waiting(monkeypatch: pytest.MonkeyPatch, model: Path) -> None:
    fake = install(monkeypatch, [CUDA, CPU], [CUDA, CPU])
    session = onnx_module.OnnxRuntime().open(model, Settings(), {})
    assert type(session) is onnx_module.OnnxSession
    assert fake.asked == [CPU]
    fake.log.clear()
    session.run()
    assert fake.log == ["run"]


def test_tensorrt_leaves_to_cuda_what_it_cannot_compile(monkeypatch: pytest.MonkeyPatch, model: Path) -> None:
    fake = install(monkeypatch, [TENSORRT, CUDA, CPU], [TENSORRT, CUDA, CPU])
    onnx_module.OnnxRuntime().open(model, Settings(require="tensorrt"), {})
    assert fake.asked == [TENSORRT, (CUDA, {"device_id": "0"}), CPU]


def test_a_provider_that_is_built_in_and_does_not_start_is_never_replaced(
    monkeypatch: pytest.MonkeyPatch, model: Path
) -> None:
    install(monkeypatch, [CUDA, CPU], [CPU])
    with pytest.raises(
        SessionError, match=r"CUDA is built into .* does not start here, and m\.onnx would run on CPU"
    ) as e:
        onnx_module.OnnxRuntime().open(model, Settings(provider="cuda"), {})
    assert e.value.code == "not_placed"


def test_a_device_has_a_number(monkeypatch: pytest.MonkeyPatch, model: Path) -> None:
    install(monkeypatch, [CUDA, CPU], [CUDA, CPU])
    with pytest.raises(BadInputError, match="device_id must be a number, not 'one'"):
        onnx_module.OnnxRuntime().open(model, Settings(provider="cuda", provider_options={"device_id": "one"}), {})


def test_the_fake_binds_as_the_real_one(tmp_path: Path) -> None:
    """The calls that the stand-in answers exist, with these arguments, in the runtime that is installed."""
    value = onnxruntime.OrtValue.ortvalue_from_numpy(numpy.zeros((1, 3), numpy.float32), "cpu", 0)
    assert value.device_name() == "cpu"
    assert all(hasattr(onnxruntime.IOBinding, name) for name in ("bind_output", "synchronize_outputs", "get_outputs"))
