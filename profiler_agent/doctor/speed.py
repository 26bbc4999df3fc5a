"""Checks of how fast the processors are set to run, which of them measure, and of the clock that measures."""

from __future__ import annotations

from typing import Dict, List, Tuple

from profiler_agent.controls import governor_controls, turbo_controls
from profiler_agent.doctor.finding import DISTURBS, OK, UNKNOWN, Examined, Finding, listed, printable, processors_of
from profiler_agent.system_files import cpu_policies, folders, is_denied_folder, read_integer, read_text

_KNOWN_GOVERNORS = ("performance", "userspace", "powersave", "ondemand", "conservative", "schedutil", "interactive")
_STEADY_GOVERNORS = ("performance", "userspace")
# Turbo makes the best cores of one cluster a little faster than its others.
_CLUSTER_SHARE = 0.9
_FAST_CLOCKS = ("tsc", "arch_sys_counter", "kvm-clock", "hyperv_clocksource", "xen", "riscv_clocksource", "timebase")
_SLOW_CLOCKS = ("hpet", "acpi_pm", "jiffies", "refined-jiffies", "pit")
_CPU = "sys/devices/system/cpu"


def governor(examined: Examined) -> Finding:
    """Whether the frequency follows the load instead of standing still."""
    controls = governor_controls(examined.root)
    if not controls:
        why = "may not be read" if is_denied_folder(examined.root / _CPU / "cpufreq") else "is not told"
        return Finding("governor", UNKNOWN, f"what sets the frequency {why} here")
    found = [read_text(examined.root / control.path) for control in controls]
    strange = [name for name in found if name not in _KNOWN_GOVERNORS]
    moving = sorted({name for name in found if name in _KNOWN_GOVERNORS and name not in _STEADY_GOVERNORS})
    if moving:
        # Also those domains that stand still already.
        command = f"echo performance | sudo tee /{_CPU}/cpufreq/policy*/scaling_governor"
        return Finding("governor", DISTURBS, f"the frequency follows the load ({listed(moving)})", command)
    if strange:
        return Finding("governor", UNKNOWN, "what sets the frequency tells nothing that is understood")
    return Finding("governor", OK, f"the frequency stands still ({listed(sorted({str(name) for name in found}))})")


def turbo(examined: Examined) -> Finding:
    """Whether processors run above their nominal frequency for as long as heat and neighbours let them."""
    switches = turbo_controls(examined.root)
    if not switches:
        if cpu_policies(examined.root):
            return Finding("turbo", OK, "this machine has no switch for turbo")
        return Finding("turbo", UNKNOWN, "whether there is turbo is not told here")
    states = [read_text(examined.root / switch.path) for switch in switches]
    on = [switch for switch, state in zip(switches, states) if state in ("0", "1") and state != switch.tuned]
    if on:
        path = on[0].path if len(switches) == 1 else f"{_CPU}/cpufreq/policy*/boost"
        return Finding(
            "turbo", DISTURBS, "turbo comes and goes with the heat", f"echo {on[0].tuned} | sudo tee /{path}"
        )
    if any(state != switch.tuned for switch, state in zip(switches, states)):
        return Finding("turbo", UNKNOWN, "the switch for turbo tells nothing that is understood")
    return Finding("turbo", OK, "turbo is off")


def clusters(examined: Examined) -> Finding:
    """Whether measuring may land on processors of different speed."""
    speeds = _max_khz(examined)
    if not speeds:
        return Finding("clusters", UNKNOWN, "which processors are fast and which slow is not told here")
    used = {number: khz for number, khz in speeds.items() if examined.affinity is None or number in examined.affinity}
    if not used:
        return Finding("clusters", UNKNOWN, f"nothing is told of the processors {listed(examined.affinity or ())}")
    fastest = max(used.values())
    if min(used.values()) >= _CLUSTER_SHARE * fastest:
        return Finding("clusters", OK, "the processors to be measured on are of one speed")
    groups: Dict[int, List[int]] = {}
    for number, khz in sorted(used.items()):
        groups.setdefault(khz, []).append(number)
    told = listed(f"{' '.join(map(str, numbers))} at {khz / 1000:.0f} MHz" for khz, numbers in groups.items())
    pinned = "and measuring is not pinned" if examined.affinity is None else "and all are to be measured on"
    fast = ",".join(map(str, groups[fastest]))
    sentence = f"the processors differ in speed ({told}), {pinned}"
    return Finding("clusters", DISTURBS, sentence, f"agent measure --affinity {fast} …")


def siblings(examined: Examined) -> Finding:
    """Whether a processor that is measured on shares its core with another."""
    shared: List[Tuple[int, ...]] = []
    seen = strange = False
    for folder in folders(examined.root / _CPU, "cpu[0-9]*"):
        number = processors_of(folder.name[len("cpu") :])
        text = read_text(folder / "topology/thread_siblings_list")
        if number is None or text is None or (examined.affinity is not None and number[0] not in examined.affinity):
            continue
        group = processors_of(text)
        seen, strange = True, strange or group is None
        if group is not None and len(group) > 1 and group not in shared:
            shared.append(group)
    if shared:
        told = listed(" and ".join(map(str, group)) for group in shared[:4])
        more = f" and {len(shared) - 4} more cores" if len(shared) > 4 else ""
        command = f"echo off | sudo tee /{_CPU}/smt/control"
        return Finding("siblings", DISTURBS, f"processors share a core: {told}{more}", command)
    if strange or not seen:
        return Finding("siblings", UNKNOWN, "which processors share a core is not told here")
    return Finding("siblings", OK, "no processor shares its core")


def clock_source(examined: Examined) -> Finding:
    """Whether reading the clock is so slow that it shows in what is measured."""
    folder = examined.root / "sys/devices/system/clocksource/clocksource0"
    name = read_text(folder / "current_clocksource")
    if not name:
        return Finding("clock_source", UNKNOWN, "the kernel does not tell which clock it reads")
    if name.startswith(_FAST_CLOCKS):
        return Finding("clock_source", OK, f"the clock is read fast ({printable(name)})")
    if name not in _SLOW_CLOCKS:
        return Finding("clock_source", UNKNOWN, f"how fast this clock is read is not known: {printable(name)}")
    offered = (read_text(folder / "available_clocksource") or "").split()
    command = (
        f"echo tsc | sudo tee /{folder.relative_to(examined.root)}/current_clocksource" if "tsc" in offered else ""
    )
    return Finding("clock_source", DISTURBS, f"reading the clock takes microseconds ({name})", command)


def _max_khz(examined: Examined) -> Dict[int, int]:
    """Return the greatest frequency of each processor, in kHz; empty if one of the domains does not tell."""
    speeds = {}
    for policy in cpu_policies(examined.root):
        khz = read_integer(policy / "cpuinfo_max_freq")
        numbers = processors_of(read_text(policy / "related_cpus"))
        if khz is None or khz <= 0 or numbers is None:
            return {}
        speeds.update(dict.fromkeys(numbers, khz))
    return speeds
