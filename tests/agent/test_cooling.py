"""Waiting for a machine to cool, with a clock and a sensor that follow each other."""

from __future__ import annotations

import pytest

from profiler_agent.cooling import Limits, cool_down, is_too_hot
from profiler_agent.system_files import Heat


class Stove:
    """Cools by one degree a second, down to what surrounds it; its kernel slows it at 80 °C."""

    def __init__(self, temperature_c: float, around_c: float = 40.0, limit_c: float | None = 80.0) -> None:
        self.temperature_c = temperature_c
        self._around_c = around_c
        self._limit_c = limit_c

    def read(self) -> Heat:
        margin_c = None if self._limit_c is None else self._limit_c - self.temperature_c
        return Heat(self.temperature_c, margin_c)

    def sleep(self, seconds: float) -> None:
        self.temperature_c = max(self._around_c, self.temperature_c - seconds)


def test_it_waits_until_the_temperature_is_below_the_kernels_limit() -> None:
    stove = Stove(82.0)
    cooled = cool_down(stove.read, stove.sleep, Limits(), None)
    assert (cooled.seconds, cooled.from_c, cooled.to_c, cooled.is_cool) == (7, 82, 75, True)
    assert "waited 7 s while it went from 82.0 to 75.0 °C" in cooled.sentence


def test_it_waits_until_the_temperature_is_below_the_users_limit() -> None:
    stove = Stove(70.0)
    assert cool_down(stove.read, stove.sleep, Limits(60.0), None).to_c == 55


def test_without_a_limit_it_waits_for_ten_degrees() -> None:
    stove = Stove(70.0, limit_c=None)
    # It was hotter when heat showed, and cooled before the waiting began.
    assert cool_down(stove.read, stove.sleep, Limits(hot_c=75.0), None).to_c == 65


def test_without_a_limit_it_waits_two_minutes_at_most() -> None:
    stove = Stove(45.0, around_c=44.0, limit_c=None)
    cooled = cool_down(stove.read, stove.sleep, Limits(hot_c=45.0), None)
    assert (cooled.seconds, cooled.is_cool) == (120, False)


def test_the_kernels_limit_holds_beside_the_users() -> None:
    stove = Stove(82.0)
    assert cool_down(stove.read, stove.sleep, Limits(90.0), None).to_c == 75


def test_it_gives_up_on_a_machine_that_stays_hot() -> None:
    stove = Stove(90.0, around_c=85.0)
    cooled = cool_down(stove.read, stove.sleep, Limits(), None)
    assert (cooled.seconds, cooled.is_cool) == (600, False)


def test_it_never_waits_past_the_budget() -> None:
    stove = Stove(90.0)
    cooled = cool_down(stove.read, stove.sleep, Limits(), 2.5)
    assert (cooled.seconds, cooled.is_cool) == (2.5, False)


def test_a_machine_without_sensors_is_left_alone_for_a_minute() -> None:
    slept: list[float] = []
    cooled = cool_down(lambda: Heat(None, None), slept.append, Limits(), None)
    assert sum(slept) == cooled.seconds == 60
    assert cooled.is_cool
    assert "the temperature is not told" in cooled.sentence


@pytest.mark.parametrize(
    ("heat", "limit_c", "expected"),
    [
        (Heat(79.0, 1.0), None, False),
        (Heat(80.0, 0.0), None, True),
        (Heat(61.0, 19.0), 60.0, True),
        (Heat(85.0, -5.0), 90.0, True),
        (Heat(None, None), 60.0, False),
    ],
)
def test_too_hot_is_what_the_user_or_the_kernel_says(heat: Heat, limit_c: float | None, expected: bool) -> None:
    assert is_too_hot(heat, limit_c) is expected
