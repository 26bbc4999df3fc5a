"""Checks of what others take: of processors, of memory, and of the machine as a whole."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Dict, Optional

from profiler_agent.cgroups import read_limits
from profiler_agent.doctor.finding import DISTURBS, OK, UNKNOWN, Examined, Finding, listed, printable
from profiler_agent.processes import own_priority, stolen_since_boot_s
from profiler_agent.system_files import is_denied, is_denied_folder, is_virtual, read_text

# Below it lie the kernel's own ticks and housekeeping.
_BUSY_SHARE = 0.2
_SHOWN_PROCESSES = 3
_STOLEN_SHARE = 0.001
_MEMORY_SHARE, _PRESSURE_PCT = 0.9, 1.0
_SCARCE_SHARE = 0.1
_IDLE_POLICY, _BATCH_POLICY = 5, 3
_GIB = 2**30
_TOLD_IN_FILES = ("proc/stat", "proc/loadavg", "proc/meminfo")
_TOLD_IN_FOLDERS = ("sys/class/thermal", "sys/class/power_supply", "sys/devices/system/cpu", "sys/fs/cgroup")


def access(examined: Examined) -> Finding:
    """Whether the machine lets itself be looked at: what is hidden may disturb unseen."""
    root = examined.root
    denied = [f"/{name}" for name in _TOLD_IN_FILES if is_denied(root / name)]
    denied += [f"/{name}" for name in _TOLD_IN_FOLDERS if is_denied_folder(root / name)]
    android = (root / "system/build.prop").exists() or is_denied(root / "system/build.prop")
    if not denied:
        return Finding("access", OK, "every place that tells of disturbances may be read")
    who = "Android denies" if android else "this user may not read"
    remedy = "adb shell dumpsys thermalservice" if android else "sudo agent doctor"
    return Finding("access", UNKNOWN, f"{who} {listed(denied)}: what they tell of may disturb unseen", remedy)


def load(examined: Examined) -> Finding:
    """Whether others are at work, seen in a sample: the load average is a minute late."""
    average = re.match(r"(\d{1,6}\.\d{1,4}) ", read_text(examined.root / "proc/loadavg") or "")
    minute = f"load over the last minute {average.group(1)}" if average else "the load average is not told"
    usage = examined.usage
    if usage is None:
        return Finding("load", UNKNOWN, f"the kernel does not tell how busy the processors are ({minute})")
    busy = sorted(number for number, share in usage.busy.items() if share >= _BUSY_SHARE)
    if not busy:
        return Finding("load", OK, f"none of {len(usage.busy)} processors is busy ({minute})")
    who = listed(
        f"{printable(name)} (process {number}, {share:.0%})"
        for number, name, share in usage.processes[:_SHOWN_PROCESSES]
    )
    measured = [number for number in busy if examined.affinity is None or number in examined.affinity]
    where = f", {len(measured)} of them to be measured on" if examined.affinity is not None else ""
    sentence = f"{len(busy)} of {len(usage.busy)} processors busy with others' work{where}: {who or 'nobody visible'}"
    return Finding("load", DISTURBS, f"{sentence} ({minute}); wait for it, or end it")


def virtual_machine(examined: Examined) -> Finding:
    """Whether a hypervisor stands between the agent and the processors."""
    usage, since_boot_s = examined.usage, stolen_since_boot_s(examined.root)
    virtual = is_virtual(examined.root)
    if usage is not None and usage.stolen > _STOLEN_SHARE:
        sentence = f"the hypervisor gives {usage.stolen:.1%} of this machine's time to others; measure on the bare one"
        return Finding("virtual_machine", DISTURBS, sentence)
    if virtual is None:
        return Finding("virtual_machine", UNKNOWN, "the kernel does not tell whether this is a virtual machine")
    if not virtual:
        return Finding("virtual_machine", OK, "no hypervisor is visible")
    stolen = "not told" if since_boot_s is None else f"{since_boot_s:.1f} s since boot"
    sentence = f"this is a virtual machine: clocks and neighbours are out of sight; time given to others: {stolen}"
    return Finding("virtual_machine", UNKNOWN, sentence)


def cgroup_cpu(examined: Examined) -> Finding:
    """Whether a quota stops the process in the middle of a measurement."""
    limits = read_limits(examined.root)
    if limits is None or (limits.unreadable and limits.processors is None):
        return Finding("cgroup_cpu", UNKNOWN, "the limits of this process's control group cannot be read")
    if limits.processors is None:
        return Finding("cgroup_cpu", OK, "no quota limits the processor time")
    often = f"; it has stood still {limits.throttled} times" if limits.throttled else ""
    sentence = f"a quota of {limits.processors:g} processors: used up, the process stands still{often}"
    return Finding("cgroup_cpu", DISTURBS, f"{sentence}; start the container without a quota")


def cgroup_memory(examined: Examined) -> Finding:
    """Whether the group's memory is nearly used up: reclaiming it costs time, and at its end the process dies."""
    limits = read_limits(examined.root)
    if limits is None or (limits.unreadable and limits.memory_bytes is None):
        return Finding("cgroup_memory", UNKNOWN, "the limits of this process's control group cannot be read")
    if limits.memory_bytes is None:
        return Finding("cgroup_memory", OK, "no control group limits the memory")
    limit = f"a control group limits memory to {limits.memory_bytes / _GIB:.2f} GiB"
    if limits.memory_used_bytes is None:
        return Finding("cgroup_memory", UNKNOWN, f"{limit}, and does not tell how much is used")
    used = f"{limit}; {limits.memory_used_bytes / _GIB:.2f} GiB are used"
    crowded = limits.memory_used_bytes >= _MEMORY_SHARE * limits.memory_bytes
    return Finding("cgroup_memory", DISTURBS if crowded else OK, used)


def swap(examined: Examined) -> Finding:
    """Whether memory is short, so that pages go to and come from the disk."""
    root = examined.root
    memory = _memory_kb(root)
    total, free = memory.get("SwapTotal"), memory.get("SwapFree")
    if total is None or free is None:
        return Finding("swap", UNKNOWN, "the kernel does not tell of its memory")
    pressure = _memory_pressure_pct(root)
    waiting = "" if pressure is None else f"; somebody waited for memory {pressure:g}% of the last 10 s"
    used = f"{max(0, total - free) // 1024} of {total // 1024} MiB swap are used" if total else "there is no swap"
    available, whole = memory.get("MemAvailable"), memory.get("MemTotal")
    scarce = available is not None and whole is not None and available < _SCARCE_SHARE * whole
    short = f", with {0 if available is None else available // 1024} MiB of memory available" if scarce else ""
    if (pressure or 0) >= _PRESSURE_PCT or (scarce and total > free):
        fits = available is not None and total > free and available > 2 * (total - free)
        return Finding("swap", DISTURBS, f"{used}{short}{waiting}", "sudo swapoff -a" if fits else "")
    return Finding("swap", OK, f"{used}{short}{waiting}")


def priority(examined: Examined) -> Finding:
    """Whether the agent gives way to others."""
    known = own_priority(examined.root)
    if known is None:
        return Finding("priority", UNKNOWN, "the kernel does not tell the priority of this process")
    nice, policy = known
    if policy in (_IDLE_POLICY, _BATCH_POLICY):
        name = "idle" if policy == _IDLE_POLICY else "batch"
        return Finding(
            "priority", DISTURBS, f"this process is scheduled as {name} work", "chrt --other 0 agent measure …"
        )
    if nice > 0:
        return Finding(
            "priority", DISTURBS, f"this process gives way to others (nice {nice})", "sudo renice -n 0 -p $$"
        )
    return Finding("priority", OK, f"this process gives way to nobody (nice {nice})")


def _memory_kb(root: Path) -> Dict[str, int]:
    lines = re.findall(r"^(\w+):\s*(\d{1,15}) kB$", read_text(root / "proc/meminfo") or "", re.MULTILINE)
    return {name: int(kilobytes) for name, kilobytes in lines}


def _memory_pressure_pct(root: Path) -> Optional[float]:
    match = re.match(r"some avg10=(\d{1,3}\.\d{1,4}) ", read_text(root / "proc/pressure/memory") or "")
    return float(match.group(1)) if match else None
