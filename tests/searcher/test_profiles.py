"""Device profiles: those that ship, those that users write, and what is said of a bad one."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from searcher.devices.device import Device
from searcher.devices.profile import find_profile, own_folder, profile_files, read_profile
from searcher.devices.ssh_address import SshAddress
from searcher.errors import BadInputError

SHIPPED = [
    "jetson-nano",
    "jetson-orin-nano",
    "jetson-tx2",
    "local",
    "pixel-3",
    "pixel-6",
    "pixel-8",
    "raspberry-pi-4",
    "raspberry-pi-5",
]
BOARD = """schema_version = 1
title = "a board"

[reach]
address = "board.lab"
port = 2222
user = "pi"

[python]
interpreter = "/opt/python"

[measure]
cluster = "fastest"
threads = 4
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's profiles; without any SSH configuration of the user who runs the tests."""
    folder = tmp_path / "profiles"
    folder.mkdir()
    monkeypatch.setenv("PROFILER_DEVICES", str(folder))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("PROFILER_SSH_CONFIG", raising=False)
    return folder


def test_those_that_ship_can_be_used() -> None:
    assert list(profile_files()) == SHIPPED
    for name in SHIPPED:
        profile = read_profile(own_folder() / f"{name}.toml")
        assert profile.title
        assert profile.python.runtimes
        assert (profile.reach.address is None) == (name == "local")
        assert Device(name).is_local == (name == "local")
    for name in ("jetson-nano", "jetson-tx2"):
        assert Device(name).interpreter == "python3.8"
    for name in ("pixel-3", "pixel-6", "pixel-8"):
        profile = Device(name).profile
        assert (profile.reach.port, profile.python.runtime_from) == (8022, "system")
        assert profile.measure.cluster == "fastest"


def test_a_users_profile_hides_the_projects(folder: Path) -> None:
    (folder / "raspberry-pi-4.toml").write_text(BOARD)
    (folder / "mine.toml").write_text(BOARD)
    assert list(profile_files()) == sorted([*SHIPPED, "mine"])
    assert find_profile("raspberry-pi-4") == folder / "raspberry-pi-4.toml"
    device = Device("mine")
    assert device.route()[-1].address == SshAddress("pi", "board.lab", 2222)
    assert (device.interpreter, device.wanted_cluster) == ("/opt/python", "fastest")
    assert Device("mine", python="python3.12", cluster="all").interpreter == "python3.12"
    assert Device("mine", cluster="all").wanted_cluster == "all"


def test_a_path_is_taken_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "elsewhere.toml").write_text(BOARD)
    assert Device(str(tmp_path / "elsewhere.toml")).profile.title == "a board"
    with pytest.raises(BadInputError, match=r"missing\.toml cannot be read: No such file"):
        Device(str(tmp_path / "missing.toml"))


def test_an_address_may_name_a_profile(folder: Path) -> None:
    (folder / "mine.toml").write_text(BOARD)
    device = Device("ssh://me@10.0.0.5:22", profile_name="mine")
    assert device.route()[-1].address == SshAddress("me", "10.0.0.5", 22)
    assert device.profile.measure.threads == 4
    here = Device("local", profile_name="mine")
    assert (here.is_local, here.profile.measure.threads) == (True, 4)
    with pytest.raises(BadInputError, match="--profile goes with ssh"):
        Device("mine", profile_name="raspberry-pi-4")


def test_a_profile_may_mean_this_machine(folder: Path) -> None:
    (folder / "desk.toml").write_text('schema_version = 1\n[reach]\nway = "local"\n[measure]\nthreads = 2\n')
    assert Device("desk").is_local
    assert Device("desk").interpreter == sys.executable


def test_an_unknown_name_lists_those_that_there_are() -> None:
    for name in ("raspberry", "../local", ""):
        with pytest.raises(BadInputError, match=r"unknown device .* profiles .*raspberry-pi-4") as caught:
            Device(name)
        assert caught.value.exit_status == 2


def test_a_slip_of_the_pen_is_guessed() -> None:
    with pytest.raises(BadInputError, match=r"unknown device 'raspbery-pi-4' \(did you mean raspberry-pi-4\?\): give"):
        Device("raspbery-pi-4")
    with pytest.raises(BadInputError, match="unknown device 'zzz': give local"):
        Device("zzz")


def test_a_wrong_profile_is_told_as_one() -> None:
    with pytest.raises(BadInputError, match=r"unknown profile 'pixel-66' \(did you mean pixel-6\?\)") as caught:
        Device("ssh://pi@board", profile_name="pixel-66")
    assert "ssh://" not in str(caught.value)
    with pytest.raises(BadInputError, match="unknown device 'board'"):
        Device("board", profile_name="pixel-6")


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("threads = 4", "threads = 0", r", line 14, measure\.threads: .*greater than or equal to 1"),
        ("threads = 4", "threads = '4'", r", line 14, measure\.threads: .*valid integer"),
        ("threads = 4", "threds = 4", r", line 14, measure\.threds: a profile has no such key"),
        ("threads = 4", "max_temperature_c = -3", r", line 14, measure\.max_temperature_c: .*greater than 0"),
        ('"fastest"', '"big"', r", line 13, measure\.cluster: .*'fastest', 'slowest' or 'all'"),
        ("port = 2222", "port = 99999", r", line 6, reach\.port: .*less than or equal to 65535"),
        ('"board.lab"', '"board/lab"', r", line 5, reach\.address: .*host"),
        ('"board.lab"', '"ssh://pi:pw@board"', r", line 5, reach\.address: give only the name here"),
        ('"board.lab"', '"ssh://pi@board"', r", line 5, reach\.address: .*user and port have keys of their own"),
        ('"board.lab"', '"board.lab:2222"', r", line 5, reach\.address: give only the name here"),
        ("threads = 4", "runtime = 'onx'", r", line 14, measure\.runtime: unknown runtime 'onx': choose from .*onnx"),
        ('interpreter = "/opt/python"', "runtimes = ['onnxruntime', 'tvm']", r", line 10, python\.runtimes: .*'tvm'"),
        ("[measure]", "[measuring]", r", line 12, measuring: a profile has no such key"),
        ('title = "a board"', "title = 3", r", line 2, title: .*valid string"),
        ('title = "a board"', 'notes = """\nport = 1\n""', r"is no TOML: .*"),
        ('title = "a board"', 'notes = ["""\nthreads = 3\n""",\n5]', r", line 2, notes: .*valid string"),
        ("schema_version = 1\n", "", r"schema_version is missing"),
        ("schema_version = 1", "schema_version = 2", r", line 1, schema_version is '2', not 1"),
        ("user =", "user user =", r"is no TOML: .*line 7"),
    ],
)
def test_what_is_wrong_is_told_with_file_line_and_key(folder: Path, old: str, new: str, said: str) -> None:
    assert old in BOARD
    path = folder / "bad.toml"
    path.write_text(BOARD.replace(old, new))
    with pytest.raises(BadInputError, match=said) as caught:
        Device("bad")
    assert str(caught.value).startswith(str(path))
    assert caught.value.exit_status == 2


@pytest.mark.parametrize(
    "key", ["password", "passphrase", "api_key", "Secret", "sudo_pwd", "auth_token", "private_key"]
)
def test_a_secret_is_refused_without_being_repeated(folder: Path, key: str) -> None:
    (folder / "bad.toml").write_text(BOARD.replace('user = "pi"', f'user = "pi"\n{key} = "raspberry"'))
    with pytest.raises(BadInputError, match=rf"line 8, reach\.{key} looks like a secret") as caught:
        Device("bad")
    assert "raspberry" not in str(caught.value)


def test_files_that_are_no_profiles_are_refused(folder: Path) -> None:
    (folder / "large.toml").write_text("#" * 40_000)
    (folder / "binary.toml").write_bytes(b"\xff\xfe")
    (folder / "folder.toml").mkdir()
    with pytest.raises(BadInputError, match="larger than"):
        Device("large")
    with pytest.raises(BadInputError, match="not UTF-8"):
        Device("binary")
    with pytest.raises(BadInputError, match="Is a directory"):
        Device(str(folder / "folder.toml"))


@pytest.mark.slow
def test_an_installation_has_them_too(tmp_path: Path) -> None:
    checkout, source, installed = own_folder().parent, tmp_path / "source", tmp_path / "installed"
    for name in ("profiler_agent", "searcher", "device_profiles", "luts"):
        shutil.copytree(checkout / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(checkout / name, source / name)
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run([*pip, "--target", str(installed), str(source)], check=True, timeout=300)
    code = "from searcher.devices.profile import profile_files; print(*profile_files().values())"
    result = subprocess.run(
        [sys.executable, "-c", code],
        cwd=installed,
        env={**os.environ, "PYTHONPATH": str(installed)},
        check=True,
        capture_output=True,
        text=True,
    )
    assert result.stdout.split() == [str(installed / "device_profiles" / f"{name}.toml") for name in SHIPPED]
    shipped = sorted(file.name for file in (checkout / "luts").iterdir())
    assert sorted(file.name for file in (installed / "luts").iterdir() if file.name != "__pycache__") == shipped
