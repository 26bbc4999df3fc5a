"""Resident memory of this process, as Linux tells it without root; None elsewhere.

The kernel counts pages in portions for each processor, so that a reading may be off by some 100 kB.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Optional

from profiler_agent.system_files import ROOT, read_text

_RESET_PEAK = "5"


def resident_bytes(root: Path = ROOT) -> Optional[int]:
    """Return what is resident now."""
    return _field(root, "VmRSS")


def peak_bytes(root: Path = ROOT) -> Optional[int]:
    """Return the most that was resident at once since the process began, or since `reset_peak`."""
    return _field(root, "VmHWM")


def reset_peak(root: Path = ROOT) -> bool:
    """Let the peak begin anew at what is resident now; tell whether the kernel did."""
    try:
        (root / "proc/self/clear_refs").write_text(_RESET_PEAK)
    except OSError:
        return False
    return True


def _field(root: Path, name: str) -> Optional[int]:
    match = re.search(rf"^{name}:\s*(\d{{1,15}}) kB", read_text(root / "proc/self/status") or "", re.MULTILINE)
    return int(match.group(1)) * 1024 if match else None
