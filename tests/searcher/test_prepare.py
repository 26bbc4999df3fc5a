"""The Python that measures: where its runtime comes from, and how it gets to the device."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import pytest

from searcher.artifacts import ExportedModel, sha256_of
from searcher.devices.device import Device
from searcher.devices.driver import Assignment, measure_on
from searcher.devices.link import Link
from searcher.devices.local import LocalTransport
from searcher.devices.prepare import PythonSetup, local_variables, prepare_python, python_setup
from searcher.devices.survey import PythonUnfitError
from searcher.devices.transport import RemoteProgramError, UnreachableError
from searcher.devices.wheels import NoWheelsError
from searcher.errors import BadInputError
from tests.fakes import BOARD, FakeTransport
from tests.searcher.builders import QUICK, agent_program
from tests.searcher.wheels import only_index, write_wheel

BRINGING = PythonSetup("python3", "deploy")


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PROFILER_CACHE", str(tmp_path / "cache"))
    folder = only_index(tmp_path / "index", monkeypatch)
    write_wheel(folder, "numpy", "1.26")
    write_wheel(folder, "numpy", "2.0")
    write_wheel(folder, "onnxruntime", "1.5")
    return folder


def board(**changes: object) -> FakeTransport:
    transport = FakeTransport()
    transport.tells = json.dumps(BOARD | changes)
    return transport


class TestSetup:
    @pytest.mark.parametrize(
        ("device", "runtime", "interpreter", "source"),
        [
            (Device(), "onnx", sys.executable, "system"),
            (Device(), "tflite", sys.executable, "system"),
            (Device(), "tflite-runtime", sys.executable, "deploy"),
            (Device(python="/opt/python"), "tflite-runtime", "/opt/python", "system"),
            (Device("ssh://pi@board"), "onnx", "python3", "deploy"),
            (Device("ssh://pi@board", "/opt/python"), "onnx", "/opt/python", "system"),
            (Device("ssh://pi@board", "/opt/python", runtime_from="deploy"), "onnx", "/opt/python", "deploy"),
            (Device("ssh://pi@board", runtime_from="system"), "onnx", "python3", "system"),
            (Device(runtime_from="deploy"), "onnx", sys.executable, "deploy"),
        ],
    )
    def test_where_the_runtime_comes_from(self, device: Device, runtime: str, interpreter: str, source: str) -> None:
        assert python_setup(device, runtime) == PythonSetup(interpreter, source)

    def test_another_source_is_refused(self) -> None:
        with pytest.raises(BadInputError, match="--runtime-from takes deploy or system, not 'pypi'"):
            Device(runtime_from="pypi")


class TestSystem:
    def test_nothing_but_the_agent_is_brought(self) -> None:
        transport = board()
        python = prepare_python(transport, PythonSetup("python3"), "onnxruntime")
        assert [folder.split("/")[0] for folder in python.path] == ["agents"]
        assert not transport.exists("packages")

    @pytest.mark.parametrize(
        ("modules", "runtime", "missing"),
        [
            ([], "onnx", "numpy"),
            (["onnxruntime"], "onnx", "numpy"),
            (["numpy"], "onnx", "onnxruntime"),
            (["numpy", "onnxruntime"], "tflite", "ai-edge-litert or tflite-runtime"),
        ],
    )
    def test_what_is_missing_is_told_with_what_to_do(self, modules: list[str], runtime: str, missing: str) -> None:
        with pytest.raises(PythonUnfitError, match=f"has no {missing}: install it there, or let --runtime-from deploy"):
            prepare_python(board(modules=modules), PythonSetup("python3"), runtime)

    def test_one_of_a_family_is_enough(self) -> None:
        prepare_python(board(modules=["numpy", "tflite_runtime"]), PythonSetup("python3"), "tflite")


class TestDeploy:
    def test_the_runtime_is_imported_from_where_it_was_brought(self, index: Path, tmp_path: Path) -> None:
        transport = LocalTransport(tmp_path / "device")
        python = prepare_python(transport, PythonSetup(sys.executable, "deploy"), "onnxruntime")
        assert [folder.split("/")[0] for folder in python.path] == ["agents", "packages", "packages"]
        show = "import numpy, onnxruntime as o; print(numpy.version, o.version, o.__file__)"
        (line,) = transport.run([sys.executable, "-c", show], environment={"PYTHONPATH": ":".join(python.path)})
        assert line.split() == ["2.0", "1.5", str(tmp_path / "device" / python.path[1] / "onnxruntime.py")]

    def test_the_second_time_nothing_is_sent_and_pip_is_not_asked(self, index: Path) -> None:
        transport = board(modules=[])
        first = prepare_python(transport, BRINGING, "onnxruntime")
        sent_bytes = transport.sent_bytes
        for file in index.iterdir():
            file.unlink()
        assert prepare_python(transport, BRINGING, "onnxruntime") == first
        assert transport.sent_bytes == sent_bytes

    def test_tflite_runtime_gets_an_old_numpy(self, index: Path) -> None:
        write_wheel(index, "tflite-runtime", "2.14")
        transport = board()
        prepare_python(transport, BRINGING, "tflite-runtime")
        assert any(name.endswith("numpy-1.26.dist-info/METADATA") for name in transport.files)
        assert not any("numpy-2.0" in name for name in transport.files)

    def test_the_version_of_a_table_is_brought(self, index: Path) -> None:
        write_wheel(index, "onnxruntime", "1.6")
        transport = board()
        prepare_python(transport, PythonSetup("python3", "deploy", {"onnxruntime": "1.5", "litert": "1"}), "onnx")
        assert any("onnxruntime-1.5" in name for name in transport.files)
        assert not any("onnxruntime-1.6" in name for name in transport.files)

    def test_what_no_wheel_fits_is_told_before_anything_is_downloaded(self, index: Path, tmp_path: Path) -> None:
        with pytest.raises(PythonUnfitError, match="fake stands on musl"):
            prepare_python(board(libc="musl"), BRINGING, "onnx")
        assert not (tmp_path / "cache" / "wheels").exists()

    def test_an_unknown_runtime_is_refused(self) -> None:
        with pytest.raises(BadInputError, match="unknown runtime 'tvm': choose from litert, onnx, onnxruntime"):
            prepare_python(board(), BRINGING, "tvm")


class TestFamily:
    @staticmethod
    def board(working: str) -> FakeTransport:
        """A board where one runtime works; the others say why not."""

        def program(arguments: Sequence[str], _: bytes) -> Iterable[str]:
            assert arguments[1:5] == ["-m", "profiler_agent", "info", "--runtime"]
            if arguments[5] != working:
                raise RemoteProgramError("python3", "fake", 1, "noise\nagent: the worker was killed by signal 4\n")
            return ["all about this machine"]

        return FakeTransport(program)

    @pytest.fixture
    def both(self, index: Path) -> Path:
        write_wheel(index, "ai-edge-litert", "2.3")
        write_wheel(index, "tflite-runtime", "2.14")
        return index

    def test_the_newest_that_works(self, both: Path) -> None:
        transport = self.board("litert")
        python = prepare_python(transport, BRINGING, "tflite")
        assert transport.exists(f"{python.path[1]}/ai_edge_litert.py")
        assert transport.runs[0].environment["PYTHONPATH"] == ":".join(python.path)

    def test_one_that_does_not_work_gives_way_to_an_older_one(self, both: Path) -> None:
        transport = self.board("tflite-runtime")
        assert transport.exists(f"{prepare_python(transport, BRINGING, 'tflite').path[1]}/tflite_runtime.py")

    def test_one_that_has_no_wheel_gives_way_too(self, index: Path) -> None:
        write_wheel(index, "tflite-runtime", "2.14")
        transport = self.board("tflite-runtime")
        assert transport.exists(f"{prepare_python(transport, BRINGING, 'tflite').path[1]}/tflite_runtime.py")

    def test_when_none_works_every_reason_is_told(self, index: Path) -> None:
        write_wheel(index, "ai-edge-litert", "2.3")
        with pytest.raises(NoWheelsError) as caught:
            prepare_python(self.board("none"), BRINGING, "tflite")
        assert str(caught.value) == (
            "litert does not work on fake: the worker was killed by signal 4; "
            "no wheel of tflite-runtime fits the device's Python: "
            "choose another runtime, or another Python there with --python"
        )


class LosingTransport(FakeTransport):
    """Loses the link behind the first package that it has received."""

    def __init__(self) -> None:
        super().__init__(agent_program(lambda _name: 1.0))
        self.lost = False

    def send(self, files: Mapping[str, Path]) -> int:
        sent = 0
        for name, file in files.items():
            sent += super().send({name: file})
            if not self.lost and name.startswith("packages/"):
                self.lost = True
                raise UnreachableError("lost")
        return sent


def test_what_arrived_before_the_link_was_lost_is_not_sent_again(index: Path, tmp_path: Path) -> None:
    model = tmp_path / "a.onnx"
    model.write_text("a")
    assignment = Assignment([ExportedModel("a", model, sha256_of(model))], QUICK)
    whole, broken = FakeTransport(agent_program(lambda _name: 1.0)), LosingTransport()
    expected = list(measure_on(Link(lambda: whole), BRINGING, assignment))
    link = Link(lambda: broken, sleep=lambda _seconds: None)
    assert list(measure_on(link, BRINGING, assignment)) == expected
    assert broken.lost
    assert broken.sent_bytes == whole.sent_bytes
    assert broken.files == whole.files


def test_this_python_gets_a_runtime_by_its_variables(index: Path, tmp_path: Path) -> None:
    write_wheel(index, "tflite-runtime", "2.14")
    agent, *packages = local_variables("tflite-runtime")["PYTHONPATH"].split(":")
    assert (Path(agent) / "profiler_agent" / "__main__.py").is_file()
    assert [path.name for folder in packages for path in Path(folder).glob("*.py")] == ["tflite_runtime.py", "numpy.py"]
    assert len(local_variables("onnxruntime")["PYTHONPATH"].split(":")) == 1
