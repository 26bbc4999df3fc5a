"""Whether the machine's own signs speak against a batch, beside what the sentinel says.

Heat is judged by itself. The others are judged against what this machine shows anyway (an editor that always runs, a
hypervisor that always takes its share): only what is worse than the best state in which a good part of the batches
was taken rejects one.
"""

from __future__ import annotations

from typing import Iterable, List, NamedTuple, Optional

from profiler_agent.drift import steady_state
from profiler_agent.records import Signs
from profiler_agent.statistics import shorth

# With fewer batches nobody knows yet what is usual here.
_FEWEST = 6
# A tenth of a batch's time lost touches a tenth of its samples: their median moves by one in twenty of the ranks.
_LOST_PCT = 10.0
# Others that use more than half a processor beyond what is usual share caches, memory and heat with the batch.
_OTHERS_PCT = 50.0
# Where waiting is not told: more switches than this many, beyond the usual, reach the median of a batch.
_PREEMPTIONS = 10
_SIGMAS = 3
# Bits 0 to 3 of a Raspberry Pi's firmware, and the same since boot from bit 16 on.
_FIRMWARE_STATES = ("undervoltage", "a capped frequency", "throttling", "the soft temperature limit")
_SINCE_BOOT, _FIRMWARE_HEAT = 16, 0b1100


class Usual(NamedTuple):
    """What a machine shows anyway: each sign in its best state that a good part of the batches shares.

    Attributes:
        lost_pct: as in `Signs`; None where few batches told it.
        preemptions: likewise.
        others_pct: likewise.
        frequency_mhz: of the fastest state.
        frequency_band: by what share frequencies of that state may differ.
    """

    lost_pct: Optional[float]
    preemptions: Optional[float]
    others_pct: Optional[float]
    frequency_mhz: Optional[float]
    frequency_band: float


def usual_signs(batches: Iterable[Signs], tolerance_pct: float) -> Usual:
    """Find what is usual from the signs of all batches."""
    batches = list(batches)
    periods = [1 / one.frequency_mhz for one in batches if one.frequency_mhz]
    # Periods behave as latencies do: the faster state has the smaller ones.
    clock = steady_state(periods, tolerance_pct / 100) if len(periods) >= _FEWEST else None
    return Usual(
        lost_pct=_best_state(one.lost_pct for one in batches),
        preemptions=_best_state(one.preemptions for one in batches),
        others_pct=_best_state(one.others_pct for one in batches),
        frequency_mhz=None if clock is None else 1 / clock.level_ns,
        frequency_band=max(tolerance_pct / 100, 0 if clock is None else _SIGMAS * clock.spread),
    )


def _best_state(values: Iterable[Optional[float]]) -> Optional[float]:
    known = sorted(value for value in values if value is not None)
    return shorth(known[: (len(known) + 1) // 2]) if len(known) >= _FEWEST else None


class SignMonitor:
    """Remembers the signs of all batches of a job and tells which of them were disturbed."""

    def __init__(self, tolerance_pct: float, max_temperature_c: Optional[float] = None) -> None:
        """Start without signs.

        Args:
            tolerance_pct: the relative shift of a latency that is worth noticing, in percent.
            max_temperature_c: above it batches do not count, beside what the kernel's own limits forbid.
        """
        self._tolerance_pct = tolerance_pct
        self._max_temperature_c = max_temperature_c
        self._all: List[Signs] = []
        self._usual: Optional[Usual] = None

    def add(self, signs: Signs) -> None:
        """Take the signs of one more batch."""
        self._all.append(signs)
        self._usual = None

    def problem(self, signs: Signs) -> Optional[str]:
        """Return why the batch with these signs must not count, or None."""
        if self._usual is None:
            self._usual = usual_signs(self._all, self._tolerance_pct)
        return self.heat(signs) or self._interruption(signs, self._usual) or _slow_clock(signs, self._usual)

    def heat(self, signs: Signs) -> Optional[str]:
        """Return in which way the machine was too hot, or None."""
        if signs.throttlings:
            return f"heat throttled the processor {signs.throttlings} times meanwhile"
        temperature_c, limit_c = signs.temperature_c, self._max_temperature_c
        if temperature_c is not None and limit_c is not None and temperature_c > limit_c:
            return f"the machine was {temperature_c:.1f} °C hot, more than {limit_c:g} °C"
        if signs.heat_margin_c is not None and signs.heat_margin_c <= 0:
            return f"the machine was {temperature_c:.1f} °C hot, where its kernel slows it down"
        return None

    def _interruption(self, signs: Signs, usual: Usual) -> Optional[str]:
        if signs.quota_stops:
            return f"its quota of processor time was used up {signs.quota_stops} times meanwhile"
        if _exceeds(signs.lost_pct, usual.lost_pct, _LOST_PCT):
            return f"the processor was taken from it for {signs.lost_pct:.1f}% of the time"
        if signs.lost_pct is None and _exceeds(signs.preemptions, usual.preemptions, _PREEMPTIONS):
            return f"it was preempted {signs.preemptions} times"
        if _exceeds(signs.others_pct, usual.others_pct, _OTHERS_PCT):
            return f"other processes used {signs.others_pct:.0f}% of a processor meanwhile"
        return None


def _slow_clock(signs: Signs, usual: Usual) -> Optional[str]:
    if not signs.frequency_mhz or usual.frequency_mhz is None:
        return None
    if signs.frequency_mhz >= usual.frequency_mhz * (1 - usual.frequency_band):
        return None
    return f"the processor ran at {signs.frequency_mhz:.0f} MHz instead of {usual.frequency_mhz:.0f} MHz"


def _exceeds(value: Optional[float], usual: Optional[float], by: float) -> bool:
    return value is not None and usual is not None and value > usual + by


def firmware_problem(before: Optional[int], after: Optional[int]) -> Optional[str]:
    """Return what a Raspberry Pi's firmware held back between two readings of its bits, or None.

    The bits since boot stay set: only those that are new tell of the time between.
    """
    seen = _seen(before, after)
    names = [name for bit, name in enumerate(_FIRMWARE_STATES) if seen >> bit & 1]
    return f"the firmware reported {' and '.join(names)}" if names else None


def firmware_heat(before: Optional[int], after: Optional[int]) -> bool:
    """Tell whether the firmware held the machine back because of heat: waiting helps, as it does not for a supply."""
    return bool(_seen(before, after) & _FIRMWARE_HEAT)


def _seen(before: Optional[int], after: Optional[int]) -> int:
    return 0 if before is None or after is None else before | after | (after & ~before) >> _SINCE_BOOT
