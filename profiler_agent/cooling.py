"""Waits for a machine that grew too hot: until its temperature says so, where it can be read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Callable, Iterator, Optional

from profiler_agent import interrupts
from profiler_agent.records import Warned
from profiler_agent.system_files import Heat

# Measuring goes on this far below a limit, lest it stops again at once.
_BELOW_LIMIT_C = 5.0
# Where no limit is known: this far below what it was when heat was noticed, for at most so long.
_BELOW_HOT_C = 10.0
_LONGEST_UNLIMITED_S = 120.0
_LONGEST_S = 600.0
_BLIND_S = 60.0
_POLL_S = 1.0
# Waits after which a machine is still too hot, before nobody waits for it any more.
_VAIN_WAITS = 2


@dataclass(frozen=True)
class Limits:
    """What must not be exceeded, and when the machine counts as cool again.

    Attributes:
        max_temperature_c: the user's own limit; the kernel's holds beside it.
        hot_c: the temperature when heat was noticed by its effects (throttling), or None.
    """

    max_temperature_c: Optional[float] = None
    hot_c: Optional[float] = None


@dataclass(frozen=True)
class Cooled:
    """How a wait went.

    Attributes:
        seconds: its duration.
        from_c: temperature before it; None where it cannot be read.
        to_c: temperature after it.
        is_cool: whether measuring may go on; taken for granted where nothing can be read.
    """

    seconds: float
    from_c: Optional[float]
    to_c: Optional[float]
    is_cool: bool

    @property
    def sentence(self) -> str:
        """What the user is told."""
        if self.from_c is None or self.to_c is None:
            return f"measuring waited {self.seconds:.0f} s; the temperature is not told"
        return f"measuring waited {self.seconds:.0f} s while it went from {self.from_c:.1f} to {self.to_c:.1f} °C"


def is_too_hot(heat: Heat, max_temperature_c: Optional[float]) -> bool:
    """Tell whether nothing should be measured now: above the user's limit or at the kernel's."""
    if max_temperature_c is not None and heat.temperature_c is not None and heat.temperature_c > max_temperature_c:
        return True
    return heat.margin_c is not None and heat.margin_c <= 0


def is_cool(heat: Heat, limits: Limits) -> bool:
    """Tell whether measuring may go on: well below every limit that is known, else well below where heat showed."""
    own, temperature_c = limits.max_temperature_c, heat.temperature_c
    if own is not None and temperature_c is not None and temperature_c > own - _BELOW_LIMIT_C:
        return False
    if heat.margin_c is not None:
        return heat.margin_c >= _BELOW_LIMIT_C
    if own is not None and temperature_c is not None:
        return True
    if temperature_c is None:
        return False
    return limits.hot_c is None or temperature_c <= limits.hot_c - _BELOW_HOT_C


def cool_down(
    read: Callable[[], Heat], sleep: Callable[[float], None], limits: Limits, longest_s: Optional[float]
) -> Cooled:
    """Wait until the machine is cool: ten minutes at most, two where no limit is known, one where nothing is told.

    Args:
        read: reads the heat of now.
        sleep: waits for that many seconds.
        limits: what must not be exceeded.
        longest_s: what is left of the job's budget; None for no bound.
    """
    first = heat = read()
    waited_s = 0.0
    bound_s = _bound_s(first, limits)
    if longest_s is not None:
        bound_s = min(bound_s, longest_s)
    while waited_s < bound_s and not is_cool(heat, limits):
        interrupts.check()
        step_s = min(_POLL_S, bound_s - waited_s)
        sleep(step_s)
        waited_s += step_s
        heat = read()
    cool = heat.temperature_c is None or is_cool(heat, limits)
    return Cooled(waited_s, first.temperature_c, heat.temperature_c, cool)


def _bound_s(heat: Heat, limits: Limits) -> float:
    if heat.temperature_c is None:
        return _BLIND_S
    is_limited = heat.margin_c is not None or limits.max_temperature_c is not None
    return _LONGEST_S if is_limited else _LONGEST_UNLIMITED_S


class Thermostat:
    """Knows whether measuring has to wait for heat, and waits; a machine that never cools is left alone."""

    def __init__(
        self, read: Callable[[], Heat], sleep: Callable[[float], None], max_temperature_c: Optional[float]
    ) -> None:
        """Start on a machine of which nothing is known; the arguments are those of `cool_down` and `Limits`."""
        self._read = read
        self._sleep = sleep
        self._max_temperature_c = max_temperature_c
        self._effect = False
        self._hot_c: Optional[float] = None
        self._vain_waits = 0

    def notice(self, temperature_c: Optional[float]) -> None:
        """Take note that heat showed by its effects, at some temperature if that is told."""
        self._effect, self._hot_c = True, temperature_c

    @property
    def is_hopeless(self) -> bool:
        """Whether the machine is above a limit and waiting has not helped."""
        return self._vain_waits >= _VAIN_WAITS and is_too_hot(self._read(), self._max_temperature_c)

    def blindness(self) -> Iterator[Warned]:
        """Yield a warning if a limit was asked for and nothing tells the temperature."""
        limit_c = self._max_temperature_c
        if limit_c is not None and self._read().temperature_c is None:
            yield Warned("no_temperature", f"no temperature is told here: the limit of {limit_c:g} °C cannot be kept")

    def wait(self, longest_s: Optional[float]) -> Iterator[Warned]:
        """Wait where the machine is too hot, and say so before and after."""
        if not (self._effect or is_too_hot(self._read(), self._max_temperature_c)) or self._vain_waits >= _VAIN_WAITS:
            return
        yield Warned("cooling", "the machine is too hot: measuring waits until it has cooled")
        cooled = cool_down(self._read, self._sleep, Limits(self._max_temperature_c, self._hot_c), longest_s)
        self._effect, self._hot_c = False, None
        self._vain_waits = 0 if cooled.is_cool else self._vain_waits + 1
        yield Warned("cooled", cooled.sentence)
