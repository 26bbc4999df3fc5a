"""A smooth function through points: scikit-learn's Gaussian process agrees, and disturbed points do not count."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import ConstantKernel, DotProduct, Matern

from searcher.cost_models.kernels.smooth import Smooth, fit_smooth

Floats = NDArray[np.float64]
NOISE = 0.02


def curve(features: Floats) -> Floats:
    values: Floats = np.sin(features[:, 0]) + 0.1 * features[:, 1]
    return values


def sample(seed: int, count: int = 60) -> tuple[Floats, Floats]:
    generator = np.random.default_rng(seed)
    features = generator.normal(size=(count, 3)) * (1.0, 2.0, 5.0) + 4
    return features, curve(features) + generator.normal(0, NOISE, count)


def fitted(features: Floats, values: Floats) -> Smooth:
    return fit_smooth(features, values, np.zeros(len(values)), np.random.default_rng(0))


def test_values_and_deviations_are_those_of_another_implementation() -> None:
    features, values = sample(1)
    smooth = fitted(features, values)
    kernel = ConstantKernel(smooth.smooth_variance) * Matern(smooth.lengths, nu=2.5)
    kernel += ConstantKernel(smooth.linear_variance) * DotProduct(1.0)
    errors = smooth.error_variance + np.array(smooth.disturbances)
    other = GaussianProcessRegressor(kernel, alpha=errors, optimizer=None)
    centre, scale = np.array(smooth.centre), np.array(smooth.scale)
    other.fit((features - centre) / scale, values)
    unseen = sample(2)[0]
    expected, deviations = other.predict((unseen - centre) / scale, return_std=True)
    np.testing.assert_allclose(smooth.values(unseen), expected, atol=1e-5)
    of_measurements = np.sqrt(deviations**2 + smooth.error_variance)
    np.testing.assert_allclose(smooth.deviations(unseen), of_measurements, atol=1e-5)


def test_it_predicts_what_it_has_not_seen_and_knows_how_well() -> None:
    smooth = fitted(*sample(1, 120))
    unseen, measured = sample(2, 200)
    errors = smooth.values(unseen) - measured
    assert np.median(np.abs(errors)) < 3 * NOISE
    assert 0.8 < np.mean(np.abs(errors) < 1.645 * smooth.deviations(unseen)) < 0.99
    far = unseen + 40.0
    assert smooth.deviations(far).min() > 2 * np.median(smooth.deviations(unseen))


def test_a_disturbed_point_is_found_and_changes_little() -> None:
    features, values = sample(3)
    disturbed = values.copy()
    disturbed[11] += 2.0
    smooth = fitted(features, disturbed)
    assert smooth.disturbances[11] > 1.0
    assert abs(smooth.values(features[11:12])[0] - curve(features[11:12])[0]) < 0.15


def test_what_is_known_to_be_noisy_counts_less() -> None:
    features, values = sample(4)
    values[:20] += np.where(np.arange(20) % 2, 0.3, -0.3)
    variances = np.where(np.arange(len(values)) < 20, 0.09, 0.0)
    told = fit_smooth(features, values, variances, np.random.default_rng(0))
    unseen = sample(5, 200)[0]
    assert (
        np.abs(told.values(unseen) - curve(unseen)).mean()
        < np.abs(fitted(features, values).values(unseen) - curve(unseen)).mean()
    )


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"weights": (1.0,)}, "a disturbance and a weight for each of its points"),
        ({"lengths": (1.0,)}, "as many features as it has lengths"),
        ({"error_variance": 0.0}, "are positive"),
        ({"scale": (1.0, -1.0, 1.0)}, "are positive"),
    ],
)
def test_what_is_no_function_is_refused(changed: dict[str, object], message: str) -> None:
    smooth = fitted(*sample(1, 12))
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(smooth, **changed)  # type: ignore[arg-type]
