"""What a device's Python tells of itself before the agent is there."""

from __future__ import annotations

import glob
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import NoReturn

import pytest

from profiler_agent import survey as module


def test_it_runs_from_standard_input_and_finds_modules() -> None:
    with open(module.__file__, "rb") as program:
        command = [sys.executable, "-", "numpy", "no_such_module"]
        result = subprocess.run(command, stdin=program, capture_output=True, text=True, check=True)
    told = json.loads(result.stdout)
    assert told["version"] == list(sys.version_info[:3])
    assert told["modules"] == ["numpy"]
    assert told["machine"] == os.uname().machine
    assert told["pointer_bits"] == 64
    assert (told["libc"], told["libc_version"][:2]) == ("glibc", "2.")


def test_nothing_of_it_is_newer_than_it_claims() -> None:
    source = Path(module.__file__).read_text(encoding="utf-8")
    compile(source, "survey.py", "exec")
    assert "__future__" not in source
    assert 'f"' not in source


def test_android_is_told_from_other_systems(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "getandroidapilevel", lambda: 24, raising=False)
    told = module.describe([])
    assert (told["libc"], told["libc_version"]) == ("bionic", "24")


@pytest.mark.parametrize(("files", "libc"), [(["/lib/ld-musl-aarch64.so.1"], "musl"), ([], "")])
def test_musl_is_known_by_its_loader(monkeypatch: pytest.MonkeyPatch, files: list[str], libc: str) -> None:
    def refuse(_name: str) -> NoReturn:
        raise ValueError("unrecognized configuration name")

    monkeypatch.setattr(os, "confstr", refuse)
    monkeypatch.setattr(glob, "glob", lambda _pattern: files)
    told = module.describe([])
    assert (told["libc"], told["libc_version"]) == (libc, "")
