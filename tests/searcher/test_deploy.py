"""Bringing the agent and models to a device: once, whole, under names made of contents."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from profiler_agent import records
from searcher.artifacts import ExportedModel, sha256_of
from searcher.devices.deploy import agent_files, deploy_agent, deploy_models
from searcher.devices.local import LocalTransport
from searcher.devices.transport import TransportError
from tests.fakes import FakeTransport


class BreakingTransport(FakeTransport):
    """Loses the link after some files."""

    def __init__(self, files_until_lost: int) -> None:
        super().__init__()
        self.files_left = files_until_lost

    def send(self, files: Mapping[str, Path]) -> int:
        sent = 0
        for path, source in files.items():
            if self.files_left == 0:
                raise TransportError("the link was lost")
            self.files_left -= 1
            sent += super().send({path: source})
        return sent


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
        folder = deploy_agent(transport)
        assert transport.sent_bytes > 0
        assert {f"{folder}/{name}" for name in agent_files()} | {f"{folder}/complete"} == set(transport.files)
        transport.sent_bytes = 0
        assert deploy_agent(transport) == folder
        assert transport.sent_bytes == 0

    @pytest.mark.parametrize("files_until_lost", [0, 1, 3, len(agent_files())])
    def test_a_half_sent_folder_is_not_used(self, files_until_lost: int) -> None:
        transport = BreakingTransport(files_until_lost)
        with pytest.raises(TransportError, match="lost"):
            deploy_agent(transport)
        transport.files_left = 1000
        folder = deploy_agent(transport)
        for name, path in agent_files().items():
            assert transport.files[f"{folder}/{name}"] == path.read_bytes()

    def test_a_changed_agent_gets_another_folder(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        package = shutil.copytree(Path(records.__file__).parents[1], tmp_path / "profiler_agent")
        transport = FakeTransport()
        folder = deploy_agent(transport)
        monkeypatch.setattr(records, "__file__", str(package / "records" / "__init__.py"))
        assert deploy_agent(transport) == folder
        (package / "measure.py").write_text("changed = True\n")
        changed = deploy_agent(transport)
        (package / "measure.py").rename(package / "renamed.py")
        assert len({folder, changed, deploy_agent(transport)}) == 3

    def test_it_runs_where_it_was_brought(self, tmp_path: Path) -> None:
        transport = LocalTransport(tmp_path)
        folder = deploy_agent(transport)
        show = "import profiler_agent.records as records; print(records.__file__)"
        (line,) = transport.run([sys.executable, "-c", show], environment={"PYTHONPATH": folder})
        assert line == str(tmp_path / folder / "profiler_agent" / "records" / "__init__.py")

    def test_the_marker_lists_the_files_hashes(self, tmp_path: Path) -> None:
        folder = deploy_agent(LocalTransport(tmp_path))
        check = subprocess.run(["sha256sum", "--quiet", "-c", "complete"], cwd=tmp_path / folder, check=False)
        assert check.returncode == 0


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
