"""Jobs that carry numpy and the runtime along, for a device that its user describes; wheels from the test's index."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Generator
from dataclasses import replace
from pathlib import Path

import pytest

from profiler_agent.records import Settings
from searcher.artifacts import ExportedModel, sha256_of
from searcher.devices.carried_runtime import described, unpack_runtime
from searcher.devices.survey import PythonUnfitError
from searcher.devices.wheels import NoWheelsError
from searcher.errors import BadInputError
from searcher.history.history import History
from searcher.tables.plan import Plan
from searcher.workflows.offline import MANIFEST_DOCUMENT, export_job
from tests.searcher.command_line import Run
from tests.searcher.wheels import only_index, write_wheel

BOARD = described("3.11", "aarch64", "2.31")


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two onnxruntimes, of which the newer one wants a newer glibc, and two numpys."""
    monkeypatch.setenv("PROFILER_CACHE", str(tmp_path / "cache"))
    folder = only_index(tmp_path / "index", monkeypatch)
    write_wheel(folder, "onnxruntime", "1.5", "cp311-cp311-manylinux_2_28_aarch64")
    write_wheel(folder, "onnxruntime", "1.6", "cp311-cp311-manylinux_2_34_aarch64")
    for version in ("1.26", "2.0"):
        write_wheel(folder, "numpy", version)
    return folder


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    model = tmp_path / "block.onnx"
    model.write_bytes(b"a model")
    models = (ExportedModel("block", model, sha256_of(model)),)
    return Plan("0123456789abcdef", "nasbench201", "cellar", models, Settings(rounds=3), None, {"torch": "2"}, None)


@pytest.mark.parametrize(
    ("python", "machine", "glibc", "complaint"),
    [
        ("three", "aarch64", "2.31", "--python-version takes a version such as 3.11, not 'three'"),
        ("3", "aarch64", "2.31", "--python-version takes"),
        ("3.6.9", "aarch64", "2.31", "the agent needs Python 3.8 or newer, and --python-version is 3.6.9"),
        ("3.11", "armv7l", "2.31", "--machine takes aarch64 or x86_64, .* not 'armv7l'"),
        ("3.11", "aarch64", "bullseye", "--glibc takes a version such as 2.31, not 'bullseye'"),
    ],
)
def test_what_describes_no_device_is_refused(python: str, machine: str, glibc: str, complaint: str) -> None:
    with pytest.raises(BadInputError, match=complaint):
        described(python, machine, glibc)


def test_the_newest_that_fits_the_device_is_unpacked(index: Path, tmp_path: Path) -> None:
    names = unpack_runtime("onnx", BOARD, tmp_path / "old")
    assert [name.split("-")[:2] for name in names] == [["onnxruntime", "1.5"], ["numpy", "2.0"]]
    assert (tmp_path / "old" / "onnxruntime.py").read_text() == "version = '1.5'\n"
    unpack_runtime("onnxruntime", described("3.11.2", "aarch64", "2.36"), tmp_path / "new")
    assert (tmp_path / "new" / "onnxruntime.py").read_text() == "version = '1.6'\n"
    with pytest.raises(NoWheelsError, match="no wheel of onnxruntime fits"):
        unpack_runtime("onnx", described("3.12", "aarch64", "2.36"), tmp_path / "none")
    with pytest.raises(PythonUnfitError, match="too old for every wheel"):
        unpack_runtime("onnx", described("3.11", "aarch64", "2.12"), tmp_path / "none")
    assert not (tmp_path / "none").exists()


def test_of_a_family_the_first_that_has_wheels(index: Path, tmp_path: Path) -> None:
    write_wheel(index, "tflite-runtime", "2.14")
    assert unpack_runtime("tflite", BOARD, tmp_path / "a")[1].startswith("numpy-1.26-")
    with pytest.raises(NoWheelsError, match="no wheel of ai-edge-litert fits"):
        unpack_runtime("litert", BOARD, tmp_path / "b")
    write_wheel(index, "ai-edge-litert", "2.3")
    assert unpack_runtime("tflite", BOARD, tmp_path / "c")[0].startswith("ai_edge_litert-2.3-")


def test_the_folder_brings_what_it_imports(index: Path, plan: Plan, tmp_path: Path) -> None:
    folder = tmp_path / "stick"
    export_job(plan, folder, History(tmp_path / "history.sqlite"), BOARD)
    told = (folder / "README.txt").read_text()
    assert "It needs Python 3.11 as python3, on\n   Linux (aarch64, glibc 2.31 or newer)." in told
    assert "onnxruntime-1.5, numpy-2.0." in told
    assert "installed" not in told
    (command,) = [line.strip() for line in told.splitlines() if "profiler_agent" in line]
    assert command == "PYTHONPATH=agent:runtime python3 -m profiler_agent measure ."
    files = MANIFEST_DOCUMENT.load(folder / "manifest.json").files
    assert files["runtime/onnxruntime.py"] == sha256_of(folder / "runtime" / "onnxruntime.py")
    show = "import numpy, onnxruntime as o, profiler_agent as a; print(numpy.version, o.version, a.__file__)"
    said = subprocess.run(
        [sys.executable, "-c", show],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": "agent:runtime"},
        check=True,
        capture_output=True,
        text=True,
    )
    assert said.stdout.split() == ["2.0", "1.5", str(folder / "agent" / "profiler_agent" / "__init__.py")]


def test_a_runtime_that_cannot_be_had_leaves_no_folder_and_no_job(index: Path, plan: Plan, tmp_path: Path) -> None:
    history = History(tmp_path / "history.sqlite")
    wanted = replace(plan, settings=replace(plan.settings, runtime="litert"))
    with pytest.raises(NoWheelsError):
        export_job(wanted, tmp_path / "stick", history, BOARD)
    assert not list(tmp_path.glob("*stick*"))
    assert history.jobs() == []


def test_the_command_carries_it(
    index: Path, plan: Plan, searcher: Run, history: History, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def planned(*_: object) -> Generator[None, None, Plan]:
        yield from ()
        return plan

    # Exporting the blocks is not what this is about.
    monkeypatch.setattr("searcher.cli.export_job.plan_job", planned)
    deploy = ("--runtime-from", "deploy", "--python-version", "3.11")
    written = searcher("jobs", "export", "stick", *deploy, "--glibc", "2.36", "--json")
    assert written.status == 0, written.err
    assert json.loads(written.out)["folder"] == "stick"
    assert (tmp_path / "stick" / "runtime" / "onnxruntime.py").read_text() == "version = '1.6'\n"
    assert history.find(plan.job_id).state == "exported"
