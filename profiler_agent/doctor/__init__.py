"""What would disturb a measurement here, and how to mend it: reads much, changes nothing."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Callable, List, Optional, Tuple

from profiler_agent.doctor import power, sharing, speed
from profiler_agent.doctor.finding import DISTURBS, OK, UNKNOWN, Examined, Finding
from profiler_agent.processes import read_usage, usage_between
from profiler_agent.system_files import ROOT, firmware_throttle_bits, throttle_count

__all__ = ["DISTURBS", "OK", "UNKNOWN", "Finding", "diagnose"]

_SAMPLE_S = 0.3

# In the order in which a reader should mend: first who else is at work, since that hides everything behind it; then
# what takes speed away without being asked (supply, heat); then what the user has set, or can set, about speed; then
# where the measuring itself is placed; and last what hardly ever is wrong. What can be read at all stands before all.
_CHECKS: Tuple[Callable[[Examined], Finding], ...] = (
    sharing.access,
    sharing.load,
    sharing.virtual_machine,
    sharing.cgroup_cpu,
    sharing.cgroup_memory,
    sharing.swap,
    power.undervoltage,
    power.throttling,
    power.heat,
    power.battery,
    speed.governor,
    speed.turbo,
    speed.clusters,
    speed.siblings,
    sharing.priority,
    speed.clock_source,
)


def diagnose(
    affinity: Optional[Tuple[int, ...]] = None,
    root: Path = ROOT,
    pause: Callable[[], None] = lambda: time.sleep(_SAMPLE_S),
    firmware_bits: Callable[[], Optional[int]] = firmware_throttle_bits,
) -> List[Finding]:
    """Examine the machine and return one finding for each check, in the order in which to mend.

    Args:
        affinity: the processors that will be measured on; None for all.
        root: of the file system.
        pause: waits between the two readings that tell what others do; its length is that of the sample.
        firmware_bits: what a Raspberry Pi's firmware tells of throttling.
    """
    before, throttles_before = read_usage(root), throttle_count(root)
    pause()
    after, throttles_after = read_usage(root), throttle_count(root)
    examined = Examined(
        root=root,
        affinity=affinity,
        usage=usage_between(before, after),
        throttles=throttles_after,
        throttled_now=(throttles_after or 0) > (throttles_before or 0),
        firmware_bits=power.firmware_bits(root, firmware_bits),
    )
    return [check(examined) for check in _CHECKS]
