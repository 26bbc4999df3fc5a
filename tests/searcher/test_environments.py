"""Environments of runtimes that cannot live beside the host's packages."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from searcher.devices import environments
from searcher.devices.device import Device
from searcher.devices.environments import EnvironmentFailedError, interpreter_for


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PROFILER_CACHE", str(tmp_path))
    return tmp_path


def pip_that(answer: Callable[[list[str]], subprocess.CompletedProcess[str]], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environments.subprocess, "run", lambda command, **_: answer(command))


def test_other_runtimes_devices_and_pythons_are_left_alone() -> None:
    assert interpreter_for(Device(), "litert") == sys.executable
    assert interpreter_for(Device("ssh://pi@board"), "tflite-runtime") == "python3"
    assert interpreter_for(Device(python="/opt/python"), "tflite-runtime") == "/opt/python"


def test_an_environment_is_made_once_and_runs(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    commands: list[list[str]] = []

    def succeed(command: list[str]) -> subprocess.CompletedProcess[str]:
        commands.append(command)
        return subprocess.CompletedProcess(command, 0, "", "")

    with monkeypatch.context() as patch:
        pip_that(succeed, patch)
        interpreter = interpreter_for(Device(), "tflite-runtime")
        assert interpreter_for(Device(), "tflite-runtime") == interpreter
    assert len(commands) == 1
    assert commands[0][-2:] == ["tflite-runtime", "numpy<2"]
    program = [interpreter, "-c", "import sys; print(sys.prefix != sys.base_prefix)"]
    assert subprocess.run(program, capture_output=True, text=True, check=True).stdout == "True\n"


def test_a_failure_of_pip_is_one_sentence_and_leaves_nothing(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    errors = "WARNING: slow\nERROR: Could not find a version\nERROR: No matching distribution found for it\n"
    pip_that(lambda command: subprocess.CompletedProcess(command, 1, "", errors), monkeypatch)
    with pytest.raises(
        EnvironmentFailedError, match="cannot install tflite-runtime and numpy<2: No matching"
    ) as caught:
        interpreter_for(Device(), "tflite-runtime")
    assert "\n" not in str(caught.value)
    assert list((cache / "environments").iterdir()) == []


def test_a_cache_that_cannot_be_written_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("PROFILER_CACHE", str(tmp_path / "file"))
    with pytest.raises(EnvironmentFailedError, match="cannot make an environment in"):
        interpreter_for(Device(), "tflite-runtime")
