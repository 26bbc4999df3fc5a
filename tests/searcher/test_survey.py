"""What the host makes of a device's answer about its Python."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from searcher.devices.local import LocalTransport
from searcher.devices.survey import PythonUnfitError, survey
from searcher.devices.transport import RemoteProgramError, TransportError, UnreachableError
from tests.fakes import BOARD, FakeTransport


def telling(answer: str | TransportError) -> FakeTransport:
    transport = FakeTransport()
    transport.tells = answer
    return transport


def test_this_very_python(tmp_path: Path) -> None:
    system = survey(LocalTransport(tmp_path), sys.executable, ("numpy", "no_such_module"))
    assert system.version == sys.version_info[:3]
    assert system.modules == {"numpy"}
    assert system.implementation == "cpython"


def test_a_board() -> None:
    system = survey(FakeTransport(), "python3")
    assert (system.python, system.machine, system.libc, system.libc_version) == ("3.11.2", "aarch64", "glibc", "2.36")


def test_what_a_shell_s_start_file_prints_before_is_no_answer() -> None:
    assert survey(telling(f"welcome\n{json.dumps(BOARD)}"), "python3").machine == "aarch64"


@pytest.mark.parametrize(
    "answer",
    [
        "",
        "no JSON",
        "[]",
        "{}",
        json.dumps(BOARD | {"version": "3.11"}),
        json.dumps(BOARD | {"version": [3, 11]}),
        json.dumps(BOARD | {"version": [3, -11, 2]}),
        json.dumps(BOARD | {"version": [3, 11, 10**100]}),
        json.dumps(BOARD | {"pointer_bits": "64"}),
        json.dumps(BOARD | {"machine": None}),
        json.dumps(BOARD | {"machine": "../../etc"}),
        json.dumps(BOARD | {"machine": "x" * 41}),
        json.dumps(BOARD | {"libc_version": "2.36\x1b[2J"}),
        json.dumps(BOARD | {"modules": ["a b"]}),
        json.dumps({name: value for name, value in BOARD.items() if name != "libc"}),
        "\x1b[2J\x1b]0;owned\x07",
    ],
)
def test_an_answer_that_is_none_is_refused(answer: str) -> None:
    with pytest.raises(TransportError, match="python3 on fake was asked what it is and said") as caught:
        survey(telling(answer), "python3")
    assert str(caught.value).isprintable()


def test_what_it_does_not_know_is_ignored() -> None:
    assert survey(telling(json.dumps(BOARD | {"colour": "green"})), "python3").machine == "aarch64"


def test_an_old_python_is_told_with_what_to_do() -> None:
    old = telling(json.dumps(BOARD | {"version": [3, 6, 9]}))
    with pytest.raises(PythonUnfitError, match=r"is Python 3\.6\.9, and the agent needs 3\.8.*: .* with --python"):
        survey(old, "python3")


@pytest.mark.parametrize(
    ("status", "standard_error", "sentence"),
    [
        (127, "sh: 1: python3: not found\n", "there is no python3 on fake: install Python 3.8"),
        (1, '  File "<stdin>", line 3\nSyntaxError: invalid syntax\n', "is older than the agent's Python 3.8"),
        (1, "ImportError: No module named util\n", "is older than the agent's Python 3.8"),
    ],
)
def test_what_is_no_such_python_is_told(status: int, standard_error: str, sentence: str) -> None:
    with pytest.raises(PythonUnfitError, match=sentence):
        survey(telling(RemoteProgramError("python3", "fake", status, standard_error)), "python3")


def test_other_failures_are_passed_on() -> None:
    with pytest.raises(RemoteProgramError, match="Killed"):
        survey(telling(RemoteProgramError("python3", "fake", 137, "Killed\n")), "python3")


def test_a_lost_link_is_told_as_one() -> None:
    with pytest.raises(UnreachableError, match="lost"):
        survey(telling(UnreachableError("lost")), "python3")
