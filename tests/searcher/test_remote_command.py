"""The shell script that runs programs on devices, in the shells that devices have."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from searcher.devices.ssh import remote_command

SHOW_ARGUMENTS = (sys.executable, "-c", "import json, sys; print(json.dumps(sys.argv[1:]))")

Start = Callable[..., subprocess.Popen[bytes]]


@pytest.fixture(params=["dash", "bash", "busybox"])
def path_with_shell(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    shell = shutil.which(request.param)
    if shell is None:
        pytest.skip(f"no {request.param} on this machine")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "sh").symlink_to(shell)
    return f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}"


@pytest.fixture
def start(path_with_shell: str, tmp_path: Path) -> Iterator[Start]:
    started: list[subprocess.Popen[bytes]] = []

    def start(*arguments: str, size: int = 5, login_shell: str = "sh") -> subprocess.Popen[bytes]:
        pipe = subprocess.PIPE
        process = subprocess.Popen(
            [login_shell, "-c", remote_command(str(tmp_path), arguments, size, {"ODD": "a b"}, 0.3)],
            env={**os.environ, "PATH": path_with_shell},
            stdin=pipe,
            stdout=pipe,
            stderr=pipe,
            start_new_session=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        for stream in (process.stdin, process.stdout, process.stderr):
            if stream is not None:
                stream.close()


def test_status_and_streams_are_the_program_s_own(start: Start) -> None:
    process = start("sh", "-c", 'cat; echo "$ODD"; echo bad >&2; exit 7')
    assert process.stdin is not None
    process.stdin.write(b"hello, and more than was promised")
    process.stdin.flush()
    # Standard input stays open, as it does on a channel.
    assert process.wait(60) == 7
    assert process.communicate() == (b"helloa b\n", b"bad\n")


def test_the_end_of_the_link_ends_the_program(start: Start) -> None:
    process = start("sh", "-c", "trap '' TERM; echo ready; while :; do sleep 0.05; done", size=0)
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    process.stdin.close()
    assert process.wait(60) == -signal.SIGKILL


def test_a_missing_program_says_so(start: Start) -> None:
    process = start("no-such-program", size=0)
    assert process.wait(60) == 127
    assert b"no-such-program" in process.communicate()[1]


@pytest.mark.parametrize("login_shell", ["bash", "zsh", "fish"])
def test_login_shells_pass_it_on(start: Start, login_shell: str) -> None:
    if shutil.which(login_shell) is None:
        pytest.skip(f"no {login_shell} on this machine")
    process = start(*SHOW_ARGUMENTS, "it's", "$HOME !", "line\nbreak", size=0, login_shell=login_shell)
    assert process.wait(60) == 0
    assert json.loads(process.communicate()[0]) == ["it's", "$HOME !", "line\nbreak"]
