"""Waits for a machine that grew too hot: until its temperature says so, where it can be read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Callable, Optional

from profiler_agent.system_files import Heat

# Measuring goes on this far below the limit, lest it stops again at once.
_BELOW_LIMIT_C = 5.0
# Where no limit is known: this far below what it was when it was too hot.
_BELOW_HOT_C = 10.0
_LONGEST_S = 600.0
_BLIND_S = 60.0
_POLL_S = 1.0


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
            return f"the machine was held back; measuring waited {self.seconds:.0f} s, its temperature is not told"
        change = f"from {self.from_c:.1f} to {self.to_c:.1f} °C"
        return f"the machine was too hot: measuring waited {self.seconds:.0f} s while it went {change}"


def is_too_hot(heat: Heat, max_temperature_c: Optional[float]) -> bool:
    """Tell whether nothing should be measured now, by the user's own limit or else the kernel's."""
    if max_temperature_c is not None and heat.temperature_c is not None:
        return heat.temperature_c > max_temperature_c
    return heat.margin_c is not None and heat.margin_c <= 0


def is_cool(heat: Heat, hot: Heat, max_temperature_c: Optional[float]) -> bool:
    """Tell whether measuring may go on.

    Args:
        heat: of now.
        hot: when it was found too hot.
        max_temperature_c: the user's own limit, which goes before the kernel's.
    """
    if max_temperature_c is not None and heat.temperature_c is not None:
        return heat.temperature_c <= max_temperature_c - _BELOW_LIMIT_C
    if heat.margin_c is not None:
        return heat.margin_c >= _BELOW_LIMIT_C
    return heat.temperature_c is not None and heat.temperature_c <= (hot.temperature_c or 0) - _BELOW_HOT_C


def cool_down(
    read: Callable[[], Heat],
    sleep: Callable[[float], None],
    longest_s: Optional[float],
    max_temperature_c: Optional[float] = None,
) -> Cooled:
    """Wait until the machine is cool, for ten minutes or `longest_s` at most; blindly for one where it tells nothing.

    Args:
        read: reads the heat of now.
        sleep: waits for that many seconds.
        longest_s: what is left of the job's budget; None for no bound.
        max_temperature_c: the user's own limit.
    """
    hot = heat = read()
    bound_s = _LONGEST_S if hot.temperature_c is not None else _BLIND_S
    if longest_s is not None:
        bound_s = min(bound_s, longest_s)
    waited_s = 0.0
    while waited_s < bound_s and not is_cool(heat, hot, max_temperature_c):
        step_s = min(_POLL_S, bound_s - waited_s)
        sleep(step_s)
        waited_s += step_s
        heat = read()
    cool = heat.temperature_c is None or is_cool(heat, hot, max_temperature_c)
    return Cooled(waited_s, hot.temperature_c, heat.temperature_c, cool)
