"""What the machine is and what state it is in, read without root; what a machine does not tell is None.

Every reader takes the root of the file system, so that tests can point it at a recorded tree.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import re
from importlib import metadata
from pathlib import Path
from typing import Optional, Tuple

from profiler_agent.decoding import encode
from profiler_agent.records import Environment, Machine, MachineState
from profiler_agent.system_files import (
    ROOT,
    cpu_policies,
    frequencies_mhz,
    is_virtual,
    read_heat,
    read_kilobytes,
    read_text,
)

_CPU_NAME_FIELDS = ("model name", "Model", "Hardware", "CPU part")
_CPU_FEATURE_FIELDS = ("flags", "Features")
_FINGERPRINT_DIGITS = 12


def read_environment(root: Path = ROOT) -> Environment:
    """Read the circumstances of a measurement that starts now."""
    return Environment(
        machine=read_machine(root),
        state=read_state(root),
        system=platform.system(),
        kernel=platform.release(),
        libc=" ".join(part for part in platform.libc_ver() if part),
        python=platform.python_version(),
        numpy=_installed_version("numpy"),
        memory_bytes=read_kilobytes(root / "proc/meminfo", "MemTotal"),
        virtual_machine=is_virtual(root),
    )


def read_machine(root: Path = ROOT) -> Machine:
    """Read what does not change between runs on this machine."""
    processors = read_text(root / "proc/cpuinfo") or ""
    features = sorted((_cpu_field(processors, _CPU_FEATURE_FIELDS) or "").split())
    board = read_text(root / "proc/device-tree/model")
    return Machine(
        architecture=platform.machine(),
        cpu_model=_cpu_model(processors),
        cpu_count=os.cpu_count() or 1,
        cpu_features_sha256=hashlib.sha256(" ".join(features).encode()).hexdigest()[:16],
        clusters=tuple(read_text(policy / "related_cpus") or "?" for policy in cpu_policies(root)),
        board=board.strip("\0 \n") if board else None,
    )


def fingerprint(machine: Machine) -> str:
    """Return a short name for what a machine is; boards of one kind share it.

    Two boards of one kind may still differ (cooling, supply): tables are compared, not assumed equal.
    """
    text = json.dumps(encode(machine), sort_keys=True)
    return f"{machine.architecture}-{hashlib.sha256(text.encode()).hexdigest()[:_FINGERPRINT_DIGITS]}"


def read_boot_id(root: Path = ROOT) -> Optional[str]:
    """Return the kernel's identity of the current boot."""
    return read_text(root / "proc/sys/kernel/random/boot_id")


def read_state(root: Path = ROOT) -> MachineState:
    """Read what may change from one moment to the next."""
    load = re.match(r"\d{1,6}\.\d{1,4}\b", read_text(root / "proc/loadavg") or "")
    policies = cpu_policies(root)
    return MachineState(
        load_1m=float(load.group()) if load else None,
        governors=tuple(read_text(policy / "scaling_governor") or "unknown" for policy in policies),
        frequencies_mhz=frequencies_mhz(policies, "scaling_cur_freq"),
        # No part of the machine's identity: switching turbo off changes it.
        max_frequencies_mhz=frequencies_mhz(policies, "cpuinfo_max_freq"),
        temperature_c=read_heat(root).temperature_c,
        memory_available_bytes=read_kilobytes(root / "proc/meminfo", "MemAvailable"),
    )


def _installed_version(package: str) -> str:
    """Return a package's version without importing it: the agent itself stays small beside its worker."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "unknown"


def _cpu_field(processors: str, names: Tuple[str, ...]) -> Optional[str]:
    for name in names:
        match = re.search(rf"^{re.escape(name)}\s*:\s*(.+)$", processors, re.MULTILINE)
        if match:
            return match.group(1).strip()
    return None


def _cpu_model(processors: str) -> str:
    name = _cpu_field(processors, _CPU_NAME_FIELDS) or platform.processor() or "unknown"
    # Virtual machines give generic names; the family and the stepping tell them apart.
    details = [_cpu_field(processors, (field,)) for field in ("cpu family", "model", "stepping", "CPU revision")]
    known = [detail for detail in details if detail]
    return f"{name} ({'/'.join(known)})" if known else name
