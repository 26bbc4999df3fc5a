"""Unpacking on the device: all or nothing, whoever else is at it and wherever it is killed."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pytest

from profiler_agent import unpack as module

FILES = {"package/__init__.py": b"", "package/data.py": b"x = 1\n" * 10_000, "complete": b"all of it\n"}


def archive_in(folder: Path) -> tuple[Path, str]:
    archive = folder / "agents" / "one.zip"
    archive.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(str(archive), "w", zipfile.ZIP_DEFLATED) as zipped:
        for name, content in FILES.items():
            zipped.writestr(name, content)
    return archive, hashlib.sha256(archive.read_bytes()).hexdigest()


def start(folder: Path, sha256: str) -> subprocess.Popen[bytes]:
    source = Path(module.__file__).read_bytes()
    process = subprocess.Popen(
        [sys.executable, "-", "agents/one.zip", sha256, "agents/one"],
        cwd=str(folder),
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdin is not None
    process.stdin.write(source)
    process.stdin.close()
    return process


def finished(process: subprocess.Popen[bytes]) -> tuple[int, str]:
    assert process.stderr is not None
    said = process.stderr.read().decode()
    process.stderr.close()
    return process.wait(), said


def unpacked(folder: Path) -> dict[str, bytes]:
    place = folder / "agents" / "one"
    return {path.relative_to(place).as_posix(): path.read_bytes() for path in place.rglob("*") if path.is_file()}


def test_everything_is_unpacked_and_the_archive_deleted(tmp_path: Path) -> None:
    _, sha256 = archive_in(tmp_path)
    assert finished(start(tmp_path, sha256)) == (0, "")
    assert unpacked(tmp_path) == FILES
    assert [path.name for path in (tmp_path / "agents").iterdir()] == ["one"]


def test_a_list_is_made_where_the_archive_has_none(tmp_path: Path) -> None:
    archive, _ = archive_in(tmp_path)
    with zipfile.ZipFile(str(archive), "w") as zipped:
        zipped.writestr("b/data", b"1")
        zipped.writestr("a", b"")
    module.unpack(archive, hashlib.sha256(archive.read_bytes()).hexdigest(), archive.with_suffix(""))
    one, nothing = hashlib.sha256(b"1").hexdigest(), hashlib.sha256(b"").hexdigest()
    assert unpacked(tmp_path)["complete"].decode() == f"{nothing}  a\n{one}  b/data\n"


def test_several_archives_are_unpacked_in_one_go(tmp_path: Path) -> None:
    archive, sha256 = archive_in(tmp_path)
    (tmp_path / "agents" / "two.zip").write_bytes(archive.read_bytes())
    orders = ["agents/one.zip", sha256, "agents/one", "agents/two.zip", sha256, "agents/two"]
    command = [sys.executable, module.__file__, *orders]
    assert subprocess.run(command, cwd=str(tmp_path), check=True, capture_output=True).stderr == b""
    assert unpacked(tmp_path) == FILES
    assert sorted(path.name for path in (tmp_path / "agents").iterdir()) == ["one", "two"]


def test_what_is_whole_is_left_and_needs_no_archive(tmp_path: Path) -> None:
    archive, sha256 = archive_in(tmp_path)
    module.unpack(archive, sha256, archive.with_suffix(""))
    changed_at = (tmp_path / "agents" / "one").stat().st_mtime_ns
    assert finished(start(tmp_path, sha256)) == (0, "")
    assert (tmp_path / "agents" / "one").stat().st_mtime_ns == changed_at


def test_another_archive_than_the_one_sent_is_refused_and_deleted(tmp_path: Path) -> None:
    archive_in(tmp_path)
    status, said = finished(start(tmp_path, "0" * 64))
    assert (status, len(said.splitlines())) == (1, 1)
    assert said.startswith("cannot unpack: the archive did not arrive")
    assert list((tmp_path / "agents").iterdir()) == []


def test_a_file_that_is_no_archive_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "agents").mkdir()
    (tmp_path / "agents" / "one.zip").write_bytes(b"no archive")
    status, said = finished(start(tmp_path, hashlib.sha256(b"no archive").hexdigest()))
    assert (status, said) == (1, "cannot unpack: File is not a zip file\n")


def test_a_missing_archive_is_one_sentence(tmp_path: Path) -> None:
    status, said = finished(start(tmp_path, "0" * 64))
    assert (status, said) == (1, "cannot unpack: [Errno 2] No such file or directory: 'agents/one.zip'\n")


def test_what_the_disk_refuses_names_the_folder(tmp_path: Path) -> None:
    _, sha256 = archive_in(tmp_path)
    # A file of that size is refused as on a full disk: without its name.
    command = ["sh", "-c", 'ulimit -f 8 && exec "$@"', "sh", sys.executable, module.__file__]
    result = subprocess.run(
        [*command, "agents/one.zip", sha256, "agents/one"], cwd=str(tmp_path), capture_output=True, text=True
    )
    assert (result.returncode, result.stderr) == (1, f"cannot unpack into {tmp_path}/agents/one: File too large\n")
    assert not (tmp_path / "agents" / "one").exists()


def test_it_never_writes_outside_its_folder(tmp_path: Path) -> None:
    archive = tmp_path / "agents" / "one.zip"
    archive.parent.mkdir()
    with zipfile.ZipFile(str(archive), "w") as zipped:
        zipped.writestr("../../outside", "x")
        zipped.writestr("complete", "")
    module.unpack(archive, hashlib.sha256(archive.read_bytes()).hexdigest(), archive.with_suffix(""))
    assert not list(tmp_path.glob("outside"))
    assert not list((tmp_path / "agents").glob("outside"))


def test_several_at_once_do_not_disturb_each_other(tmp_path: Path) -> None:
    _, sha256 = archive_in(tmp_path)
    processes = [start(tmp_path, sha256) for _ in range(6)]
    outcomes = [finished(process) for process in processes]
    assert [status for status, _ in outcomes] == [0] * 6, outcomes
    assert unpacked(tmp_path) == FILES


@pytest.mark.parametrize("delay_ms", [0, 20, 40, 60, 80, 100])
def test_killed_anywhere_it_leaves_nothing_or_all(tmp_path: Path, delay_ms: int) -> None:
    _, sha256 = archive_in(tmp_path)
    process = start(tmp_path, sha256)
    time.sleep(delay_ms / 1000)
    process.kill()
    finished(process)
    assert unpacked(tmp_path) in ({}, FILES)
    if not (tmp_path / "agents" / "one").exists():
        assert finished(start(tmp_path, sha256)) == (0, "")
        assert unpacked(tmp_path) == FILES


def test_what_killed_ones_left_goes_after_an_hour(tmp_path: Path) -> None:
    archive, sha256 = archive_in(tmp_path)
    old, new = tmp_path / "agents" / ".unpacking-old", tmp_path / "agents" / ".unpacking-new"
    for place in (old, new):
        (place / "content").mkdir(parents=True)
    os.utime(str(old), (0, 0))
    module.unpack(archive, sha256, archive.with_suffix(""))
    assert (old.exists(), new.exists()) == (False, True)
