"""The sentinel's level and what lies beside a shifted reading."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from profiler_agent.drift import DriftMonitor, steady_state
from profiler_agent.records import Sentinel


def reading(process: int, position: int, level: float, noise: float = 0.001, seed: int = 0) -> Sentinel:
    generator = random.Random(f"{process} {position} {seed}")
    samples = tuple(round(1e6 * level * generator.gauss(1, noise)) for _ in range(5))
    return Sentinel("job", process, position, samples, 1, 0.0)


def monitor_of(levels: list[float], noise: float = 0.001) -> DriftMonitor:
    monitor = DriftMonitor(2.0)
    for position, level in enumerate(levels):
        monitor.add(reading(0, position, level, noise))
    return monitor


@pytest.mark.parametrize("slow_share", [0.0, 0.2, 0.5, 0.65])
def test_the_level_is_that_of_the_undisturbed_machine(slow_share: float) -> None:
    slow = int(40 * slow_share)
    monitor = monitor_of([1.0] * (40 - slow) + [1.35] * slow)
    assert monitor.steady is not None
    assert monitor.steady.level_ns == pytest.approx(1e6, rel=0.002)


def test_a_shifted_reading_rejects_the_batches_on_both_sides() -> None:
    monitor = monitor_of([1.0] * 10 + [1.1] + [1.0] * 10)
    assert [position for position in range(20) if monitor.problem(0, position)] == [9, 10]
    assert monitor.problem(0, 9) is not None
    assert "+10." in str(monitor.problem(0, 9)) or "+9.9" in str(monitor.problem(0, 9))


def test_a_shift_within_the_tolerance_rejects_nothing() -> None:
    monitor = monitor_of([1.0] * 10 + [1.015] + [1.0] * 10)
    assert not any(monitor.problem(0, position) for position in range(20))


def test_noise_of_the_machine_widens_the_band() -> None:
    generator = random.Random(1)
    monitor = monitor_of([generator.gauss(1, 0.02) for _ in range(200)])
    alarms = sum(monitor.problem(0, position) is not None for position in range(199))
    assert alarms < 0.05 * 199
    assert monitor.noise_floor_pct == pytest.approx(2, rel=0.3)


def test_few_readings_judge_nothing() -> None:
    monitor = monitor_of([1.0, 2.0, 3.0])
    assert monitor.steady is None
    assert monitor.noise_floor_pct is None
    assert monitor.problem(0, 0) is None


def test_a_machine_that_is_slow_all_the_time_is_known_by_an_earlier_job() -> None:
    monitor = DriftMonitor(2.0, known_ns=1e6)
    for position, level in enumerate([1.35] * 30 + [1.0] * 4):
        monitor.add(reading(0, position, level))
    assert monitor.steady is not None
    assert monitor.steady.level_ns == pytest.approx(1e6, rel=0.002)
    assert [position for position in range(33) if monitor.problem(0, position)] == list(range(30))
    assert monitor.change_pct is None


def test_a_machine_that_never_is_as_before_says_so_and_goes_by_itself() -> None:
    monitor = DriftMonitor(2.0, known_ns=1e6)
    for position in range(20):
        monitor.add(reading(0, position, 1.2))
    assert not any(monitor.problem(0, position) for position in range(19))
    assert monitor.change_pct == pytest.approx(20, abs=0.5)


@given(st.lists(st.floats(1.0, 1e9), min_size=1, max_size=50))
def test_any_readings_have_a_level_among_them(medians: list[float]) -> None:
    steady = steady_state(medians, 0.02)
    assert min(medians) <= steady.level_ns <= max(medians)
    assert steady.spread >= 0
