"""The `searcher` command as a process that is killed at an exact moment, however slow the machine is."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

_PROGRAM = """
import importlib
import os
import signal
import sys
from searcher.cli import main

def dying(*arguments, **options):
    global times
    answer = method(*arguments, **options)
    times -= 1
    if times == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return answer

module, name, method_name, times = *sys.argv[1:4], int(sys.argv[4])
del sys.argv[1:5]
owner = getattr(importlib.import_module(module), name)
method = getattr(owner, method_name)
setattr(owner, method_name, dying)
main()
"""


def run_until_killed(after: tuple[str, str, str], times: int, arguments: list[str], folder: Path) -> None:
    """Run the command in a folder until a method has returned so often, and kill it there.

    Args:
        after: module, class and name of the method.
        times: how often it returns.
        arguments: of the command.
        folder: the current one of the process.
    """
    command = [sys.executable, "-c", _PROGRAM, *after, str(times), *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=600)
    assert done.returncode == -signal.SIGKILL, done.stderr
