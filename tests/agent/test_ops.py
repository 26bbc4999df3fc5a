"""`agent ops`: what comes of inspections and measurements, with fakes and with the real runtimes."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from profiler_agent.errors import AgentError, BadInputError
from profiler_agent.inspection import (
    Calibration,
    Finding,
    Inspected,
    InspectionFailed,
    InspectionOrder,
    SeenOperator,
    format_finding,
    format_inspection,
    parse_finding,
    parse_inspection,
)
from profiler_agent.launch import WorkerCrash, launch_inspection
from profiler_agent.ops import Examination, examine
from profiler_agent.records import OperatorReport, RecordError, Settings, TensorType, parse_operator_report
from tests.agent.fakes import fake_launch
from tests.agent.models import write_convolution, write_identity
from tests.agent.test_command import agent, assert_one_sentence

SETTINGS = Settings(rounds=8, samples=5)
QUICK = ("--rounds", "2", "--samples", "3")


def seen(name: str, profiled_us: float | None = None, part: str | None = None, **more: object) -> SeenOperator:
    tensor = TensorType("float32", (1, 4))
    made = SeenOperator(name, "Relu", "CPU", (tensor,), (tensor,), {}, profiled_us, part)
    return replace(made, **more)  # type: ignore[arg-type]


def looked(folder: Path, latencies_us: dict[str, float], *found: Finding, **names: str) -> OperatorReport:
    """Examine a model with fakes: the findings of the inspections in turn, and each file's latency."""
    for name in latencies_us:
        (folder / name).write_text("fake")
    findings = iter(found * 3)
    launch = fake_launch(lambda block, _process: round(1000 * latencies_us[block]))
    wanted = Examination(folder / "model", SETTINGS)
    return examine(wanted, folder, lambda _sentence: None, launch=launch, inspect=lambda _order: next(findings))


def test_profiled_times_become_shares_after_the_profilers_own_part_is_taken_off(tmp_path: Path) -> None:
    operators = (seen("a", 12.0), seen("b", 32.0), seen("c", 1.0))
    # The chain takes 8 us without the profiler, with call 4: 0.1 a node; told are 2.1, so 2.0 are the profiler's.
    found = Inspected(operators, "call", profiled_wall_us=70.0, calibration=Calibration("chain", 40, 2.1))
    report = looked(tmp_path, {"model": 44.0, "call": 4.0, "chain": 8.0}, found)
    assert [one.raw_ms for one in report.operators] == pytest.approx([0.010, 0.030, 0.0])
    assert [one.estimate_ms for one in report.operators] == pytest.approx([0.010, 0.030, 0.0])
    assert (report.method, report.call_ms) == ("profile", 0.004)
    assert report.additivity == pytest.approx(1.0)
    assert report.profiler_inflation == pytest.approx(70 / 44)
    assert report.total_ms == pytest.approx(report.wall_ms)


def test_of_several_profiles_the_median_counts(tmp_path: Path) -> None:
    chain = Calibration("chain", 40, 0.0)
    found = [Inspected((seen("a", us), seen("b", 10.0)), "call", 70.0, chain) for us in (10.0, 500.0, 11.0)]
    report = looked(tmp_path, {"model": 25.0, "call": 4.0, "chain": 4.0}, *found)
    assert [one.estimate_ms for one in report.operators] == pytest.approx([0.011, 0.010])
    other = Inspected((seen("z", 1.0), seen("b", 10.0)), "call", 70.0, chain)
    with pytest.raises(AgentError, match="profiles differ"):
        looked(tmp_path, {"model": 25.0, "call": 4.0, "chain": 4.0}, found[0], other)


def test_parts_are_scaled_to_the_whole(tmp_path: Path) -> None:
    found = Inspected((seen("a", part="p0"), seen("b", part="p1"), seen("c", part="p0")), "call")
    report = looked(tmp_path, {"model": 33.0, "call": 1.0, "p0": 11.0, "p1": 21.0}, found)
    assert [one.raw_ms for one in report.operators] == pytest.approx([0.010, 0.020, 0.010])
    assert [one.estimate_ms for one in report.operators] == pytest.approx([0.008, 0.016, 0.008])
    assert (report.method, report.profiled_wall_ms) == ("parts", None)
    assert report.additivity == pytest.approx(41 / 33)


def test_what_is_fused_costs_what_the_group_takes_more(tmp_path: Path) -> None:
    operators = (seen("pad", part="p0", fused_into=1), seen("conv", part="p1", group="g"), seen("add", part="p2"))
    latencies = {"model": 18.0, "call": 1.0, "p0": 13.0, "p1": 11.0, "g": 13.0, "p2": 6.0}
    report = looked(tmp_path, latencies, Inspected(operators, "call"))
    assert [one.raw_ms for one in report.operators] == pytest.approx([0.002, 0.010, 0.005])
    assert report.additivity == pytest.approx(1.0)


def test_an_operator_that_cannot_run_alone_has_a_reason_instead_of_a_number(tmp_path: Path) -> None:
    found = Inspected((seen("a", part="p0"), seen("b", part="bad"), seen("c", problem="it is odd")), "call")
    report = looked(tmp_path, {"model": 30.0, "call": 1.0, "p0": 11.0, "bad": -1.0}, found)
    assert [one.estimate_ms for one in report.operators] == [pytest.approx(0.010), None, None]
    assert [one.problem for one in report.operators] == [None, "it fails", "it is odd"]
    assert report.unattributed_ms == pytest.approx(0.019)
    assert report.additivity is None


def test_failures_are_errors_with_their_reason(tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match="no model"):
        looked(tmp_path, {"model": 1.0}, InspectionFailed("unreadable_model", "it is no model"))
    with pytest.raises(AgentError, match="out of memory"):
        looked(tmp_path, {"model": 1.0}, InspectionFailed("runtime_error", "out of memory"))
    with pytest.raises(AgentError, match="it fails"):
        looked(tmp_path, {"model": -1.0, "call": 1.0}, Inspected((), "call"))


def test_the_wire_survives() -> None:
    order = InspectionOrder("litert", SETTINGS, "m", {"x": (1, 2)}, "/tmp")
    assert parse_inspection(format_inspection(order)) == order
    for finding in (
        Inspected((seen("a", 1.5), seen("b", part="p", fused_into=0)), "call", 2.0, Calibration("c", 40, 1.0)),
        InspectionFailed("code", "sentence"),
    ):
        assert parse_finding(format_finding(finding)) == finding
    with pytest.raises(RecordError, match="unknown reply"):
        parse_finding('{"reply": "gossip"}')


def test_an_inspector_that_dies_is_a_crash(monkeypatch: pytest.MonkeyPatch) -> None:
    order = InspectionOrder("onnxruntime", SETTINGS, "m", {}, "/tmp")
    for program, complaint in (
        ("import os; os.kill(os.getpid(), 11)", "killed by signal 11"),
        ("print('Segmentation fault')", "answer is unreadable"),
        ("pass", "gave 0 answers"),
    ):
        monkeypatch.setattr("profiler_agent.launch.RUN_INSPECTOR", program)
        with pytest.raises(WorkerCrash, match=complaint):
            launch_inspection(order)


def test_onnx_runtime_tells_operators_that_sum_to_the_wall(tmp_path: Path) -> None:
    model, out = write_convolution(tmp_path / "m.onnx"), tmp_path / "report.json"
    result = agent("ops", model, "--out", out, *QUICK)
    assert result.returncode == 0, result.stderr
    report = parse_operator_report(out.read_text())
    assert ([one.operation for one in report.operators], report.method) == (["Relu", "Conv"], "profile")
    assert report.total_ms == pytest.approx(report.wall_ms)
    assert all(one.estimate_ms is not None for one in report.operators)
    assert {one.provider for one in report.operators} == {"CPUExecutionProvider"}
    assert 0 < report.call_ms < report.wall_ms
    assert "(call)" in result.stdout
    printed = agent("ops", model, "--json", *QUICK)
    assert parse_operator_report(printed.stdout).model_sha256 == report.model_sha256


@pytest.mark.parametrize(
    ("name", "content", "part"),
    [
        ("m.onnx", b"garbage", "cannot load m.onnx"),
        ("m.onnx", None, "there is no file"),
    ],
)
def test_what_is_no_model_is_one_sentence(tmp_path: Path, name: str, content: bytes | None, part: str) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    assert_one_sentence(agent("ops", tmp_path / name, *QUICK), 2, part)


def test_an_output_that_cannot_be_written_is_refused_before_the_work(tmp_path: Path) -> None:
    model = write_identity(tmp_path / "m.onnx")
    assert_one_sentence(agent("ops", model, "--out", model), 2, "would replace the model")
    assert_one_sentence(agent("ops", model, "--out", tmp_path / "no" / "x.json"), 2, "cannot write")


def test_the_inspector_loads_nothing_large_beside_its_runtime() -> None:
    program = "import sys, profiler_agent.ops_worker, profiler_agent.runtimes.tflite_parts; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert not set(loaded.stdout.split()) & {
        "numpy.random",
        "hashlib",
        "ssl",
        "secrets",
        "email",
        "asyncio",
        "argparse",
    }
