"""The overhead benchmark: how pairs are judged, and that its inner part runs where only a TFLite runtime is."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import pairs, tflite_pairs
from profiler_agent.records import Settings
from tests.agent.tflite_models import write_convolution

ROOT = Path(__file__).resolve().parents[1]
QUICK = Settings(samples=3, min_sample_ns=1000)


def busy(loops: int) -> None:
    for _ in range(loops):
        pass


def test_equal_runs_hold_and_slower_ones_do_not() -> None:
    seen: list[int] = []
    same = pairs.compare(lambda: busy(2000), lambda: busy(2000), QUICK, 9, lambda pair, _us: seen.append(pair))
    slower = pairs.compare(lambda: busy(8000), lambda: busy(2000), QUICK, 9)
    assert seen == list(range(9))
    assert same["ratio"] == pytest.approx(1, abs=0.5)
    assert slower["ratio"] > 2
    assert not slower["holds"]


def test_the_inner_part_imports_the_standard_library_and_the_agent_alone() -> None:
    for module in (pairs, tflite_pairs):
        assert module.__file__ is not None
        imported = set()
        for node in ast.walk(ast.parse(Path(module.__file__).read_text())):
            if isinstance(node, ast.Import):
                imported |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                imported.add((node.module or "").split(".")[0])
        assert imported - set(sys.stdlib_module_names) <= {"benchmarks", "profiler_agent"}


def test_litert_is_compared_with_a_bare_loop_and_its_own_benchmark(tmp_path: Path) -> None:
    model = write_convolution(tmp_path / "m.tflite")
    command = [sys.executable, "-m", "benchmarks.tflite_pairs", "litert", "1", str(model)]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stderr
    told = json.loads(result.stdout.splitlines()[-1])
    (case,) = told["results"]
    assert set(case) == {"agent_us", "bare_us", "difference_us", "ratio", "holds", "litert_benchmark"}
    assert told["tool"] == told["version"]
    assert case["litert_benchmark"]["median_us"] > 0
