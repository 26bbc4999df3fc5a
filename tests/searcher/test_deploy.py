"""Bringing the agent and models to a device: once, whole, under names made of contents."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from profiler_agent import records
from searcher.artifacts import ExportedModel, sha256_of
from searcher.devices.deploy import agent_files, deploy_agent, deploy_models, deploy_packages, pack
from searcher.devices.local import LocalTransport
from searcher.devices.transport import RemoteProgramError, TransportError
from tests.fakes import FakeTransport
from tests.searcher.wheels import write_wheel


class SpoilingTransport(LocalTransport):
    """Loses the last byte of each file."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self._device = root

    def send(self, files: Mapping[str, Path]) -> int:
        sent = super().send(files)
        for path in files:
            os.truncate(self._device / path, (self._device / path).stat().st_size - 1)
        return sent


class Unsending(LocalTransport):
    """Has nothing to send."""

    def send(self, files: Mapping[str, Path]) -> int:
        assert not files
        return 0


def check_whole(folder: Path) -> None:
    check = subprocess.run(["sha256sum", "--quiet", "-c", "complete"], cwd=folder, check=False)
    assert check.returncode == 0


def model(folder: Path, name: str, content: bytes) -> ExportedModel:
    path = folder / f"{name}.onnx"
    path.write_bytes(content)
    return ExportedModel(name, path, sha256_of(path))


class TestAgent:
    def test_its_files_are_the_package_s_own(self) -> None:
        files = agent_files()
        assert {"profiler_agent/__init__.py", "profiler_agent/records/__init__.py"} <= set(files)
        assert "profiler_agent/runtimes/__init__.py" in files
        assert all(name.endswith(".py") and path.is_file() for name, path in files.items())

    def test_the_second_time_nothing_is_sent(self) -> None:
        transport = FakeTransport()
        folder = deploy_agent(transport, "python3")
        assert transport.sent_bytes > 0
        assert {f"{folder}/{name}" for name in agent_files()} | {f"{folder}/complete"} == set(transport.files)
        transport.sent_bytes = 0
        assert deploy_agent(transport, "python3") == folder
        assert transport.sent_bytes == 0

    def test_one_compressed_archive_travels(self, tmp_path: Path) -> None:
        transport = FakeTransport()
        deploy_agent(transport, "python3")
        assert transport.sent_bytes < sum(path.stat().st_size for path in agent_files().values()) / 2

    def test_equal_files_make_equal_archives(self, tmp_path: Path) -> None:
        for name in ("one.zip", "two.zip"):
            pack({"folder/a": b"a" * 100, "b": b""}, tmp_path / name)
        assert (tmp_path / "one.zip").read_bytes() == (tmp_path / "two.zip").read_bytes()

    def test_a_folder_without_its_marker_is_replaced(self, tmp_path: Path) -> None:
        transport = LocalTransport(tmp_path)
        folder = deploy_agent(transport, sys.executable)
        (tmp_path / folder / "complete").unlink()
        (tmp_path / folder / "profiler_agent" / "measure.py").write_text("half of")
        assert deploy_agent(transport, sys.executable) == folder
        check_whole(tmp_path / folder)
        assert [path.name for path in (tmp_path / "agents").iterdir()] == [Path(folder).name]

    def test_a_changed_agent_gets_another_folder(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        package = shutil.copytree(Path(records.__file__).parents[1], tmp_path / "profiler_agent")
        transport = FakeTransport()
        folder = deploy_agent(transport, "python3")
        monkeypatch.setattr(records, "__file__", str(package / "records" / "__init__.py"))
        assert deploy_agent(transport, "python3") == folder
        (package / "measure.py").write_text("changed = True\n")
        changed = deploy_agent(transport, "python3")
        (package / "measure.py").rename(package / "renamed.py")
        assert len({folder, changed, deploy_agent(transport, "python3")}) == 3

    def test_it_runs_where_it_was_brought(self, tmp_path: Path) -> None:
        transport = LocalTransport(tmp_path)
        folder = deploy_agent(transport, sys.executable)
        show = "import profiler_agent.records as records; print(records.__file__)"
        (line,) = transport.run([sys.executable, "-c", show], environment={"PYTHONPATH": folder})
        assert line == str(tmp_path / folder / "profiler_agent" / "records" / "__init__.py")

    def test_the_marker_lists_the_files_hashes(self, tmp_path: Path) -> None:
        check_whole(tmp_path / deploy_agent(LocalTransport(tmp_path), sys.executable))

    def test_what_the_device_cannot_unpack_is_told_in_its_words(self, tmp_path: Path) -> None:
        (tmp_path / "agents").mkdir()
        transport = SpoilingTransport(tmp_path)
        with pytest.raises(TransportError, match="on local cannot unpack: the archive did not arrive as it was sent"):
            deploy_agent(transport, sys.executable)
        assert list((tmp_path / "agents").iterdir()) == []

    def test_a_program_that_is_no_python_is_named(self, tmp_path: Path) -> None:
        with pytest.raises(RemoteProgramError, match="no-such-python on local"):
            deploy_agent(LocalTransport(tmp_path), "no-such-python")


class TestPackages:
    @pytest.fixture
    def wheels(self, tmp_path: Path) -> dict[str, Path]:
        made = [write_wheel(tmp_path / "wheels", name, "1.0") for name in ("runtime", "numpy")]
        return {sha256_of(path): path for path in made}

    def test_they_are_unpacked_in_one_go_and_sent_once(self, wheels: dict[str, Path], tmp_path: Path) -> None:
        transport = FakeTransport()
        folders = deploy_packages(transport, "python3", wheels)
        assert folders == tuple(f"packages/{sha256[:16]}" for sha256 in wheels)
        assert transport.exists(f"{folders[0]}/runtime.py")
        assert transport.sent_bytes == sum(path.stat().st_size for path in wheels.values())
        assert deploy_packages(transport, "python3", wheels) == folders
        assert transport.sent_bytes == sum(path.stat().st_size for path in wheels.values())

    def test_the_device_lists_what_it_unpacked(self, wheels: dict[str, Path], tmp_path: Path) -> None:
        transport = LocalTransport(tmp_path / "device")
        for folder in deploy_packages(transport, sys.executable, wheels):
            check_whole(tmp_path / "device" / folder)
            assert len((tmp_path / "device" / folder / "complete").read_text().splitlines()) == 4
        assert not list((tmp_path / "device" / "packages").glob("*.zip"))

    def test_a_folder_without_its_marker_is_replaced(self, wheels: dict[str, Path], tmp_path: Path) -> None:
        transport = LocalTransport(tmp_path / "device")
        runtime, numpy = (tmp_path / "device" / one for one in deploy_packages(transport, sys.executable, wheels))
        (runtime / "complete").unlink()
        (runtime / "runtime.py").write_text("half of")
        before = (numpy / "complete").stat().st_mtime_ns
        deploy_packages(transport, sys.executable, wheels)
        check_whole(runtime)
        assert (numpy / "complete").stat().st_mtime_ns == before

    def test_an_archive_that_arrived_before_the_link_was_lost_is_not_sent_again(
        self, wheels: dict[str, Path], tmp_path: Path
    ) -> None:
        first = next(iter(wheels))
        transport = LocalTransport(tmp_path / "device")
        transport.send({f"packages/{first[:16]}.zip": wheels[first]})
        (folder,) = deploy_packages(Unsending(tmp_path / "device"), sys.executable, {first: wheels[first]})
        check_whole(tmp_path / "device" / folder)

    def test_one_that_was_damaged_on_its_way_is_refused(self, wheels: dict[str, Path], tmp_path: Path) -> None:
        transport = SpoilingTransport(tmp_path / "device")
        with pytest.raises(TransportError, match="cannot unpack: the archive did not arrive as it was sent"):
            deploy_packages(transport, sys.executable, wheels)
        assert not transport.exists(f"packages/{next(iter(wheels))[:16]}")


class TestModels:
    def test_only_what_is_missing_is_sent(self, tmp_path: Path) -> None:
        transport = FakeTransport()
        one, two = model(tmp_path, "one", b"1" * 100), model(tmp_path, "two", b"2" * 10)
        first = deploy_models(transport, [one])
        assert first == {"one": f"models/{hashlib.sha256(b'1' * 100).hexdigest()}.onnx"}
        transport.sent_bytes = 0
        assert deploy_models(transport, [one, two]) == {**first, "two": f"models/{two.sha256}.onnx"}
        assert transport.sent_bytes == 10
        assert transport.files[f"models/{two.sha256}.onnx"] == b"2" * 10

    def test_equal_files_are_sent_once(self, tmp_path: Path) -> None:
        transport = FakeTransport()
        paths = deploy_models(transport, [model(tmp_path, "one", b"same"), model(tmp_path, "two", b"same")])
        assert paths["one"] == paths["two"]
        assert transport.sent_bytes == 4
