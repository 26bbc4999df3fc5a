"""Resident memory of this process, as Linux tells it without root; None elsewhere.

The kernel counts pages in portions for each processor, so that a reading may be off by some 100 kB.
"""

from __future__ import annotations

from pathlib import Path
from typing import Optional

from profiler_agent.system_files import ROOT, read_kilobytes

_STATUS = "proc/self/status"
_RESET_PEAK = "5"


def resident_bytes(root: Path = ROOT) -> Optional[int]:
    """Return what is resident now."""
    return read_kilobytes(root / _STATUS, "VmRSS")


def peak_bytes(root: Path = ROOT) -> Optional[int]:
    """Return the most that was resident at once since the process began, or since `reset_peak`."""
    return read_kilobytes(root / _STATUS, "VmHWM")


def reset_peak(root: Path = ROOT) -> bool:
    """Let the peak begin anew at what is resident now; tell whether the kernel did."""
    try:
        (root / "proc/self/clear_refs").write_text(_RESET_PEAK)
    except OSError:
        return False
    return True
