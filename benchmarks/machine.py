"""What every benchmark says of the machine that it ran on."""

from __future__ import annotations

import os
import platform
from typing import Any

from profiler_agent.environment import fingerprint, read_environment


def describe_machine() -> dict[str, Any]:
    """Return machine and load as a benchmark's result states them."""
    environment = read_environment()
    return {
        "device_fingerprint": fingerprint(environment.machine),
        "processor": environment.machine.cpu_model,
        "processors": environment.machine.cpu_count,
        "virtual_machine": environment.virtual_machine,
        "load_1m": environment.state.load_1m,
        "python": platform.python_version(),
        "system": f"{environment.system} {environment.kernel}",
        "usable_processors": len(os.sched_getaffinity(0)),
    }
