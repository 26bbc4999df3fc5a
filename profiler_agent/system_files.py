"""The small files and tools in which a machine tells what it does: read without root, None where it tells nothing.

Every reader takes the root of the file system, so that tests can point it at a recorded tree.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import List, NamedTuple, Optional, Tuple

ROOT = Path("/")
_TOOL_TIMEOUT_S = 2
# Unconnected sensors report absurd values; silicon works between these bounds.
_COLDEST_C, _HOTTEST_C = -40, 150


# Names by which firmware and hypervisors present a machine that is none.
_VIRTUAL_PRODUCTS = (
    "KVM",
    "QEMU",
    "VMware",
    "VirtualBox",
    "Virtual Machine",
    "HVM domU",
    "Bochs",
    "Google Compute Engine",
)


class ThermalZone(NamedTuple):
    """One temperature sensor that the kernel steers by.

    Attributes:
        kind: what the kernel calls it, such as `cpu-thermal`.
        temperature_c: what it reads.
        limit_c: where the kernel begins to slow the machine (its lowest passive trip point), or None.
    """

    kind: str
    temperature_c: float
    limit_c: Optional[float]


class Heat(NamedTuple):
    """How hot a machine is; None where it does not tell.

    Attributes:
        temperature_c: of its hottest sensor.
        margin_c: how far the sensor that is nearest to its limit is below it; negative above it.
    """

    temperature_c: Optional[float]
    margin_c: Optional[float]


def read_text(path: Path) -> Optional[str]:
    """Read a small file; None where it is missing, denied or fails to answer."""
    try:
        return path.read_text(errors="replace").strip()
    except OSError:
        return None


def read_integer(path: Path) -> Optional[int]:
    """Read a file that holds one integer."""
    found = read_text(path)
    return int(found) if found is not None and re.fullmatch(r"-?\d{1,18}", found) else None


def read_kilobytes(path: Path, field: str) -> Optional[int]:
    """Return a field of a file of lines such as `MemTotal:  3884 kB`, in bytes."""
    match = re.search(rf"^{field}:\s*(\d{{1,15}}) kB$", read_text(path) or "", re.MULTILINE)
    return int(match.group(1)) * 1024 if match else None


def is_denied(path: Path) -> bool:
    """Tell whether a file is there, as far as can be seen, but does not let itself be read."""
    try:
        with path.open("rb") as file:
            file.read(1)
    except FileNotFoundError:
        return False
    except OSError:
        return True
    return False


def is_denied_folder(path: Path) -> bool:
    """Tell whether a folder is there, as far as can be seen, but does not let itself be listed."""
    try:
        os.listdir(str(path))
    except FileNotFoundError:
        return False
    except OSError:
        return True
    return False


def folders(parent: Path, pattern: str) -> List[Path]:
    """Return what matches in a folder, by the numbers in the names; nothing where it is missing or denied."""
    try:
        return sorted(parent.glob(pattern), key=lambda path: (int("0" + re.sub(r"\D", "", path.name)), path.name))
    except OSError:
        return []


def cpu_policies(root: Path) -> List[Path]:
    """Return the folders of the frequency domains (clusters), in the kernel's order."""
    return folders(root / "sys/devices/system/cpu/cpufreq", "policy*")


def frequencies_mhz(policies: List[Path], name: str) -> Tuple[float, ...]:
    """Return one of the frequencies that each domain tells, such as `scaling_cur_freq`, in MHz."""
    readings = [read_integer(policy / name) for policy in policies]
    return tuple(khz / 1000 for khz in readings if khz is not None)


def thermal_zones(root: Path) -> List[ThermalZone]:
    """Return the thermal zones that read something possible."""
    zones = []
    for folder in folders(root / "sys/class/thermal", "thermal_zone*"):
        millidegrees = read_integer(folder / "temp")
        if millidegrees is not None and _COLDEST_C < millidegrees / 1000 < _HOTTEST_C:
            kind = read_text(folder / "type") or folder.name
            zones.append(ThermalZone(kind, millidegrees / 1000, _passive_limit_c(folder)))
    return zones


def _passive_limit_c(folder: Path) -> Optional[float]:
    limits = []
    for kind in folders(folder, "trip_point_*_type"):
        millidegrees = read_integer(folder / kind.name.replace("_type", "_temp"))
        if read_text(kind) == "passive" and millidegrees is not None and 0 < millidegrees / 1000 < _HOTTEST_C:
            limits.append(millidegrees / 1000)
    return min(limits, default=None)


def read_heat(root: Path = ROOT) -> Heat:
    """Return how hot the machine is now."""
    zones = thermal_zones(root)
    return Heat(
        temperature_c=max((zone.temperature_c for zone in zones), default=None),
        margin_c=min((zone.limit_c - zone.temperature_c for zone in zones if zone.limit_c is not None), default=None),
    )


def is_virtual(root: Path) -> Optional[bool]:
    """Tell whether a hypervisor is visible; None where the kernel does not tell of its processors."""
    processors = read_text(root / "proc/cpuinfo")
    if not re.search(r"^processor\s*:", processors or "", re.MULTILINE):
        return None
    # Virtual ARM machines have no such flag; their device tree or their firmware's product name tells.
    product = read_text(root / "sys/class/dmi/id/product_name") or ""
    return (
        re.search(r"^flags\s*:.*\bhypervisor\b", processors or "", re.MULTILINE) is not None
        or read_text(root / "proc/device-tree/hypervisor/compatible") is not None
        or any(name in product for name in _VIRTUAL_PRODUCTS)
    )


def throttle_count(root: Path) -> Optional[int]:
    """Return how often x86 processors have slowed themselves for heat since boot."""
    processors = folders(root / "sys/devices/system/cpu", "cpu[0-9]*")
    counts = [read_integer(folder / "thermal_throttle/core_throttle_count") for folder in processors]
    known = [count for count in counts if count is not None]
    return sum(known) if known else None


def run_tool(arguments: Tuple[str, ...]) -> Optional[str]:
    """Run a tool of the system and return what it prints; None where it is missing, fails or takes too long."""
    tool = shutil.which(arguments[0])
    if tool is None:
        return None
    try:
        result = subprocess.run(
            [tool, *arguments[1:]],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=_TOOL_TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return result.stdout.decode("utf-8", "replace") if result.returncode == 0 else None


def firmware_throttle_bits() -> Optional[int]:
    """Return what a Raspberry Pi's firmware tells of throttling; None on other machines.

    Bits 0 to 3: undervoltage, capped frequency, throttled, soft temperature limit, now; bits 16 to 19: since boot.
    """
    told = run_tool(("vcgencmd", "get_throttled"))
    match = re.search(r"throttled=0x([0-9a-fA-F]{1,8})\b", told or "")
    return int(match.group(1), 16) if match else None
