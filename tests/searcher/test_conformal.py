"""Bounds above predictions: how often what is measured stays below them."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from searcher.cost_models.conformal import conformal_ratio, networks_for, tolerance_ratio, upper_ratio
from searcher.errors import BadInputError


def test_the_conformal_bound_is_an_order_statistic() -> None:
    ratios = [1 + index / 100 for index in range(20, 0, -1)]
    assert conformal_ratio(ratios, 0.95) == 1.2  # the greatest of 20
    assert conformal_ratio(ratios, 0.9) == 1.19
    assert conformal_ratio(ratios, 0.5) == 1.11
    assert conformal_ratio(ratios[:19], 0.95) == 1.2  # exactly enough


@pytest.mark.parametrize(("confidence", "needed"), [(0.95, 19), (0.9, 9), (0.99, 99), (0.5, 1)])
def test_too_few_networks_are_told(confidence: float, needed: int) -> None:
    assert networks_for(confidence) == needed
    conformal_ratio([1.0] * needed, confidence)
    with pytest.raises(BadInputError, match=f"takes {needed} held-out networks, not {needed - 1}"):
        conformal_ratio([1.0] * (needed - 1), confidence)


@pytest.mark.parametrize("confidence", [0.0, 1.0, -0.1, 95.0, float("nan")])
def test_a_confidence_is_a_share(confidence: float) -> None:
    with pytest.raises(BadInputError, match="between 0 and 1"):
        upper_ratio([1.0] * 30, confidence)


def test_the_tolerance_limit_is_the_tabled_one() -> None:
    # Hahn and Meeker, table A.12d: the factor of 20 observations for 95% of the population with 90% confidence.
    logarithms = np.array([-1.0, 1.0] * 10)
    factor = np.log(tolerance_ratio(list(np.exp(logarithms)), 0.95)) / logarithms.std(ddof=1)
    assert factor == pytest.approx(2.208, abs=5e-4)


def test_a_bound_is_never_below_the_prediction() -> None:
    assert upper_ratio([0.8 + index / 1000 for index in range(30)], 0.95) == 1.0


@pytest.mark.parametrize(
    ("name", "draw"),
    [
        ("normal", lambda generator, size: generator.normal(0.0, 0.02, size)),
        ("skewed", lambda generator, size: generator.exponential(0.02, size) - 0.01),
        ("heavy", lambda generator, size: 0.01 * generator.standard_t(3, size)),
    ],
)
def test_networks_stay_below_as_often_as_is_said(name: str, draw: object) -> None:
    assert callable(draw)
    generator = np.random.default_rng(8)
    population = np.sort(np.exp(draw(generator, 200_000)))
    covered = []
    for _ in range(1500):
        bound = upper_ratio(list(np.exp(draw(generator, 20))), 0.95)
        covered.append(np.searchsorted(population, bound, side="right") / len(population))
    # On average whatever the distribution; a standard error is below 0.002.
    assert np.mean(covered) >= 0.95
    if name == "normal":
        # In nine calibrations of ten, where logarithms are normal.
        assert np.mean(np.array(covered) >= 0.95) >= 0.9 - 2 * stats.sem(np.array(covered) >= 0.95)
