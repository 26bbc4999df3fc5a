"""What every runtime and session must do, the fake too."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from profiler_agent.errors import SessionError
from profiler_agent.records import JobBlock, Settings
from profiler_agent.runtimes import load_runtime
from profiler_agent.runtimes.placement import operation_texts, require_placed
from profiler_agent.runtimes.session import Runtime
from profiler_agent.weighing import peak_growth
from tests.agent import models, tflite_models
from tests.agent.fakes import FakeClock, FakeRuntime


@dataclass(frozen=True)
class Case:
    runtime: Runtime
    write_model: Callable[[Path], Path]
    operations: tuple[str, ...]
    own_provider: str


def fake_case() -> Case:
    def write(path: Path) -> Path:
        path.write_text("fake\n1000\n")
        return path

    return Case(FakeRuntime(FakeClock()), write, ("Fake",), "FakeProvider")


def onnxruntime_case() -> Case:
    return Case(load_runtime("onnxruntime"), models.write_convolution, ("Relu", "Conv"), "CPUExecutionProvider")


def litert_case() -> Case:
    operations = ("RELU@XNNPACK", "CONV_2D@XNNPACK")
    return Case(load_runtime("litert"), tflite_models.write_convolution, operations, "builtin")


@pytest.mark.parametrize("make_case", [fake_case, onnxruntime_case, litert_case])
class TestSession:
    def test_runs_again_and_again(self, make_case: Callable[[], Case], tmp_path: Path) -> None:
        case = make_case()
        session = case.runtime.open(case.write_model(tmp_path / "model"), Settings(), {})
        for _ in range(3):
            session.run()
        session.close()

    def test_two_sessions_live_side_by_side(self, make_case: Callable[[], Case], tmp_path: Path) -> None:
        case = make_case()
        model = case.write_model(tmp_path / "model")
        first, second = (case.runtime.open(model, Settings(), {}) for _ in range(2))
        first.run()
        first.close()
        second.run()
        second.close()

    def test_a_closed_session_refuses_to_run(self, make_case: Callable[[], Case], tmp_path: Path) -> None:
        case = make_case()
        session = case.runtime.open(case.write_model(tmp_path / "model"), Settings(), {})
        session.close()
        with pytest.raises(SessionError, match="closed"):
            session.run()

    def test_the_sentinel_opens(self, make_case: Callable[[], Case], tmp_path: Path) -> None:
        runtime = make_case().runtime
        sentinel = tmp_path / "sentinel"
        sentinel.write_bytes(runtime.sentinel_model)
        session = runtime.open(sentinel, Settings(), {})
        session.run()
        session.close()
        assert runtime.version

    def test_tells_the_operations_and_what_computes_them(self, make_case: Callable[[], Case], tmp_path: Path) -> None:
        case = make_case()
        model = case.write_model(tmp_path / "model")
        placed = case.runtime.placement(model, Settings(), {})
        assert operation_texts(placed, case.runtime.own_provider) == case.operations
        assert case.runtime.own_provider == case.own_provider
        assert {one.provider for one in placed} == {case.runtime.provider(Settings())}
        require_placed(placed, case.runtime.provider(Settings()), "m")

    def test_its_own_provider_can_be_asked_for(self, make_case: Callable[[], Case], tmp_path: Path) -> None:
        case = make_case()
        settings = case.runtime.effective(Settings(provider=case.own_provider))
        model = case.write_model(tmp_path / "model")
        session = case.runtime.open(model, settings, {})
        session.run()
        session.close()
        placed = case.runtime.placement(model, settings, {})
        assert {one.provider for one in placed} == {case.own_provider}

    def test_its_memory_can_be_weighed(self, make_case: Callable[[], Case], tmp_path: Path) -> None:
        case = make_case()
        block = JobBlock("b", str(case.write_model(tmp_path / "model")), "")
        grown = peak_growth(block, Settings(), case.runtime)
        assert grown is None or 0 <= grown < 50e6

    @pytest.mark.parametrize("content", [None, b"", b"garbage that is no model at all"])
    def test_what_is_no_model_is_a_session_error(
        self, make_case: Callable[[], Case], tmp_path: Path, content: bytes | None
    ) -> None:
        model = tmp_path / "broken"
        if content is not None:
            model.write_bytes(content)
        with pytest.raises(SessionError) as caught:
            make_case().runtime.open(model, Settings(), {})
        assert caught.value.code == "unreadable_model"
        assert "\n" not in str(caught.value)
