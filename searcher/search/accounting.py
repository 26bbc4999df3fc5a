"""What a search costs: time, energy and CO₂, by arithmetic around a few counters that are read now and then.

Aware of the machine's clocks and of its processors' energy counters; not of graphics cards, memory or power supplies,
whose energy is in none of the figures.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from searcher.errors import BadInputError

# Of a processor that nothing more is known of, fully used: Lannelongue, Grealey and Inouye, Green Algorithms (2021),
# whose table of processors has this figure for any that it does not list.
WATTS_PER_CORE = 12.0
# Of the world's electricity in 2018: International Energy Agency, Global Energy & CO2 Status Report (March 2019).
GRID_G_PER_KWH = 475.0
# Strubell, Ganesh and McCallum (2019), Energy and Policy Considerations for Deep Learning in NLP, Section 2: what a
# data centre takes for each joule of its machines, and the CO₂ of the United States' electricity in pounds per kWh.
_STRUBELL_PUE = 1.58
_STRUBELL_LB_PER_KWH = 0.954

_JOULES_PER_KWH = 3.6e6
_UJ_PER_J = 1e6
# No package of processors takes more; it bounds how long a counter may go unread before it may have begun anew twice.
_MOST_PACKAGE_W = 600.0

EnergyMethod = Literal["rapl", "estimate"]

# Takes the time in s; returns the J used since the meter was made, or None where they are not known.
EnergyMeter = Callable[[float], float | None]


@dataclass(frozen=True)
class Rates:
    """What turns processor time into energy, and energy into CO₂.

    Attributes:
        watts_per_core: of a busy core, for an estimate where no counter of energy can be read.
        grid_g_per_kwh: grams of CO₂ for a kWh of electricity.
    """

    watts_per_core: float = WATTS_PER_CORE
    grid_g_per_kwh: float = GRID_G_PER_KWH

    def __post_init__(self) -> None:
        """Refuse rates that are none.

        Raises:
            BadInputError: the power is not positive, or the intensity negative, or one is not finite.
        """
        if not 0 < self.watts_per_core < math.inf:
            raise BadInputError(f"the power of a core is a positive number of W, not {self.watts_per_core:g}")
        if not 0 <= self.grid_g_per_kwh < math.inf:
            raise BadInputError(f"the CO2 of a kWh is a number of g that is not negative, not {self.grid_g_per_kwh:g}")


@dataclass(frozen=True)
class Session:
    """What one process spent on a search, from its beginning or its resumption on.

    Attributes:
        wall_s: seconds that passed.
        processor_s: seconds of processor time, of the process and of its children that have ended.
        energy_j: of the processor packages by their counters, whatever else ran on them included; None where
            there are no counters.
        cached: how many measurements a cache of earlier searches answered.
    """

    wall_s: float
    processor_s: float
    energy_j: float | None
    cached: int = 0


@dataclass(frozen=True)
class Spent:
    """What a search cost in all its sessions.

    Attributes:
        sessions: how many processes worked on it: one, and one more for each time that it was resumed.
        wall_s: seconds that passed in them.
        processor_s: seconds of processor time in them.
        energy_j: energy of the processors.
        energy_method: `rapl`, measured by the processors' own counters, or `estimate`, processor time times the
            power of a core.
        watts_per_core: that power, of an estimate; None where the energy was measured.
        grid_g_per_kwh: grams of CO₂ for a kWh.
        co2_g: grams of CO₂ of that energy, by that grid.
        strubell_co2_lb: pounds of CO₂ of the same energy by Strubell et al. (2019), with a data centre's overhead,
            as HW-EvRSNAS's Table 1 tells them.
        cached: how many of the search's measurements a cache of earlier searches answered: they cost nothing here.
        generation_s: wall seconds of all sessions when each generation ended.
    """

    sessions: int
    wall_s: float
    processor_s: float
    energy_j: float
    energy_method: EnergyMethod
    watts_per_core: float | None
    grid_g_per_kwh: float
    co2_g: float
    strubell_co2_lb: float
    cached: int = 0
    generation_s: tuple[float, ...] = ()


def add_up(sessions: Sequence[Session], rates: Rates, generation_s: Sequence[float] = ()) -> Spent:
    """Return what sessions cost together.

    The energy is measured if it is in every session; else all of it is an estimate, so that no sum mixes the two.
    """
    processor_s = sum(session.processor_s for session in sessions)
    counted = [session.energy_j for session in sessions if session.energy_j is not None]
    is_measured = 0 < len(counted) == len(sessions)
    energy_j = sum(counted) if is_measured else processor_s * rates.watts_per_core
    return Spent(
        sessions=len(sessions),
        wall_s=sum(session.wall_s for session in sessions),
        processor_s=processor_s,
        energy_j=energy_j,
        energy_method="rapl" if is_measured else "estimate",
        watts_per_core=None if is_measured else rates.watts_per_core,
        grid_g_per_kwh=rates.grid_g_per_kwh,
        co2_g=co2_g(energy_j, rates.grid_g_per_kwh),
        strubell_co2_lb=strubell_co2_lb(energy_j),
        cached=sum(session.cached for session in sessions),
        generation_s=tuple(generation_s),
    )


def co2_g(energy_j: float, grid_g_per_kwh: float) -> float:
    """Return grams of CO₂: kWh times the grid's intensity."""
    return energy_j / _JOULES_PER_KWH * grid_g_per_kwh


def strubell_co2_lb(energy_j: float) -> float:
    """Return pounds of CO₂ as Strubell et al. (2019), Eqs. 1 and 2, reckon them: 0.954 · 1.58 · kWh."""
    return _STRUBELL_LB_PER_KWH * _STRUBELL_PUE * energy_j / _JOULES_PER_KWH


class RaplMeter:
    """Energy of all processor packages since the meter was made, by the kernel's counters (powercap).

    The counters are of µJ and begin anew at their range. One that cannot be read any more, or was not read for so
    long that it may have begun anew more than once, tells nothing from then on.
    """

    def __init__(self, now_s: float, root: Path = Path("/")) -> None:
        """Find the counters and read them for the first time.

        Args:
            now_s: the time, by the clock that later readings tell it by.
            root: of the file system.
        """
        zones = sorted(root.glob("sys/class/powercap/intel-rapl:*"))
        packages = [zone for zone in zones if (_text(zone / "name") or "").startswith("package-")]
        # Since 2020 kernels tell the counters to root alone: a part of the packages would not be the machine.
        counters = [(_integer(zone / "energy_uj"), _integer(zone / "max_energy_range_uj")) for zone in packages]
        self._files = [zone / "energy_uj" for zone in packages]
        self._last_uj = [energy for energy, _ in counters if energy is not None]
        self._ranges_uj = [span for _, span in counters if span is not None]
        self._works = 0 < len(self._last_uj) == len(self._ranges_uj) == len(packages)
        self._last_s = now_s
        self._used_uj = 0

    def __call__(self, now_s: float) -> float | None:
        """Return the J used until now; None where there are no counters or one was lost."""
        if not self._works:
            return None
        energies = [_integer(file) for file in self._files]
        waited_s, self._last_s = now_s - self._last_s, now_s
        known = [energy for energy in energies if energy is not None]
        if len(known) < len(energies) or waited_s * _MOST_PACKAGE_W * _UJ_PER_J >= min(self._ranges_uj):
            self._works = False
            return None
        for energy, last, span in zip(known, self._last_uj, self._ranges_uj, strict=True):
            self._used_uj += energy - last if energy >= last else energy - last + span
        self._last_uj = known
        return self._used_uj / _UJ_PER_J


def processor_seconds() -> float:
    """Return the processor time of this process and of its children that have ended, in s, in user and kernel."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


class Account:
    """Counts what this process spends on a search, beside what earlier sessions did.

    Args:
        clock_s: the time, in s.
        processor_s: the processor time used so far, in s.
        energy_j: reads the energy since the account was opened; None takes the processors' own counters.
    """

    def __init__(
        self,
        clock_s: Callable[[], float] = time.monotonic,
        processor_s: Callable[[], float] = processor_seconds,
        energy_j: EnergyMeter | None = None,
    ) -> None:
        self._earlier: tuple[Session, ...] = ()
        self._clock_s, self._processor_s = clock_s, processor_s
        self._began_s, self._began_processor_s = clock_s(), processor_s()
        self._energy_j = RaplMeter(self._began_s) if energy_j is None else energy_j

    @property
    def elapsed_s(self) -> float:
        """Wall seconds of all sessions until now."""
        return sum(session.wall_s for session in self._earlier) + self._clock_s() - self._began_s

    def session(self, cached: int = 0) -> Session:
        """Read the counters and return what this session has spent until now.

        Args:
            cached: how many measurements a cache of earlier searches has answered in it.
        """
        now_s = self._clock_s()
        processor_s = self._processor_s() - self._began_processor_s
        return Session(now_s - self._began_s, processor_s, self._energy_j(now_s), cached)

    def go_on(self, earlier: Sequence[Session]) -> None:
        """Take over what sessions before this one spent."""
        self._earlier = tuple(earlier)


def _text(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        return None


def _integer(path: Path) -> int | None:
    try:
        return int(_text(path) or "")
    except ValueError:
        return None
