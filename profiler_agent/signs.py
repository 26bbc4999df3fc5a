"""Reads the machine's own signs of disturbance around a batch, in the process that takes it.

Counters that never fall (waiting, stolen and busy time, preemptions, throttlings) are read and subtracted;
frequency and temperature are read once, at the end. No root is needed, and what is denied is None.
"""

from __future__ import annotations

import os
import resource
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Iterable, Optional, Tuple

from profiler_agent.cgroups import read_quota_stops
from profiler_agent.processes import read_processor_times
from profiler_agent.records import Signs
from profiler_agent.system_files import ROOT, cpu_policies, folders, read_heat, read_integer, read_text, throttle_count

_NANOSECONDS = 1_000_000_000


@dataclass(frozen=True)
class Counters:
    """What only ever grows, at one moment; times in ns. `tick_ns` is the unit in which the system's times grow."""

    wall_ns: int
    own_ns: int
    waited_ns: Optional[int]
    busy_ns: Optional[int]
    stolen_ns: Optional[int]
    tick_ns: int
    preemptions: int
    throttlings: Optional[int]
    quota_stops: Optional[int]


def read_counters(usable: Tuple[int, ...], root: Path = ROOT) -> Counters:
    """Read the counters now.

    Args:
        usable: the processors that this process may run on; time stolen from others is no concern of it.
        root: of the file system.
    """
    tick_ns = _NANOSECONDS // os.sysconf("SC_CLK_TCK")
    times = read_processor_times(root) or {}
    stolen = [one.stolen for number, one in times.items() if number in usable]
    busy = [one.busy for one in times.values()]
    return Counters(
        wall_ns=time.perf_counter_ns(),
        own_ns=time.process_time_ns(),
        waited_ns=_total(_waited_ns(task) for task in folders(root / "proc/self/task", "*")),
        busy_ns=sum(busy) * tick_ns if busy else None,
        stolen_ns=sum(stolen) * tick_ns if stolen else None,
        tick_ns=tick_ns,
        preemptions=resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw,
        throttlings=throttle_count(root),
        quota_stops=read_quota_stops(root),
    )


def signs_between(
    begun: Counters, sampling: Counters, ended: Counters, usable: Tuple[int, ...], root: Path = ROOT
) -> Signs:
    """Return what the counters tell of a batch, and the frequency and the heat of now.

    What is counted in ns is taken over the samples alone. What is counted in ticks, of which the samples may last but
    two, is taken over the warm-up as well.

    Args:
        begun: counters when the warm-up began.
        sampling: counters when the first sample began.
        ended: counters when the last sample had ended.
        usable: the processors that this process may run on.
        root: of the file system.
    """
    wall_ns, samples_ns = max(1, ended.wall_ns - begun.wall_ns), max(1, ended.wall_ns - sampling.wall_ns)
    waited_ns = _difference(sampling.waited_ns, ended.waited_ns)
    stolen_ns = _sure(begun.stolen_ns, ended.stolen_ns, ended.tick_ns)
    busy_ns = _difference(begun.busy_ns, ended.busy_ns)
    lost = [
        part_ns / of_ns for part_ns, of_ns in ((waited_ns, samples_ns), (stolen_ns, wall_ns)) if part_ns is not None
    ]
    others_ns = None if busy_ns is None else max(0, busy_ns - (ended.own_ns - begun.own_ns) - ended.tick_ns)
    heat = read_heat(root)
    return Signs(
        lost_pct=round(100 * sum(lost), 2) if lost else None,
        others_pct=None if others_ns is None else round(100 * others_ns / wall_ns, 1),
        preemptions=ended.preemptions - sampling.preemptions,
        throttlings=_difference(begun.throttlings, ended.throttlings),
        quota_stops=_difference(begun.quota_stops, ended.quota_stops),
        frequency_mhz=_frequency_mhz(usable, root),
        temperature_c=heat.temperature_c,
        heat_margin_c=heat.margin_c,
    )


def _difference(before: Optional[int], after: Optional[int]) -> Optional[int]:
    return None if before is None or after is None else max(0, after - before)


def _sure(before: Optional[int], after: Optional[int], tick_ns: int) -> Optional[int]:
    """Return the difference less the one tick by which counting in ticks may be off."""
    difference = _difference(before, after)
    return None if difference is None else max(0, difference - tick_ns)


def _total(values: Iterable[Optional[int]]) -> Optional[int]:
    known = [value for value in values if value is not None]
    return sum(known) if known else None


def _waited_ns(task: Path) -> Optional[int]:
    """Return how long a thread was ready to run while another one ran, since it began."""
    fields = (read_text(task / "schedstat") or "").split()
    return int(fields[1]) if len(fields) >= 2 and fields[1].isdigit() else None


def _frequency_mhz(usable: Tuple[int, ...], root: Path) -> Optional[float]:
    """Return the frequency of the cluster that this thread ran on last.

    Where the kernel does not tell which that is, of the fastest usable one: idle neighbours are slow and innocent.
    """
    own = _last_processor(root)
    readings = []
    for policy in cpu_policies(root):
        members = {int(one) for one in (read_text(policy / "related_cpus") or "").split() if one.isdigit()}
        khz = read_integer(policy / "scaling_cur_freq")
        if khz is not None and own in members:
            return khz / 1000
        if khz is not None and (not members or members & set(usable)):
            readings.append(khz / 1000)
    return max(readings, default=None)


def _last_processor(root: Path) -> Optional[int]:
    """Return the processor that this thread ran on last: field 39 of proc(5)'s stat, the 37th behind the name."""
    fields = (read_text(root / "proc/thread-self/stat") or "").rpartition(")")[2].split()
    return int(fields[36]) if len(fields) > 36 and fields[36].isdigit() else None
