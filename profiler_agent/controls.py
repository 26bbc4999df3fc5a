"""What of a machine may be tuned, as its kernel offers it, and the one way of writing it: governors and turbo."""

from __future__ import annotations

import os
from pathlib import Path
from typing import List, NamedTuple, Optional

from profiler_agent.system_files import cpu_policies, read_text

GOVERNOR, TURBO = "governor", "turbo"
_FIXED_BY_USER = "userspace"
# Folder, then what switches turbo off there; an intel_pstate machine may show both, and only the first works on it.
TURBO_SWITCHES = (("sys/devices/system/cpu/intel_pstate/no_turbo", "1"), ("sys/devices/system/cpu/cpufreq/boost", "0"))


class Control(NamedTuple):
    """One value of the kernel that decides how fast the machine runs.

    Attributes:
        kind: `governor` or `turbo`.
        path: of its file, below the root.
        tuned: the value under which latencies are steady.
    """

    kind: str
    path: str
    tuned: str


def find_controls(root: Path) -> List[Control]:
    """Return what can be tuned here, in the order in which to do it; nothing where the kernel offers nothing.

    A cluster whose governor is `userspace` is left alone: its user has fixed its clock, and coming back to it later
    would fix another one.
    """
    governors = [one for one in governor_controls(root) if read_text(root / one.path) != _FIXED_BY_USER]
    return [*turbo_controls(root), *governors]


def governor_controls(root: Path) -> List[Control]:
    """Return the governor of each frequency domain."""
    return [Control(GOVERNOR, path, "performance") for path in _of_policies(root, "scaling_governor")]


def turbo_controls(root: Path) -> List[Control]:
    """Return what switches turbo: one switch for the machine, or newer kernels' one for each frequency domain."""
    for path, tuned in TURBO_SWITCHES:
        if os.path.lexists(root / path):
            return [Control(TURBO, path, tuned)]
    return [Control(TURBO, path, "0") for path in _of_policies(root, "boost")]


def write_control(path: Path, value: str) -> Optional[str]:
    """Write a value, and return why it did not take, or None if it did.

    What counts is what the file says afterwards: some kernels accept a value and keep their own.
    """
    try:
        # Without O_CREAT: a control that is not there must not become an ordinary file.
        descriptor = os.open(str(path), os.O_WRONLY | os.O_TRUNC)
        try:
            os.write(descriptor, f"{value}\n".encode())
        finally:
            os.close(descriptor)
    except OSError as e:
        return e.strerror or str(e)
    now = read_text(path)
    return None if now == value else f"it was set to {value!r} but says {now!r}"


def _of_policies(root: Path, name: str) -> List[str]:
    files = [policy / name for policy in cpu_policies(root)]
    return [file.relative_to(root).as_posix() for file in files if os.path.lexists(file)]
