"""How much memory a model may take: what is free on the machine and in this process's control group."""

from __future__ import annotations

import resource
from pathlib import Path
from typing import Optional

from profiler_agent.cgroups import read_limits
from profiler_agent.system_files import ROOT, read_kilobytes


def available_bytes(root: Path = ROOT) -> Optional[int]:
    """Return the memory that can be taken without swapping or being killed; None where the kernel does not tell."""
    free = []
    of_machine = read_kilobytes(root / "proc/meminfo", "MemAvailable")
    if of_machine is not None:
        free.append(of_machine)
    limits = read_limits(root)
    if limits is not None and limits.memory_bytes is not None:
        free.append(max(0, limits.memory_bytes - (limits.memory_used_bytes or 0)))
    return min(free, default=None)


def bound_own_memory(root: Path = ROOT) -> None:
    """Let this process take no more than what is available now; where the kernel does not tell, leave it unbound.

    A model whose tensors do not fit then fails by itself. Without the bound the kernel grants it everything, and kills
    some process when there is nothing left, after a board has swapped itself to a standstill.
    """
    available = available_bytes(root)
    taken = read_kilobytes(root / "proc/self/status", "VmData")
    if available is None or taken is None:
        return
    bound = taken + available
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    if hard == resource.RLIM_INFINITY or bound < hard:
        resource.setrlimit(resource.RLIMIT_DATA, (bound, hard))
