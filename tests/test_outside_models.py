"""Networks that no space of ours holds go through `agent measure` and `agent ops`, in every runtime."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

import pytest
from torch import nn

from profiler_agent.journal import read_journal
from profiler_agent.records import Measurement, OperatorReport, measurements_of, parse_operator_report
from searcher.devices.prepare import local_variables
from searcher.export import to_onnx, to_tflite
from searcher.networks.classic import mobilenet_v2, resnet18

WRITERS = {".onnx": to_onnx.write, ".tflite": to_tflite.write}
Build = Callable[[], nn.Module]


def agent(runtime: str, *arguments: str | Path) -> str:
    """Run the agent as a user would, where the runtime can be imported; return what it prints."""
    command = [sys.executable, "-m", "profiler_agent", *map(str, arguments), "--runtime", runtime]
    environment = {**os.environ, **local_variables(runtime)}
    result = subprocess.run(command, capture_output=True, text=True, timeout=600, env=environment)
    assert result.returncode == 0, result.stderr
    return result.stdout


def measured(runtime: str, model: Path, folder: Path) -> Measurement:
    out = folder / f"{runtime}.jsonl"
    assert model.name in agent(runtime, "measure", model, "--out", out, "--rounds", "1", "--samples", "3")
    (measurement,) = measurements_of(read_journal(out)[1])
    return measurement


def examined(runtime: str, model: Path) -> OperatorReport:
    report = parse_operator_report(agent(runtime, "ops", model, "--json", "--rounds", "2", "--samples", "3"))
    assert report.model == model.name
    assert all(one.estimate_ms is not None for one in report.operators), [one.problem for one in report.operators]
    told_ms = sum(one.estimate_ms or 0.0 for one in report.operators) + report.call_ms + report.unattributed_ms
    assert told_ms == pytest.approx(report.wall_ms)
    return report


def convolutions_of(operations: Iterable[str]) -> int:
    return sum("CONV" in name.upper() for name in operations)


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
    assert convolutions_of(measurement.operations) == convolutions
    assert not any(name.startswith("TRANSPOSE") for name in measurement.operations)


@pytest.mark.parametrize(
    ("runtime", "suffix"), [("onnxruntime", ".onnx"), pytest.param("litert", ".tflite", marks=pytest.mark.slow)]
)
def test_the_operators_of_a_small_mobilenet_sum_to_its_latency(runtime: str, suffix: str, tmp_path: Path) -> None:
    report = examined(runtime, exported(partial(mobilenet_v2, classes=10, width=0.25), 32, suffix, tmp_path))
    assert convolutions_of(one.operation for one in report.operators) == 52


@pytest.mark.slow
@pytest.mark.parametrize(("build", "convolutions"), [(mobilenet_v2, 52), (resnet18, 20)])
def test_the_operators_of_networks_of_the_papers_sum_to_their_latency(
    build: Build, convolutions: int, tmp_path: Path
) -> None:
    models = {suffix: exported(build, 224, suffix, tmp_path) for suffix in WRITERS}
    for runtime, suffix in (("onnxruntime", ".onnx"), ("litert", ".tflite"), ("tflite-runtime", ".tflite")):
        report = examined(runtime, models[suffix])
        assert convolutions_of(one.operation for one in report.operators) == convolutions
        # Nearly all of such a network's time is spent in convolutions.
        spent_ms = sum(one.estimate_ms or 0.0 for one in report.operators if "CONV" in one.operation.upper())
        assert spent_ms > 0.8 * report.wall_ms


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
        assert convolutions_of(measurement.operations) == convolutions, measurement.operations
        print(f"{name} {runtime}: {measurement.median_ms:.2f} ms")
