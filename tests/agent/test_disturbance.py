"""Which signs of the machine speak against a batch."""

from __future__ import annotations

import pytest

from profiler_agent.disturbance import SignMonitor, firmware_heat, firmware_problem
from profiler_agent.records import NO_SIGNS, Signs

QUIET = Signs(lost_pct=0.3, others_pct=2.0, preemptions=1, throttlings=0, quota_stops=0, frequency_mhz=1500.0)


def monitor_of(*batches: Signs, max_temperature_c: float | None = None) -> SignMonitor:
    monitor = SignMonitor(2.0, max_temperature_c)
    for signs in batches:
        monitor.add(signs)
    return monitor


@pytest.mark.parametrize(
    ("signs", "part"),
    [
        (Signs(lost_pct=10.4), "taken from it for 10.4% of the time"),
        (Signs(others_pct=97.0), "other processes used 97% of a processor"),
        (Signs(throttlings=3), "heat throttled the processor 3 times"),
        (Signs(quota_stops=2), "quota of processor time was used up 2 times"),
        (Signs(frequency_mhz=1200.0), "ran at 1200 MHz instead of 1500 MHz"),
        (Signs(temperature_c=81.0, heat_margin_c=-1.0), "81.0 °C hot, where its kernel slows it down"),
    ],
)
def test_each_sign_rejects(signs: Signs, part: str) -> None:
    monitor = monitor_of(*[QUIET] * 8, signs)
    assert part in str(monitor.problem(signs))
    assert monitor.problem(QUIET) is None


@pytest.mark.parametrize(
    "signs",
    [
        Signs(lost_pct=10.0),
        Signs(others_pct=51.0),
        Signs(preemptions=500, lost_pct=0.3),
        Signs(frequency_mhz=1490.0),
        Signs(temperature_c=75.0, heat_margin_c=5.0),
        NO_SIGNS,
    ],
)
def test_what_is_within_the_tolerance_does_not(signs: Signs) -> None:
    assert monitor_of(*[QUIET] * 8, signs).problem(signs) is None


def test_preemptions_count_where_waiting_is_not_told() -> None:
    quiet = Signs(preemptions=2)
    monitor = monitor_of(*[quiet] * 8)
    assert "preempted 40 times" in str(monitor.problem(Signs(preemptions=40)))
    assert monitor.problem(Signs(preemptions=9)) is None


def test_what_is_always_so_is_usual_here() -> None:
    busy = Signs(lost_pct=6.0, others_pct=120.0, frequency_mhz=900.0)
    assert monitor_of(*[busy] * 8).problem(busy) is None


def test_a_disturbance_that_comes_and_goes_is_seen_when_it_is_there_half_of_the_time() -> None:
    disturbed = Signs(lost_pct=30.0, others_pct=99.0, frequency_mhz=1100.0)
    monitor = monitor_of(*[QUIET, disturbed] * 6)
    assert monitor.problem(disturbed) is not None
    assert monitor.problem(QUIET) is None


def test_few_batches_tell_nothing_of_what_is_usual() -> None:
    assert monitor_of(*[QUIET] * 4).problem(Signs(lost_pct=90.0, others_pct=100.0, frequency_mhz=100.0)) is None


def test_the_users_own_limit_holds_beside_the_kernels() -> None:
    monitor = monitor_of(max_temperature_c=60.0)
    hot = Signs(temperature_c=60.5, heat_margin_c=20.0)
    assert "60.5 °C hot, more than 60 °C" in str(monitor.heat(hot))
    assert "its kernel slows it" in str(
        monitor_of(max_temperature_c=90.0).heat(Signs(temperature_c=85.0, heat_margin_c=-5.0))
    )


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        (0, 0, None),
        (None, 0x5, None),
        (0x50000, 0x50000, None),
        (0x50000, 0x50005, "the firmware reported undervoltage and throttling"),
        (0x5, 0x50000, "the firmware reported undervoltage and throttling"),
        (0, 0x20000, "the firmware reported a capped frequency"),
        (0x20000, 0xA0000, "the firmware reported the soft temperature limit"),
    ],
)
def test_the_firmware_speaks_of_now_and_of_what_is_new_since_boot(
    before: int | None, after: int | None, expected: str | None
) -> None:
    assert firmware_problem(before, after) == expected


def test_waiting_helps_against_heat_not_against_a_weak_supply() -> None:
    assert firmware_heat(0, 0x4)
    assert firmware_heat(0, 0x80000)
    assert not firmware_heat(0, 0x30003)
    assert not firmware_heat(None, 0x4)
