"""Medians and their intervals, against plain definitions and simulation."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from profiler_agent.statistics import (
    LOOKS,
    median,
    median_interval,
    relative_spread_pct,
    sequential_confidence,
    shorth,
)

values_lists = st.lists(st.floats(-1e9, 1e9), min_size=1, max_size=60)


@given(values_lists)
def test_interval_holds_the_median_and_is_made_of_values(values: list[float]) -> None:
    low, high, _ = median_interval(values)
    assert low <= median(values) <= high
    assert low in values
    assert high in values


@pytest.mark.parametrize(
    ("count", "rank", "confidence"),
    # Ranks and coverages of the textbook tables for the sign test's interval.
    [
        (5, 1, 0.9375),
        (6, 1, 0.96875),
        (8, 1, 0.9921875),
        (9, 2, 0.9609375),
        (15, 4, 0.96484375),
        (20, 6, 0.9586105),
    ],
)
def test_interval_takes_the_known_ranks(count: int, rank: int, confidence: float) -> None:
    interval = median_interval([float(value) for value in range(1, count + 1)])
    assert interval.low == rank
    assert interval.high == count + 1 - rank
    assert interval.confidence == pytest.approx(confidence, abs=1e-6)


def test_one_value_has_no_confidence() -> None:
    assert median_interval([3.0]) == (3.0, 3.0, 0.0)


def test_interval_covers_the_median_of_a_skewed_distribution() -> None:
    generator = random.Random(5)
    true_median = math.log(2)
    runs = 2000
    hits = 0
    for _ in range(runs):
        low, high, _ = median_interval([generator.expovariate(1) for _ in range(12)])
        hits += low <= true_median <= high
    assert hits / runs >= 0.95


@pytest.mark.parametrize("confidence", [0.0, 1.0, 1.5, -1])
def test_refuses_impossible_confidence(confidence: float) -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        median_interval([1.0], confidence)


def test_refuses_no_values() -> None:
    with pytest.raises(ValueError, match="no values"):
        median([])
    with pytest.raises(ValueError, match="no values"):
        median_interval([])


@pytest.mark.parametrize("count", [1100, 5000, 100_000])
def test_many_values_agree_with_the_normal_approximation(count: int) -> None:
    low, high, confidence = median_interval([float(value) for value in range(count)])
    assert confidence == pytest.approx(0.95, abs=0.01)
    assert high - low == pytest.approx(1.96 * math.sqrt(count), rel=0.05)


def test_all_looks_together_spend_at_most_five_percent() -> None:
    assert sum(1 - sequential_confidence(look) for look in LOOKS) < 0.05
    assert sequential_confidence(1) == sequential_confidence(8) == 0.975
    assert sequential_confidence(11) == 0.975
    assert sequential_confidence(12) == 0.9875


def test_stopping_early_keeps_the_coverage() -> None:
    """Stop at the first look with an interval narrow enough; the interval then still covers the true median."""
    generator = random.Random(11)
    runs, hits = 1500, 0
    for _ in range(runs):
        values: list[float] = []
        interval = None
        for look in LOOKS[:6]:
            values += [generator.gauss(0, 1) for _ in range(look - len(values))]
            interval = median_interval(values, sequential_confidence(look))
            if interval.high - interval.low < 1.2:
                break
        assert interval is not None
        hits += interval.low <= 0 <= interval.high
    assert hits / runs >= 0.95


def test_the_shorth_ignores_a_disturbed_minority() -> None:
    steady = [100.0 + value / 10 for value in range(12)]
    assert shorth(steady + [140.0 + value for value in range(10)]) == pytest.approx(100.55, abs=0.6)
    assert shorth([5.0]) == 5.0


def test_the_spread_is_that_of_the_bulk() -> None:
    generator = random.Random(2)
    values = [generator.gauss(100, 2) for _ in range(2000)]
    assert relative_spread_pct(values) == pytest.approx(2, rel=0.1)
