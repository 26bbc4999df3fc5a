"""Whether the machine was itself: judges batches by the sentinel's readings before and after them.

The sentinel is one small model that is the same in every job and runtime version. When its latency shifts, so did
the machine (heat, frequency, a neighbour on the same core), and what was measured beside it must not count.
"""

from __future__ import annotations

from typing import Dict, List, Optional, Tuple

from profiler_agent.records import Sentinel
from profiler_agent.statistics import median, relative_spread_pct, shorth

# With fewer readings nobody knows yet which of them are the odd ones.
_FEWEST_READINGS = 6


class DriftMonitor:
    """Remembers the sentinel's readings of a job and tells which batches lie beside a shifted one."""

    def __init__(self, tolerance_pct: float) -> None:
        self._tolerance = tolerance_pct / 100
        self._readings: Dict[Tuple[int, int], Sentinel] = {}
        self._medians: List[float] = []

    def add(self, reading: Sentinel) -> None:
        """Take one more reading."""
        self._readings[reading.process_index, reading.position] = reading
        self._medians.append(median(reading.latencies_ns))

    @property
    def level_ns(self) -> Optional[float]:
        """The sentinel's latency when the machine is itself, in ns; None while readings are few."""
        return shorth(self._medians) if len(self._medians) >= _FEWEST_READINGS else None

    @property
    def noise_floor_pct(self) -> Optional[float]:
        """Relative spread of the readings that are not shifted, in percent; None below two."""
        level_ns = self.level_ns
        kept = [
            median(reading.latencies_ns)
            for reading in self._readings.values()
            if level_ns is not None and not self._is_shifted(reading, level_ns)
        ]
        return relative_spread_pct(kept) if len(kept) >= 2 else None

    def problem(self, process_index: int, position: int) -> Optional[str]:
        """Return why the batch between two readings must not count, or None.

        Args:
            process_index: of the batch's process.
            position: of the reading before it; a missing reading after it (the worker died) tells nothing.
        """
        level_ns = self.level_ns
        if level_ns is None:
            return None
        for place in (position, position + 1):
            reading = self._readings.get((process_index, place))
            if reading is not None and self._is_shifted(reading, level_ns):
                shift_pct = 100 * (median(reading.latencies_ns) / level_ns - 1)
                return f"the sentinel beside it was {shift_pct:+.1f}% off"
        return None

    def _is_shifted(self, reading: Sentinel, level_ns: float) -> bool:
        """Test the shift: every one of the reading's samples lies beyond the tolerance, on one side.

        Under no shift a sample lies above the level with probability 1/2 at most, so that five of five beyond it
        happen by chance in less than 1 of 16 readings whatever the noise, and with ordinary noise hardly ever.
        """
        latencies = reading.latencies_ns
        return min(latencies) > level_ns * (1 + self._tolerance) or max(latencies) < level_ns * (1 - self._tolerance)
