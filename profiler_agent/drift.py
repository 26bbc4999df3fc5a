"""Whether the machine was itself: judges batches by the sentinel's readings before and after them.

The sentinel is one small model that is the same in every job and runtime version. When its latency shifts, so did
the machine (heat, frequency, a neighbour on the same core), and what was measured beside it must not count.
"""

from __future__ import annotations

from typing import Dict, List, NamedTuple, Optional, Sequence, Tuple

from profiler_agent.records import Sentinel
from profiler_agent.statistics import median, relative_spread_pct, shorth

# With fewer readings nobody knows yet which of them are the odd ones.
_FEWEST_READINGS = 6
# Readings this many tolerances around the level belong to the same state of the machine.
_REACH = 3
# A reading is shifted only beyond what readings of the same state differ by anyway.
_SIGMAS = 3
_REFINEMENTS = 8
# Readings near the level of an earlier job that show that the machine still reaches it, and how near that is.
_FEWEST_REACHED = 3
_KNOWN_REACH = 1.5


class Steady(NamedTuple):
    """The sentinel on a machine that is itself.

    Attributes:
        level_ns: its latency, in ns.
        spread: robust standard deviation of its readings, relative to the level.
    """

    level_ns: float
    spread: float


def steady_state(medians_ns: Sequence[float], tolerance: float) -> Steady:
    """Find the fastest state in which a good part of the readings lies.

    A disturbance makes a machine slower: heat, a neighbour, a lower clock. So the search starts where most of the
    faster half of the readings lies (its shorth), and then moves to the middle of all readings around it.

    Args:
        medians_ns: the readings' medians, in ns.
        tolerance: the relative shift that is worth noticing.

    Raises:
        ValueError: there are no readings.
    """
    ordered = sorted(medians_ns)
    faster = ordered[: (len(ordered) + 1) // 2]
    start_ns = shorth(faster)
    # The middle of the shortest half may fall between two readings that lie far apart.
    level_ns = min(faster, key=lambda value: abs(value - start_ns))
    near = faster
    for _ in range(_REFINEMENTS):
        near = [value for value in ordered if abs(value - level_ns) <= _REACH * tolerance * level_ns]
        level_ns = _middle(near)
    return Steady(level_ns, relative_spread_pct(near) / 100)


def _middle(ordered: Sequence[float]) -> float:
    """Return the lower middle value: one of the values, so that it always lies within its own reach."""
    return ordered[(len(ordered) - 1) // 2]


class DriftMonitor:
    """Remembers the sentinel's readings of a job and tells which batches lie beside a shifted one."""

    def __init__(self, tolerance_pct: float, known_ns: Optional[float] = None) -> None:
        """Start without readings.

        Args:
            tolerance_pct: the relative shift that is worth noticing, in percent.
            known_ns: the sentinel's latency in an earlier job; it is the level as soon as some readings reach it.
        """
        self._tolerance = tolerance_pct / 100
        self._known_ns = known_ns
        self._readings: Dict[Tuple[int, int], Sentinel] = {}
        self._medians: List[float] = []
        self._steady: Optional[Steady] = None

    def add(self, reading: Sentinel) -> None:
        """Take one more reading."""
        self._readings[reading.process_index, reading.position] = reading
        self._medians.append(median(reading.latencies_ns))
        self._steady = None

    @property
    def steady(self) -> Optional[Steady]:
        """The sentinel on the machine that is itself; None while readings are few."""
        if self._steady is None and len(self._medians) >= _FEWEST_READINGS:
            reached = [value for value in self._medians if self._is_known(value)]
            like_before = len(reached) >= _FEWEST_REACHED
            self._steady = steady_state(reached if like_before else self._medians, self._tolerance)
        return self._steady

    @property
    def change_pct(self) -> Optional[float]:
        """By how much the machine differs from the earlier job, in percent; None if by no more than the tolerance."""
        if self._known_ns is None or self.steady is None or self._is_known(self.steady.level_ns):
            return None
        return 100 * (self.steady.level_ns / self._known_ns - 1)

    def _is_known(self, latency_ns: float) -> bool:
        return self._known_ns is not None and abs(latency_ns / self._known_ns - 1) <= _KNOWN_REACH * self._tolerance

    @property
    def noise_floor_pct(self) -> Optional[float]:
        """Relative spread of the sentinel on the machine that is itself, in percent; None while readings are few."""
        return None if self.steady is None else 100 * self.steady.spread

    def problem(self, process_index: int, position: int) -> Optional[str]:
        """Return why the batch between two readings must not count, or None.

        Args:
            process_index: of the batch's process.
            position: of the reading before it; a missing reading after it (the worker died) tells nothing.
        """
        steady = self.steady
        if steady is None:
            return None
        for place in (position, position + 1):
            reading = self._readings.get((process_index, place))
            if reading is not None and self._is_shifted(reading, steady):
                shift_pct = 100 * (median(reading.latencies_ns) / steady.level_ns - 1)
                return f"the sentinel beside it was {shift_pct:+.1f}% off"
        return None

    def _is_shifted(self, reading: Sentinel, steady: Steady) -> bool:
        """Test the shift: every sample of the reading lies, on one side, beyond the tolerance and the noise."""
        band = max(self._tolerance, _SIGMAS * steady.spread) * steady.level_ns
        latencies = reading.latencies_ns
        return min(latencies) > steady.level_ns + band or max(latencies) < steady.level_ns - band
