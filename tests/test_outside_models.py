"""Networks that no space of ours holds go through `agent measure`, in every runtime."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from torch import nn

from profiler_agent.journal import read_journal
from profiler_agent.records import Measurement, measurements_of
from searcher.devices.device import Device
from searcher.devices.environments import interpreter_for
from searcher.export import to_onnx, to_tflite
from searcher.networks.classic import mobilenet_v2, resnet18

WRITERS = {".onnx": to_onnx.write, ".tflite": to_tflite.write}
Build = Callable[[], nn.Module]


def measured(runtime: str, model: Path, folder: Path) -> Measurement:
    """Measure a file as a user would, with the Python that has the runtime."""
    python, out = interpreter_for(Device(), runtime), folder / f"{runtime}.jsonl"
    command = [python, "-m", "profiler_agent", "measure", str(model), "--runtime", runtime, "--out", str(out)]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[1])}
    result = subprocess.run(
        [*command, "--rounds", "1", "--samples", "3"], capture_output=True, text=True, timeout=300, env=environment
    )
    assert result.returncode == 0, result.stderr
    assert model.name in result.stdout
    (measurement,) = measurements_of(read_journal(out)[1])
    return measurement


def exported(build: Build, size: int, suffix: str, folder: Path) -> Path:
    path = folder / f"model{suffix}"
    WRITERS[suffix](build(), ((1, 3, size, size),), path)
    return path


@pytest.mark.parametrize(
    ("runtime", "suffix", "convolutions"), [("onnxruntime", ".onnx", 52), ("litert", ".tflite", 52)]
)
def test_a_small_mobilenet_is_measured(runtime: str, suffix: str, convolutions: int, tmp_path: Path) -> None:
    model = exported(partial(mobilenet_v2, classes=10, width=0.25), 32, suffix, tmp_path)
    measurement = measured(runtime, model, tmp_path)
    assert 0.01 < measurement.median_ms < 1000
    assert sum("CONV" in name.upper() for name in measurement.operations) == convolutions
    assert not any(name.startswith("TRANSPOSE") for name in measurement.operations)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "build", "convolutions"), [("m", mobilenet_v2, 52), ("r", resnet18, 20)])
def test_networks_of_the_papers_are_measured_in_every_runtime(
    name: str, build: Build, convolutions: int, tmp_path: Path
) -> None:
    models = {suffix: exported(build, 224, suffix, tmp_path) for suffix in WRITERS}
    runtimes = (("onnxruntime", ".onnx"), ("litert", ".tflite"), ("tflite-runtime", ".tflite"))
    for runtime, suffix in runtimes:
        measurement = measured(runtime, models[suffix], tmp_path)
        assert 1 < measurement.median_ms < 10_000
        assert sum("CONV" in one.upper() for one in measurement.operations) == convolutions, measurement.operations
        print(f"{name} {runtime}: {measurement.median_ms:.2f} ms")
