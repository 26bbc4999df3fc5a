"""The regression behind latency models without a table: what it finds, and what it says of its own errors."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from searcher.cost_models.grouped_ridge import GroupedRidge, fit_grouped_ridge

Floats = NDArray[np.float64]
PRICES = np.array([4.0, 1.0, 0.5])
BASE_MS = 3.0


def sample(generator: np.random.Generator, count: int = 100) -> tuple[Floats, Floats]:
    """Features of which the first three cost something, and what they cost."""
    features = generator.integers(0, 6, (count, 6)).astype(np.float64)
    return features, BASE_MS + features[:, :3] @ PRICES


def fit(features: Floats, latency_ms: Floats) -> GroupedRidge:
    return fit_grouped_ridge(features, np.array([0, 0, 0, 1, 1, 1]), latency_ms)


def test_prices_are_found_and_what_explains_nothing_is_shrunk() -> None:
    generator = np.random.default_rng(1)
    features, latency_ms = sample(generator)
    found = fit(features, latency_ms * generator.normal(1, 0.02, 100))
    assert found.coefficients[:4] == pytest.approx([BASE_MS, *PRICES], abs=0.25)
    assert np.abs(found.coefficients[4:]).max() < 0.05
    assert found.relative == pytest.approx(0.02, rel=0.35)


def test_errors_of_a_fixed_size_are_told_from_those_that_grow() -> None:
    generator = np.random.default_rng(2)
    features, latency_ms = sample(generator, 200)
    found = fit(features, latency_ms + generator.normal(0, 0.4, 200))
    assert found.absolute == pytest.approx(0.4, rel=0.3)
    assert found.relative < 0.015
    few = features[:2] * [[0.1], [2.0]]
    assert np.ptp(found.deviations(few)) < 0.2


def test_what_is_left_out_is_predicted_as_by_a_fit_without_it() -> None:
    generator = np.random.default_rng(3)
    features, latency_ms = sample(generator, 60)
    latency_ms = latency_ms * generator.normal(1, 0.05, 60)
    found = fit(features, latency_ms)
    for row in (0, 7, 23):
        others = np.arange(60) != row
        again = fit(features[others], latency_ms[others])
        without = float(again.predict(features[[row]])[0])
        assert found.left_out_ms[row] == pytest.approx(without, rel=0.01)
        within = float(found.predict(features[[row]])[0])
        assert abs(found.left_out_ms[row] - without) < abs(within - without)


def test_errors_in_standard_deviations_are_about_one() -> None:
    generator = np.random.default_rng(4)
    features, latency_ms = sample(generator, 200)
    found = fit(features, latency_ms * generator.normal(1, 0.05, 200))
    assert found.left_out_errors.std() == pytest.approx(1, abs=0.2)


def test_interrupted_measurements_move_the_prices_little() -> None:
    features, latency_ms = sample(np.random.default_rng(5))
    latency_ms = latency_ms * np.random.default_rng(6).normal(1, 0.02, 100)
    disturbed = latency_ms.copy()
    disturbed[:4] *= 2.5
    found, undisturbed = fit(features, disturbed), fit(features, latency_ms)
    moved = np.abs(found.predict(features) / undisturbed.predict(features) - 1)
    rows = np.concatenate([np.ones((100, 1)), features], axis=1)
    plain = np.abs(rows @ np.linalg.lstsq(rows, disturbed, rcond=None)[0] / undisturbed.predict(features) - 1)
    assert moved.max() < 0.05 < plain.max()
    assert found.left_out_errors[:4].min() > 5
