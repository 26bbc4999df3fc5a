"""Machines as trees of the files in which they tell of themselves; DENIED stands for what they do not let be read."""

from __future__ import annotations

from pathlib import Path
from typing import Dict, Optional  # noqa: UP035

DENIED = None
# A union of types cannot be evaluated in Python 3.9.
Tree = Dict[str, Optional[str]]  # noqa: UP006, UP045

_CPU = "sys/devices/system/cpu"
_IDLE = "cpu0 100 0 50 9000 10 0 1 0 0 0\ncpu1 100 0 50 9000 10 0 1 0 0 0\n"
_X86_FLAGS = "processor\t: 0\nmodel name\t: A Core\nflags\t\t: fpu vme {}\n"
_OWN_STAT = (
    "77 (agent (x)) R 1 77 77 0 -1 4194304 1 0 0 0 5 3 0 0 20 {nice} 1 0 9 1 1 1" + " 0" * 16 + " {policy} 0 0\n"
)
_COMMON: Tree = {
    "proc/stat": f"cpu  200 0 100 18000 20 0 2 0 0 0\n{_IDLE}intr 1\n",
    "proc/loadavg": "0.02 0.10 0.20 1/200 4242\n",
    "proc/meminfo": "MemTotal: 4096000 kB\nMemAvailable: 2048000 kB\nSwapTotal: 1024000 kB\nSwapFree: 1024000 kB\n",
    "proc/pressure/memory": "some avg10=0.00 avg60=0.00 avg300=0.00 total=5\n",
    "proc/self/stat": _OWN_STAT.format(nice=0, policy=0),
    "proc/self/cgroup": "0::/user.slice\n",
    "proc/4711/stat": "4711 (a (busy) one) R 1 1 1 0 -1 0 0 0 0 0 500 100 0 0 20 0 1 0 9 1 1\n",
    "sys/fs/cgroup/user.slice/cpu.max": "max 100000\n",
    "sys/devices/system/clocksource/clocksource0/current_clocksource": "arch_sys_counter\n",
}


def _policy(number: int, processors: str, khz: int, governor: str) -> Tree:
    folder = f"{_CPU}/cpufreq/policy{number}"
    return {
        f"{folder}/related_cpus": processors,
        f"{folder}/cpuinfo_max_freq": str(khz),
        f"{folder}/scaling_governor": governor,
    }


def _siblings(*groups: str) -> Tree:
    return {f"{_CPU}/cpu{number}/topology/thread_siblings_list": group for number, group in enumerate(groups)}


def _zone(number: int, kind: str, millidegrees: int, passive: int | None = None) -> Tree:
    folder = f"sys/class/thermal/thermal_zone{number}"
    tree: Tree = {f"{folder}/type": kind, f"{folder}/temp": str(millidegrees)}
    if passive is not None:
        tree.update({f"{folder}/trip_point_0_type": "passive", f"{folder}/trip_point_0_temp": str(passive)})
    return tree


RASPBERRY_PI: Tree = {
    **_COMMON,
    "proc/cpuinfo": "processor\t: 0\nFeatures\t: fp asimd\nModel\t\t: Raspberry Pi 4 Model B Rev 1.4\n",
    "proc/device-tree/model": "Raspberry Pi 4 Model B Rev 1.4\0",
    "sys/devices/platform/soc/soc:firmware/get_throttled": "50005\n",
    "sys/class/hwmon/hwmon1/name": "rpi_volt\n",
    "sys/class/hwmon/hwmon1/in0_lcrit_alarm": "1\n",
    **_policy(0, "0 1 2 3", 1800000, "ondemand"),
    **_zone(0, "cpu-thermal", 74500),
    **_siblings("0", "1", "2", "3"),
}
JETSON: Tree = {
    **_COMMON,
    "proc/cpuinfo": "processor\t: 0\nFeatures\t: fp asimd\n",
    "proc/device-tree/model": "NVIDIA Jetson TX2 Developer Kit\0",
    **_policy(0, "0 3 4 5", 2035200, "schedutil"),
    **_policy(1, "1 2", 1200000, "schedutil"),
    **_zone(0, "CPU-therm", 88000, passive=95500),
    **_siblings("0", "1", "2", "3", "4", "5"),
}
ANDROID: Tree = {
    "system/build.prop": DENIED,
    "proc/stat": DENIED,
    "proc/loadavg": DENIED,
    "proc/meminfo": "MemTotal: 7800000 kB\nMemAvailable: 500000 kB\nSwapTotal: 4000000 kB\nSwapFree: 1000000 kB\n",
    "proc/cpuinfo": "processor\t: 0\nFeatures\t: fp asimd\nHardware\t: Qualcomm\n",
    "proc/self/stat": _OWN_STAT.format(nice=10, policy=0),
    "proc/self/cgroup": DENIED,
    "proc/device-tree/model": DENIED,
    "sys/class/thermal": DENIED,
    "sys/class/power_supply": DENIED,
    f"{_CPU}/cpufreq/policy0/scaling_governor": DENIED,
    f"{_CPU}/cpufreq/policy0/related_cpus": "0 1 2 3",
    f"{_CPU}/cpufreq/policy0/cpuinfo_max_freq": "1800000",
    f"{_CPU}/cpufreq/policy4/scaling_governor": DENIED,
    f"{_CPU}/cpufreq/policy4/related_cpus": "4 5 6 7",
    f"{_CPU}/cpufreq/policy4/cpuinfo_max_freq": "2850000",
    "sys/devices/system/clocksource/clocksource0/current_clocksource": DENIED,
}
LAPTOP: Tree = {
    **_COMMON,
    "proc/cpuinfo": _X86_FLAGS.format("sse2"),
    f"{_CPU}/intel_pstate/no_turbo": "0\n",
    **_policy(0, "0", 4700000, "powersave"),
    **_policy(1, "1", 4900000, "powersave"),
    f"{_CPU}/cpu0/thermal_throttle/core_throttle_count": "3\n",
    f"{_CPU}/cpu1/thermal_throttle/core_throttle_count": "4\n",
    **_siblings("0-1", "0-1"),
    **_zone(0, "x86_pkg_temp", 52000, passive=100000),
    "sys/class/power_supply/AC/type": "Mains\n",
    "sys/class/power_supply/BAT0/type": "Battery\n",
    "sys/class/power_supply/BAT0/status": "Discharging\n",
    "sys/class/power_supply/BAT0/capacity": "61\n",
    "sys/class/power_supply/mouse/type": "Battery\n",
    "sys/class/power_supply/mouse/scope": "Device\n",
    "sys/class/power_supply/mouse/status": "Discharging\n",
    "sys/devices/system/clocksource/clocksource0/current_clocksource": "hpet\n",
    "sys/devices/system/clocksource/clocksource0/available_clocksource": "tsc hpet acpi_pm\n",
}
CONTAINER: Tree = {
    **_COMMON,
    "proc/cpuinfo": _X86_FLAGS.format("sse2"),
    "proc/self/cgroup": "5:memory:/docker/abc\n4:cpu,cpuacct:/docker/abc\n1:name=systemd:/docker/abc\n",
    # Of version 1: the group's own name is the host's, and the mount is the group.
    "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": "50000\n",
    "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us": "100000\n",
    "sys/fs/cgroup/cpu,cpuacct/cpu.stat": "nr_periods 10\nnr_throttled 7\nthrottled_time 1\n",
    "sys/fs/cgroup/memory/memory.limit_in_bytes": "268435456\n",
    "sys/fs/cgroup/memory/memory.usage_in_bytes": "260000000\n",
    "sys/fs/cgroup/memory/memory.stat": "cache 1\ntotal_inactive_file 10000000\n",
}
CONTAINER_2: Tree = {
    **_COMMON,
    "proc/cpuinfo": _X86_FLAGS.format("sse2"),
    "proc/self/cgroup": "0::/a/b\n",
    "sys/fs/cgroup/a/cpu.max": "150000 100000\n",
    "sys/fs/cgroup/a/cpu.stat": "usage_usec 5\nnr_throttled 0\n",
    "sys/fs/cgroup/a/b/cpu.max": "400000 100000\n",
    "sys/fs/cgroup/a/b/memory.max": "max\n",
    "sys/fs/cgroup/a/memory.max": "1073741824\n",
    "sys/fs/cgroup/a/memory.current": "1000000000\n",
    "sys/fs/cgroup/a/memory.stat": "anon 1\ninactive_file 900000000\n",
}
VIRTUAL_MACHINE: Tree = {
    **_COMMON,
    "proc/cpuinfo": _X86_FLAGS.format("sse2 hypervisor"),
    "sys/devices/system/clocksource/clocksource0/current_clocksource": "kvm-clock\n",
}
TREES: dict[str, Tree] = {
    "raspberry_pi": RASPBERRY_PI,
    "jetson": JETSON,
    "android": ANDROID,
    "laptop": LAPTOP,
    "container": CONTAINER,
    "container_2": CONTAINER_2,
    "virtual_machine": VIRTUAL_MACHINE,
}
_FOLDERS = ("sys/class/thermal", "sys/class/power_supply")


def write_tree(root: Path, tree: Tree) -> Path:
    """Write a tree; what is denied fails to be read for root too: a folder in a file's place, a file in a folder's."""
    for name, text in tree.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if text is not DENIED:
            path.write_bytes(text.encode())
        elif name in _FOLDERS:
            path.write_text("")
        else:
            path.mkdir(exist_ok=True)
    return root


def let_time_pass(root: Path, busy: int = 0, stolen: int = 0) -> None:
    """Let 30 ticks pass: in them processor 1 is busy and robbed for so many, with process 4711."""
    rest = 30 - busy - stolen
    (root / "proc/stat").write_text(
        f"cpu0 100 0 50 9030 10 0 1 0 0 0\ncpu1 {100 + busy} 0 50 {9000 + rest} 10 0 1 {stolen} 0 0\n"
    )
    stat = (root / "proc/4711/stat").read_text()
    (root / "proc/4711/stat").write_text(stat.replace(" 500 100 ", f" {500 + busy} 100 "))
