"""Benchmarks run where the tests' packages are not installed, and say what they lack."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

_WITHOUT = """
import shutil, sys
sys.modules["pytest"] = None
shutil.which = lambda *_, **__: None
sys.argv = ["transport"]
from benchmarks.transport import main
main()
"""


def test_the_transport_benchmark_without_pytest_and_sshd_is_one_sentence() -> None:
    root = Path(__file__).resolve().parents[1]
    result = subprocess.run([sys.executable, "-c", _WITHOUT], cwd=root, capture_output=True, text=True, timeout=60)
    expected = "needs a real SSH server: no sshd on this machine: install openssh-server and openssh-client"
    assert (result.returncode, result.stderr) == (1, f"benchmarks.transport {expected}\n")
    assert result.stdout == ""
