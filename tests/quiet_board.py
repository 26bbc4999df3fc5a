"""Whether jobs have left anything behind on a board: a lock, or a process."""

from __future__ import annotations

import os
from pathlib import Path

from profiler_agent.lease import holder
from tests.loopback_sshd import is_running, wait_until


def require_quiet(root: Path, patience_s: float = 0) -> None:
    """Fail if a lease below a board's working root is held, or if an agent still works there ten seconds later."""
    leases = [root / "lease", *root.glob("jobs/*/running")]
    assert wait_until(lambda: [lease for lease in leases if holder(lease) is not None] == [], patience_s)
    assert wait_until(lambda: not _processes(root), 10), _processes(root)


def _processes(root: Path) -> list[str]:
    """Return the commands of agents that work below a board's root."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            inside = Path(os.readlink(folder / "cwd")) == root
            command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if inside and is_running(int(folder.name)):
            found.append(command)
    return found
