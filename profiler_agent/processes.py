"""What keeps the processors busy, as the kernel counts it in /proc: the difference of two readings."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Dict, List, NamedTuple, Optional, Tuple

from profiler_agent.system_files import folders, read_text

# Ticks of /proc/*/stat and /proc/stat: USER_HZ, which is 100 wherever Linux runs today.
_TICKS_PER_S = 100
_IDLE, _IO_WAIT, _STEAL = 3, 4, 7
# Behind the name, which may hold anything: state is field 0, so that field n of proc(5) is n - 3.
_USER_TICKS, _SYSTEM_TICKS, _NICE, _POLICY = 11, 12, 16, 38


class ProcessorTimes(NamedTuple):
    """Ticks of one processor, or of all together, since boot."""

    busy: int
    stolen: int
    total: int


class ProcessTimes(NamedTuple):
    """What one process has used since it began."""

    name: str
    ticks: int


class Reading(NamedTuple):
    """Everything at about one moment; the processors are None where the kernel does not tell.

    Attributes:
        processors_before: of the processors, before the processes were read, which is work itself.
        processes: by process id.
        processors_after: of the processors, after that.
    """

    processors_before: Optional[Dict[int, ProcessorTimes]]
    processes: Dict[int, ProcessTimes]
    processors_after: Optional[Dict[int, ProcessorTimes]]


class Usage(NamedTuple):
    """What happened between two readings.

    Attributes:
        busy: the share of time that each processor was busy, from 0 to 1.
        stolen: the share of all processors' time that a hypervisor gave to others.
        processes: process id, name and share of one processor, the busiest first.
    """

    busy: Dict[int, float]
    stolen: float
    processes: List[Tuple[int, str, float]]


def read_usage(root: Path) -> Reading:
    """Read the counters of processors and processes."""
    processors, processes = read_processor_times(root), {}
    for folder in folders(root / "proc", "[0-9]*"):
        times = _process_times(folder) if folder.name.isdecimal() else None
        if times is not None:
            processes[int(folder.name)] = times
    return Reading(processors, processes, read_processor_times(root))


def usage_between(before: Reading, after: Reading) -> Optional[Usage]:
    """Return what happened between two readings; None where the kernel does not count, or counts backwards."""
    first, last = before.processors_after, after.processors_before
    if first is None or last is None:
        return None
    busy, stolen, total = {}, 0, 0
    for number, now in last.items():
        then = first.get(number)
        if then is None:
            continue
        passed = now.total - then.total
        if passed <= 0 or not 0 <= now.busy - then.busy <= passed or not 0 <= now.stolen - then.stolen <= passed:
            return None
        busy[number] = (now.busy - then.busy) / passed
        stolen += now.stolen - then.stolen
        total += passed
    if not busy:
        return None
    ticks = total / len(busy)
    used = [
        (number, now.name, (now.ticks - before.processes[number].ticks) / ticks)
        for number, now in after.processes.items()
        if number in before.processes and number != os.getpid()
    ]
    busiest = sorted((one for one in used if one[2] > 0), key=lambda one: -one[2])
    return Usage(busy, stolen / total, busiest)


def stolen_since_boot_s(root: Path) -> Optional[float]:
    """Return the time that a hypervisor gave to others since boot, in s of one processor."""
    times = read_processor_times(root)
    return None if times is None else sum(one.stolen for one in times.values()) / _TICKS_PER_S


def own_priority(root: Path) -> Optional[Tuple[int, int]]:
    """Return nice value and scheduling policy (0 is the usual one, 3 batch, 5 idle) of this process."""
    fields = _process_fields(root / "proc/self")
    if fields is None or len(fields) <= _POLICY:
        return None
    nice, policy = fields[_NICE], fields[_POLICY]
    return (int(nice), int(policy)) if re.fullmatch(r"-?\d{1,2}", nice) and re.fullmatch(r"\d", policy) else None


def read_processor_times(root: Path) -> Optional[Dict[int, ProcessorTimes]]:
    """Return the times of each processor by its number; None where the kernel does not tell."""
    found = {}
    for line in (read_text(root / "proc/stat") or "").splitlines():
        match = re.fullmatch(r"cpu(\d{1,5})((?: +\d{1,18}){8,12})\s*", line)
        if match:
            # The two last, for guests, are in the first two already.
            ticks = [int(text) for text in match.group(2).split()][: _STEAL + 1]
            idle = ticks[_IDLE] + ticks[_IO_WAIT]
            total = sum(ticks)
            found[int(match.group(1))] = ProcessorTimes(total - idle - ticks[_STEAL], ticks[_STEAL], total)
    return found or None


def _process_times(folder: Path) -> Optional[ProcessTimes]:
    fields = _process_fields(folder)
    if fields is None or len(fields) <= _SYSTEM_TICKS:
        return None
    ticks = [fields[_USER_TICKS], fields[_SYSTEM_TICKS]]
    if not all(re.fullmatch(r"\d{1,18}", text) for text in ticks):
        return None
    name = (read_text(folder / "stat") or "").partition("(")[2].rpartition(")")[0]
    return ProcessTimes(name, sum(map(int, ticks)))


def _process_fields(folder: Path) -> Optional[List[str]]:
    text = read_text(folder / "stat")
    return None if text is None else text.rpartition(")")[2].split()
