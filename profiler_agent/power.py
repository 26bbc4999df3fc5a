"""Where a board tells its power: the rails of a Raspberry Pi 5, of Jetsons, of INA sensors, and of x86 processors.

Everything is read without root, from a root folder and by a runner of tools that tests replace. A board that tells
nothing has no meter, and no energy is ever made up for it.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Callable, List, NamedTuple, Optional, Tuple

from profiler_agent.system_files import ROOT, folders, read_integer, read_text, run_tool

_MILLI = 1000
_PMIC = ("vcgencmd", "pmic_read_adc")
# Rails through which everything else of a Jetson is fed: with one of them the others would count twice.
_WHOLE_BOARD = ("VDD_IN", "POM_5V_IN")
# Sensors of a supply; the power of a graphics card or a disk, in files of the same name, is not the machine's.
_SUPPLY_SENSORS = re.compile(r"ina\d+|power_meter")
_UNCONNECTED = ("", "NC")
_TX2 = "sys/devices/3160000.i2c/i2c-0/0-0041/iio_device/in_power0_input"

# Runs a tool and returns what it prints; None if it is not there or fails.
RunTool = Callable[[Tuple[str, ...]], Optional[str]]


class Meter(NamedTuple):
    """A way to read a machine's power.

    Attributes:
        rails: what is read, for the record.
        read_mw: takes the time in s; returns the power now, or the mean since the call before, in mW; None where
            there is no answer.
    """

    rails: str
    read_mw: Callable[[float], Optional[float]]


def find_meter(root: Path = ROOT, run: RunTool = run_tool) -> Optional[Meter]:
    """Return the machine's meter: of the first kind that answers, what feeds the whole board before its parts."""
    meters = (_pmic(run), _ina3221(root), _tx2(root), _supply_sensor(root), _rapl(root))
    return next((meter for meter in meters if meter is not None), None)


def _pmic(run: RunTool) -> Optional[Meter]:
    """Return the meter of a Raspberry Pi 5: current and voltage of each rail of its power management chip."""

    def read_mw(_now_s: float) -> Optional[float]:
        told = run(_PMIC)
        powers = [amperes * volts for _, amperes, volts in _pmic_rails(told or "")]
        return _MILLI * sum(powers) if powers else None

    rails = _pmic_rails(run(_PMIC) or "")
    return Meter(f"Raspberry Pi PMIC: {', '.join(name for name, _, _ in rails)}", read_mw) if rails else None


def _pmic_rails(told: str) -> List[Tuple[str, float, float]]:
    """Return name, A and V of each rail of which both are told, in lines such as `VDD_CORE_A current(7)=1.2A`."""
    number = r"=(\d{1,4}(?:\.\d{1,12})?)"
    amperes = dict(re.findall(rf"(\w+)_A current\(\d+\){number}A\b", told))
    volts = dict(re.findall(rf"(\w+)_V volt\(\d+\){number}V\b", told))
    return [(name, float(amperes[name]), float(volts[name])) for name in amperes if name in volts]


def _ina3221(root: Path) -> Optional[Meter]:
    """Return the meter of a Jetson: the rail that feeds the module, else the sum of all that have a name."""
    drivers = root / "sys/bus/i2c/drivers/ina3221"
    sensors = [sensor for chip in folders(drivers, "*-*") for sensor in folders(chip / "hwmon", "hwmon*")]
    channels = [
        (read_text(sensor / f"in{number}_label") or "", sensor / f"in{number}_input", sensor / f"curr{number}_input")
        for sensor in sensors
        for number in (1, 2, 3)
    ]
    named = [one for one in channels if one[0] not in _UNCONNECTED and _product(one[1], one[2]) is not None]
    chosen = [one for one in named if one[0] in _WHOLE_BOARD] or named

    def read_mw(_now_s: float) -> Optional[float]:
        return _sum([_product(volts, amperes) for _, volts, amperes in chosen])

    return Meter(f"INA3221: {', '.join(name for name, _, _ in chosen)}", read_mw) if chosen else None


def _product(millivolts: Path, milliamperes: Path) -> Optional[float]:
    """Return mW."""
    voltage, current = read_integer(millivolts), read_integer(milliamperes)
    return None if voltage is None or current is None else voltage * current / _MILLI


def _tx2(root: Path) -> Optional[Meter]:
    """Return the meter of a Jetson TX2 or AGX Xavier with older software, which tells mW."""
    path = root / _TX2
    if read_integer(path) is None:
        return None
    name = read_text(path.with_name("rail_name_0")) or "power0"
    return Meter(f"INA3221 (iio): {name}", lambda _now_s: _sum([read_integer(path)]))


def _supply_sensor(root: Path) -> Optional[Meter]:
    """Return the meter of boards with INA226 and the like, or with a power meter, which tell µW."""
    found = []
    for sensor in folders(root / "sys/class/hwmon", "hwmon*"):
        name = read_text(sensor / "name") or ""
        if _SUPPLY_SENSORS.fullmatch(name):
            files = folders(sensor, "power*_input") or folders(sensor, "power*_average")
            found += [(name, path) for path in files if read_integer(path) is not None]

    def read_mw(_now_s: float) -> Optional[float]:
        microwatts = _sum([read_integer(path) for _, path in found])
        return None if microwatts is None else microwatts / _MILLI

    return Meter(f"hwmon: {', '.join(name for name, _ in found)}", read_mw) if found else None


def _rapl(root: Path) -> Optional[Meter]:
    """Return the meter of x86 processors, the sum of their packages; since 2020 kernels tell it to root alone."""
    zones = folders(root / "sys/class/powercap", "intel-rapl:*")
    packages = [zone for zone in zones if (read_text(zone / "name") or "").startswith("package-")]
    counters = [_EnergyCounter(zone) for zone in packages if read_integer(zone / "energy_uj") is not None]

    def read_mw(now_s: float) -> Optional[float]:
        return _sum([counter.mean_mw(now_s) for counter in counters])

    return Meter(f"RAPL: {len(counters)} package(s)", read_mw) if counters else None


class _EnergyCounter:
    """Turns a counter of µJ, which begins anew at its range, into the mean power between two readings."""

    def __init__(self, zone: Path) -> None:
        self._zone = zone
        self._range_uj = read_integer(zone / "max_energy_range_uj")
        self._last: Optional[Tuple[float, int]] = None

    def mean_mw(self, now_s: float) -> Optional[float]:
        energy_uj = read_integer(self._zone / "energy_uj")
        last = self._last
        self._last = None if energy_uj is None else (now_s, energy_uj)
        if energy_uj is None or last is None or now_s <= last[0]:
            return None
        used_uj = energy_uj - last[1]
        if used_uj < 0 and self._range_uj is not None:
            used_uj += self._range_uj
        return used_uj / _MILLI / (now_s - last[0]) if used_uj >= 0 else None


def _sum(values: List[Optional[float]]) -> Optional[float]:
    """Return the sum, or None if one is missing: a part of the rails is not the machine's power."""
    known = [value for value in values if value is not None]
    return sum(known) if known and len(known) == len(values) else None
