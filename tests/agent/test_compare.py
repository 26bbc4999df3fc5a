"""Comparing two journals: the tests against plain counts and simulations, the verdicts on known differences."""

from __future__ import annotations

import itertools
import random

import pytest

from profiler_agent.compare import compare, judge, mann_whitney_p
from profiler_agent.errors import BadInputError
from profiler_agent.records import Measured, Measurement


def measurement(name: str, medians_ms: list[float]) -> Measurement:
    batches = (
        Measured("job", name, index, index, (round(ms * 1e6),), 1, 0, 0.0, True, False)
        for index, ms in enumerate(medians_ms)
    )
    return Measurement(name, tuple(batches))


def noisy(name: str, level_ms: float, noise: float, seed: int, count: int = 20) -> Measurement:
    generator = random.Random(seed)
    return measurement(name, [level_ms * generator.gauss(1, noise) for _ in range(count)])


@pytest.mark.parametrize(("count", "other"), [(3, 4), (5, 5), (2, 6)])
def test_the_u_test_counts_every_order(count: int, other: int) -> None:
    """The exact p-value against counting all ways in which the values can be dealt out."""
    values = [float(value) for value in range(count + other)]
    generator = random.Random(3)
    first = generator.sample(values, count)
    second = [value for value in values if value not in first]

    def statistic(mine: tuple[float, ...] | list[float]) -> float:
        rest = [value for value in values if value not in mine]
        below = sum(one < two for one in mine for two in rest)
        return abs(below - count * other / 2)

    extreme = [statistic(mine) >= statistic(first) for mine in itertools.combinations(values, count)]
    assert mann_whitney_p(first, second) == pytest.approx(sum(extreme) / len(extreme))


def test_the_u_test_with_ties() -> None:
    assert mann_whitney_p([1.0] * 5, [1.0] * 5) == 1.0
    assert mann_whitney_p([1.0] * 10, [2.0] * 10) < 0.001


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [
        (0.99, 1.01, "same"),
        (1.001, 1.01, "same"),
        (1.01, 1.05, "slower"),
        (0.9, 0.97, "faster"),
        (0.95, 1.05, "undecided"),
        (0.99, 1.05, "undecided"),
    ],
)
def test_verdicts_of_intervals(low: float, high: float, verdict: str) -> None:
    assert judge(low, high, margin=0.02) == verdict


def test_known_differences_are_found() -> None:
    first = [noisy("slower", 1.0, 0.01, 1), noisy("same", 2.0, 0.005, 2), noisy("faster", 3.0, 0.01, 3)]
    second = [noisy("slower", 1.1, 0.01, 4), noisy("same", 2.0, 0.005, 5), noisy("faster", 2.7, 0.01, 6)]
    blocks, whole = compare(first, second, margin_pct=2.0, seed=0)
    assert [one.verdict for one in blocks] == ["slower", "same", "faster"]
    assert all(one.low <= one.ratio <= one.high for one in blocks)
    assert whole.ratio == pytest.approx((1.1 * 1.0 * 0.9) ** (1 / 3), rel=0.02)
    assert compare(first, second, 2.0, seed=0) == (blocks, whole)


def test_noise_alone_is_seldom_a_difference() -> None:
    wrong = 0
    for seed in range(200):
        blocks, _ = compare([noisy("b", 1.0, 0.03, seed)], [noisy("b", 1.0, 0.03, 1000 + seed)], 2.0, seed)
        wrong += blocks[0].verdict in ("faster", "slower")
    assert wrong / 200 <= 0.06


def test_few_processes_decide_nothing() -> None:
    blocks, _ = compare([measurement("b", [1.0, 1.1])], [measurement("b", [1.5, 1.6])], 2.0, 0)
    assert blocks[0].verdict == "undecided"


def test_journals_without_a_common_block_are_refused() -> None:
    with pytest.raises(BadInputError, match="share no block"):
        compare([measurement("a", [1.0])], [measurement("b", [1.0])], 2.0, 0)
