"""The energy of one inference: power while it runs back to back, less the power just before, times its duration.

A thread of the agent reads the meter; the model runs in a worker process, in a batch of its own after the latencies.
"""

from __future__ import annotations

import math
import threading
from typing import Callable, List, NamedTuple, Sequence

from profiler_agent.errors import AgentError
from profiler_agent.power import Meter

_INTERVAL_S = 0.02
_FEWEST_READINGS = 10
# A normal distribution has 95% within this many standard errors.
_ERRORS_95 = 1.96


class NoEnergyError(AgentError):
    """What was read tells no energy; the message says why."""


class PowerReading(NamedTuple):
    """The machine's power at a moment of the agent's clock."""

    at_s: float
    milliwatts: float


class Energy(NamedTuple):
    """Energy of one inference, in mJ, with half of its 95% interval, and what it was computed from."""

    energy_mj: float
    half_width_mj: float
    power_mw: float
    idle_power_mw: float
    samples: int
    hz: float


class PowerLog:
    """Reads a meter over and over, in a thread, while it is entered."""

    def __init__(self, meter: Meter, monotonic_s: Callable[[], float]) -> None:
        self._meter = meter
        self._monotonic_s = monotonic_s
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._readings: List[PowerReading] = []

    def between(self, start_s: float, end_s: float) -> List[PowerReading]:
        """Return the readings of a span of time."""
        return [one for one in list(self._readings) if start_s <= one.at_s <= end_s]

    def __enter__(self) -> PowerLog:
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._ended.set()
        self._thread.join()

    def _read(self) -> None:
        while not self._ended.is_set():
            now_s = self._monotonic_s()
            milliwatts = self._meter.read_mw(now_s)
            if milliwatts is not None:
                self._readings.append(PowerReading(now_s, milliwatts))
            self._ended.wait(_INTERVAL_S)


def energy_of(idle: Sequence[PowerReading], busy: Sequence[PowerReading], latency_s: float) -> Energy:
    """Return the energy of one inference.

    Args:
        idle: of the machine with the model loaded and nothing running.
        busy: of the machine while the model ran back to back.
        latency_s: duration of one inference then, in s.

    Raises:
        NoEnergyError: the readings are too few, or their noise is larger than the difference.
    """
    fresh_idle, fresh_busy = _fresh(idle), _fresh(busy)
    fewest = min(len(fresh_idle), len(fresh_busy))
    if fewest < _FEWEST_READINGS:
        raise NoEnergyError(f"{fewest} fresh readings of the power are fewer than {_FEWEST_READINGS}")
    # A sensor averages while it converts, so its repeated values belong to the mean, but not to its certainty.
    idle_mw, power_mw = (_mean([one.milliwatts for one in readings]) for readings in (idle, busy))
    error_mw = math.sqrt(_squared_error(fresh_idle) + _squared_error(fresh_busy))
    half_width_mw = _ERRORS_95 * error_mw
    if power_mw - idle_mw <= half_width_mw:
        raise NoEnergyError(
            f"the power rose by {power_mw - idle_mw:.0f} mW, and its readings are no more certain than "
            f"±{half_width_mw:.0f} mW"
        )
    return Energy(
        energy_mj=(power_mw - idle_mw) * latency_s,
        half_width_mj=half_width_mw * latency_s,
        power_mw=power_mw,
        idle_power_mw=idle_mw,
        samples=len(fresh_busy),
        hz=(len(busy) - 1) / (busy[-1].at_s - busy[0].at_s),
    )


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _squared_error(values: Sequence[float]) -> float:
    """Return the square of the standard error of the values' mean."""
    middle = _mean(values)
    return sum((value - middle) ** 2 for value in values) / (len(values) - 1) / len(values)


def _fresh(readings: Sequence[PowerReading]) -> List[float]:
    """Return the values that differ from the one before: a sensor slower than its reader repeats itself."""
    values = [one.milliwatts for one in readings]
    return [value for value, previous in zip(values, [None, *values]) if value != previous]
