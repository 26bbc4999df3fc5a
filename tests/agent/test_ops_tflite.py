"""`agent ops` on TFLite models, with the real runtimes."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from profiler_agent.records import parse_operator_report
from tests.agent.test_command import agent, assert_one_sentence

pytest.importorskip("ai_edge_litert")

from tests.agent.tflite_graphs import write_padded
from tests.agent.tflite_models import write_convolution as write_tflite
from tests.agent.tflite_models import write_gather

QUICK = ("--rounds", "2", "--samples", "3")


@pytest.mark.parametrize(
    ("write", "operations"),
    [
        (write_tflite, ["RELU@XNNPACK", "CONV_2D@XNNPACK"]),
        (write_gather, ["GATHER"]),
        (write_padded, ["PAD@XNNPACK", "CONV_2D@XNNPACK", "RELU@XNNPACK", "ADD@XNNPACK"]),
    ],
)
def test_litert_tells_operators_that_sum_to_the_wall(
    tmp_path: Path, write: Callable[[Path], Path], operations: list[str]
) -> None:
    model, out = write(tmp_path / "m.tflite"), tmp_path / "report.json"
    result = agent("ops", model, "--out", out, *QUICK)
    assert result.returncode == 0, result.stderr
    report = parse_operator_report(out.read_text())
    assert ([one.operation for one in report.operators], report.method) == (operations, "parts")
    assert report.total_ms == pytest.approx(report.wall_ms)
    assert all(one.estimate_ms is not None for one in report.operators)
    assert 0 < report.call_ms <= report.wall_ms
    assert "(call)" in result.stdout
    (provider,) = {one.provider for one in report.operators}
    assert provider == ("XNNPACK" if "@" in operations[0] else "builtin")


def test_dynamic_shapes_are_given_and_the_report_is_printed(tmp_path: Path) -> None:
    model = write_tflite(tmp_path / "m.tflite", signature=(-1, 8, 8, 4))
    assert_one_sentence(agent("ops", model, *QUICK), 2, "give one with --shape t0=")
    result = agent("ops", model, "--shape", "t0=2x8x8x4", "--json", *QUICK)
    report = parse_operator_report(result.stdout)
    assert [one.outputs[0].shape for one in report.operators] == [(2, 8, 8, 4)] * 2
    assert json.loads(result.stdout)["input_shapes"] == {"t0": [2, 8, 8, 4]}


def test_tflite_runtime_with_its_own_packages(tmp_path: Path, tflite_runtime_environment: dict[str, str]) -> None:
    model = write_padded(tmp_path / "m.tflite")
    command = [sys.executable, "-m", "profiler_agent", "ops", str(model), "--runtime", "tflite-runtime", "--json"]
    result = subprocess.run(
        [*command, *QUICK], capture_output=True, text=True, timeout=120, check=False, env=tflite_runtime_environment
    )
    report = parse_operator_report(result.stdout)
    assert report.key.runtime == "tflite-runtime", result.stderr
    assert report.total_ms == pytest.approx(report.wall_ms)


def test_what_is_no_model_is_one_sentence(tmp_path: Path) -> None:
    model = tmp_path / "m.tflite"
    model.write_bytes(b"garbage")
    assert_one_sentence(agent("ops", model, *QUICK), 2, "m.tflite is no TFLite file")
