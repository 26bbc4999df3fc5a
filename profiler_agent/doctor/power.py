"""Checks of what takes speed away unasked: the supply, throttling, heat and the battery."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Callable, Optional

from profiler_agent.doctor.finding import DISTURBS, OK, UNKNOWN, Examined, Finding, listed, printable
from profiler_agent.system_files import (
    folders,
    is_denied,
    is_denied_folder,
    read_integer,
    read_text,
    thermal_zones,
)

# Bits of a Raspberry Pi's firmware: now, and the same since boot.
_UNDERVOLTAGE, _SINCE_BOOT = 0x1, 16
_THROTTLING = ((0x2, "the frequency is capped"), (0x4, "it is throttled"), (0x8, "the soft heat limit is active"))
_MARGIN_C = 10.0
# Where no limit is told: boards without a passive trip point throttle from here on.
_USUAL_LIMIT_C = 80.0
_LOW_BATTERY_PCT = 20
_PI = "Raspberry Pi"
_SUPPLIES = ("Battery", "Mains", "UPS", "USB", "Wireless", "BMS")


def firmware_bits(root: Path, ask: Callable[[], Optional[int]]) -> Optional[int]:
    """Return what a Raspberry Pi's firmware tells of throttling, by its tool or by the kernel's file."""
    bits = ask()
    if bits is not None:
        return bits
    text = read_text(root / "sys/devices/platform/soc/soc:firmware/get_throttled") or ""
    return int(text, 16) if re.fullmatch(r"(0x)?[0-9a-fA-F]{1,8}", text) else None


def undervoltage(examined: Examined) -> Finding:
    """Whether the supply holds: a Raspberry Pi slows down while its voltage is low."""
    bits, sensor = examined.firmware_bits, _supply_sensor(examined.root)
    alarm = None if sensor is None else read_integer(sensor / "in0_lcrit_alarm")
    now = bool((bits or 0) & _UNDERVOLTAGE) or alarm == 1
    if now or (bits or 0) >> _SINCE_BOOT & _UNDERVOLTAGE:
        when = "is" if now else "was, since boot,"
        return Finding("undervoltage", DISTURBS, f"the supply voltage {when} too low: use a stronger supply or cable")
    if bits is not None or alarm == 0:
        return Finding("undervoltage", OK, "the supply voltage holds")
    board = read_text(examined.root / "proc/device-tree/model") or ""
    if board.startswith(_PI) or sensor is not None:
        return Finding(
            "undervoltage", UNKNOWN, "the firmware does not tell of the supply", "sudo vcgencmd get_throttled"
        )
    if is_denied(examined.root / "proc/device-tree/model") or is_denied_folder(examined.root / "sys/class/hwmon"):
        return Finding("undervoltage", UNKNOWN, "the machine does not tell of its supply")
    return Finding("undervoltage", OK, "nothing watches the supply here: this is no Raspberry Pi")


def throttling(examined: Examined) -> Finding:
    """Whether the machine slows itself: if it did since boot, it will when the measuring heats it."""
    bits, count = examined.firmware_bits, examined.throttles
    if bits is not None:
        now = [text for bit, text in _THROTTLING if bits & bit]
        before = [text for bit, text in _THROTTLING if bits >> _SINCE_BOOT & bit]
        if now:
            return Finding("throttling", DISTURBS, f"the firmware slows the machine: {listed(now)}")
        if before:
            return Finding(
                "throttling", DISTURBS, f"the firmware slowed the machine since boot ({listed(before)}): cool it"
            )
        return Finding("throttling", OK, "the firmware has not slowed the machine since boot")
    if count is not None and examined.throttled_now:
        return Finding("throttling", DISTURBS, "the processors slow themselves for heat right now: let them cool")
    if count:
        return Finding(
            "throttling", DISTURBS, f"the processors slowed themselves for heat {count} times since boot: cool them"
        )
    if count == 0:
        return Finding("throttling", OK, "the processors have not slowed themselves since boot")
    return Finding("throttling", UNKNOWN, "this machine does not tell whether it throttles")


def heat(examined: Examined) -> Finding:
    """Whether a sensor is near the point where the kernel slows the machine."""
    zones = thermal_zones(examined.root)
    if not zones:
        sensors = examined.root / "sys/class/thermal"
        why = "the temperatures cannot be read" if is_denied_folder(sensors) else "no temperature is told here"
        return Finding("heat", UNKNOWN, why)
    margins = [((zone.limit_c or _USUAL_LIMIT_C) - zone.temperature_c, zone) for zone in zones]
    margin, zone = min(margins, key=lambda one: one[0])
    limit = f"its limit is {zone.limit_c:.0f} °C" if zone.limit_c else f"no limit told, {_USUAL_LIMIT_C:.0f} °C assumed"
    sentence = f"{printable(zone.kind)} is at {zone.temperature_c:.1f} °C ({limit})"
    return (
        Finding("heat", OK, sentence) if margin > _MARGIN_C else Finding("heat", DISTURBS, f"{sentence}: let it cool")
    )


def battery(examined: Examined) -> Finding:
    """Whether the machine runs from a battery, or has one so low that it saves power."""
    supplies = examined.root / "sys/class/power_supply"
    if is_denied_folder(supplies):
        return Finding("battery", UNKNOWN, "the power supplies cannot be read")
    states, strange = [], False
    for folder in folders(supplies, "*"):
        kind = read_text(folder / "type")
        if kind is None or is_denied(folder / "status"):
            return Finding("battery", UNKNOWN, f"the power supply {printable(folder.name)} cannot be read")
        strange = strange or not kind.startswith(_SUPPLIES)
        # Mice and headsets have batteries too.
        if kind == "Battery" and read_text(folder / "scope") != "Device":
            states.append((read_text(folder / "status"), read_integer(folder / "capacity")))
    if any(status == "Discharging" for status, _ in states):
        charge = next((f" at {capacity}%" for _, capacity in states if capacity is not None), "")
        return Finding("battery", DISTURBS, f"the machine runs from its battery{charge}: plug it in")
    low = [capacity for _, capacity in states if capacity is not None and capacity < _LOW_BATTERY_PCT]
    if low:
        return Finding("battery", DISTURBS, f"the battery is low ({low[0]}%): let it charge")
    if strange or any(status not in ("Charging", "Full", "Not charging") for status, _ in states):
        return Finding("battery", UNKNOWN, "the battery does not tell whether it is in use")
    return Finding("battery", OK, "the battery is not in use" if states else "there is no battery")


def _supply_sensor(root: Path) -> Optional[Path]:
    """Return the folder of a Raspberry Pi's voltage sensor; None on other machines."""
    sensors = folders(root / "sys/class/hwmon", "hwmon*")
    return next((folder for folder in sensors if read_text(folder / "name") == "rpi_volt"), None)
