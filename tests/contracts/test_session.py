"""What every runtime and session must do, the fake too."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from profiler_agent.errors import SessionError
from profiler_agent.records import Settings
from profiler_agent.runtimes import load_runtime
from profiler_agent.runtimes.session import Runtime
from tests.agent import models, tflite_models
from tests.agent.fakes import FakeClock, FakeRuntime


@dataclass(frozen=True)
class Case:
    runtime: Runtime
    write_model: Callable[[Path], Path]
    operations: tuple[str, ...]


def fake_case() -> Case:
    def write(path: Path) -> Path:
        path.write_text("fake\n1000\n")
        return path

    return Case(FakeRuntime(FakeClock()), write, ("Fake",))


def onnxruntime_case() -> Case:
    return Case(load_runtime("onnxruntime"), models.write_convolution, ("Relu", "Conv"))


def litert_case() -> Case:
    return Case(load_runtime("litert"), tflite_models.write_convolution, ("RELU@XNNPACK", "CONV_2D@XNNPACK"))


@pytest.mark.parametrize("make_case", [fake_case, onnxruntime_case, litert_case])
class TestSession:
    def test_runs_again_and_again(self, make_case: Callable[[], Case], tmp_path: Path) -> None:
        case = make_case()
        session = case.runtime.open(case.write_model(tmp_path / "model"), Settings(), {})
        for _ in range(3):
            session.run()
        assert session.provider
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

    def test_tells_the_operations(self, make_case: Callable[[], Case], tmp_path: Path) -> None:
        case = make_case()
        model = case.write_model(tmp_path / "model")
        assert case.runtime.operations(model, Settings()) == case.operations

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
