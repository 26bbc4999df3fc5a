"""A smooth function through points, with the uncertainty of each value: Gaussian process regression.

    y = f(x) + error,   cov(f(x), f(x')) = linear · (1 + x·x') + smooth · (1 + √5·r + 5/3·r²)·exp(-√5·r)

where r is the distance of x and x' with a length for each feature (Matérn's covariance of degree 5/2; Rasmussen and
Williams, Gaussian Processes for Machine Learning, 2006, 4.2 and 5.1). Features are brought to mean 0 and deviation 1
first. Lengths and variances are the most probable ones, under priors that are wide, for the points (5.4.1). The error
of a point may be known to be larger than that of others. One that the others contradict, as disturbed measurements do,
is given a larger one, too: leaving points out one by one is answered in closed form (5.4.2).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy import linalg, optimize

from searcher.errors import SearcherError

Floats = NDArray[np.float64]

_ROOT_5 = 5.0**0.5
# Of the logarithms of lengths and of the deviations of the smooth part, of the linear part and of the error.
_LENGTH_PRIOR, _SMOOTH_PRIOR, _LINEAR_PRIOR, _ERROR_PRIOR = (1.1, 0.9), (-1.5, 1.5), (-2.5, 1.5), (-4.0, 1.2)
_BOUNDS_IN_DEVIATIONS = 4.0
_STEPS = 60
# Beyond so many points the cubes of their number cost more than they tell of lengths and variances.
_MOST_POINTS = 400
# Errors beyond so many deviations are a disturbance: 1 in 15,000 of normal ones.
_CONTRADICTED = 4.0
_ROUNDING = 1e-8


@dataclass(frozen=True)
class Smooth:
    """A fitted function of d features through n points.

    Attributes:
        centre: (d,) means of the features.
        scale: (d,) their deviations.
        lengths: (d,) how far one goes, in deviations, until the function is another.
        smooth_variance: of the smooth part.
        linear_variance: of the linear part.
        error_variance: of a point's error.
        points: (n, d) features, as they were given.
        disturbances: (n,) variance of each point's error beyond the common one.
        weights: (n,) with which the points' covariances add up to a value.
    """

    centre: tuple[float, ...]
    scale: tuple[float, ...]
    lengths: tuple[float, ...]
    smooth_variance: float
    linear_variance: float
    error_variance: float
    points: tuple[tuple[float, ...], ...]
    disturbances: tuple[float, ...]
    weights: tuple[float, ...]

    def __post_init__(self) -> None:
        """Refuse what is no function.

        Raises:
            ValueError: the lists do not fit each other, or a length or a variance is not positive.
        """
        if not self.points or {len(self.disturbances), len(self.weights)} != {len(self.points)}:
            raise ValueError("a smooth function has a disturbance and a weight for each of its points")
        if {len(self.centre), len(self.scale), len(self.lengths), *map(len, self.points)} != {len(self.lengths)}:
            raise ValueError("a smooth function's points have as many features as it has lengths")
        variances = self.smooth_variance, self.linear_variance, self.error_variance
        if min(*self.scale, *self.lengths, *variances) <= 0 or min(self.disturbances) < 0:
            raise ValueError("scales, lengths and variances of a smooth function are positive")

    def require_features(self, count: int) -> None:
        """Refuse a function of other features.

        Raises:
            ValueError: their number is another.
        """
        if len(self.lengths) != count:
            raise ValueError(f"a smooth function looks at {len(self.lengths)} features, where there are {count}")

    def values(self, features: Floats) -> Floats:
        """Return (m,) expected values at (m, d) features."""
        values: Floats = self._covariances(features) @ np.array(self.weights)
        return values

    def deviations(self, features: Floats) -> Floats:
        """Return (m,) standard deviations of what is measured at (m, d) features."""
        across = self._covariances(features)
        known = linalg.solve_triangular(self._triangle, across.T, lower=True)
        scaled = self._scaled(features)
        before = self.smooth_variance + self.linear_variance * (1 + (scaled**2).sum(axis=1))
        left: Floats = np.sqrt(np.maximum(before - (known**2).sum(axis=0), 0.0) + self.error_variance)
        return left

    @cached_property
    def _triangle(self) -> Floats:
        own = self._covariances(np.array(self.points))
        own[np.diag_indices_from(own)] += self.error_variance + np.array(self.disturbances)
        return _factored(own)

    @cached_property
    def _known(self) -> Floats:
        return self._scaled(np.array(self.points))

    def _scaled(self, features: Floats) -> Floats:
        scaled: Floats = (features - np.array(self.centre)) / np.array(self.scale)
        return scaled

    def _covariances(self, features: Floats) -> Floats:
        scaled, lengths = self._scaled(features), np.array(self.lengths)
        distances = _distances(scaled / lengths, self._known / lengths)
        linear = self.linear_variance * (1 + scaled @ self._known.T)
        covariances: Floats = linear + self.smooth_variance * _matern(distances)
        return covariances


def fit_smooth(features: Floats, values: Floats, variances: Floats, generator: np.random.Generator) -> Smooth:
    """Fit the function.

    Args:
        features: (n, d).
        values: (n,), about 0 on average.
        variances: (n,) of what is known of each value's error; 0 where nothing is.
        generator: chooses the points that lengths and variances are told from, where there are many.
    """
    centre, scale = features.mean(axis=0), features.std(axis=0)
    scale = np.where(scale > 0, scale, 1.0)
    scaled = (features - centre) / scale
    few = np.arange(len(values))
    if len(few) > _MOST_POINTS:
        few = np.sort(generator.choice(len(values), _MOST_POINTS, replace=False))
    disturbances = variances
    start = np.array(_prior_means(features.shape[1]))
    parameters = _most_probable(start, scaled[few], values[few], disturbances[few])
    found = _disturbances(parameters, scaled, values, variances)
    if (found > variances).any():
        disturbances = found
        parameters = _most_probable(parameters, scaled[few], values[few], disturbances[few])
    lengths, smooth, linear, error = _unpacked(parameters)
    weights = linalg.cho_solve((_factored(_with_errors(parameters, scaled, disturbances)), True), values)
    return Smooth(
        centre=tuple(centre.tolist()),
        scale=tuple(scale.tolist()),
        lengths=tuple(lengths.tolist()),
        smooth_variance=smooth,
        linear_variance=linear,
        error_variance=error,
        points=tuple(tuple(row) for row in features.tolist()),
        disturbances=tuple(disturbances.tolist()),
        weights=tuple(weights.tolist()),
    )


def _prior_means(features: int) -> list[float]:
    return [_LENGTH_PRIOR[0]] * features + [_SMOOTH_PRIOR[0], _LINEAR_PRIOR[0], _ERROR_PRIOR[0]]


def _prior_deviations(features: int) -> list[float]:
    return [_LENGTH_PRIOR[1]] * features + [_SMOOTH_PRIOR[1], _LINEAR_PRIOR[1], _ERROR_PRIOR[1]]


def _unpacked(parameters: Floats) -> tuple[Floats, float, float, float]:
    """Return lengths and the variances of the smooth part, the linear part and the error."""
    smooth, linear, error = np.exp(2 * parameters[-3:]).tolist()
    return np.exp(parameters[:-3]), smooth, linear, error


def _most_probable(start: Floats, scaled: Floats, values: Floats, disturbances: Floats) -> Floats:
    means, deviations = np.array(_prior_means(scaled.shape[1])), np.array(_prior_deviations(scaled.shape[1]))
    reach = _BOUNDS_IN_DEVIATIONS * deviations
    apart = (scaled[:, None, :] - scaled[None, :, :]) ** 2
    products = 1 + scaled @ scaled.T

    def improbability(parameters: Floats) -> tuple[float, Floats]:
        """Return minus the logarithm of the probability, and its slope."""
        lengths, smooth, linear, error = _unpacked(parameters)
        by_feature = apart / lengths**2
        distances = np.sqrt(by_feature.sum(axis=2))
        rough = smooth * _matern(distances)
        covariance = rough + linear * products
        covariance[np.diag_indices_from(covariance)] += error + disturbances
        triangle = _factored(covariance)
        weights = linalg.cho_solve((triangle, True), values)
        inverse = linalg.cho_solve((triangle, True), np.eye(len(values)))
        off = (parameters - means) / deviations
        improbable = 0.5 * values @ weights + np.log(np.diag(triangle)).sum() + 0.5 * (off @ off)
        pull = 0.5 * (inverse - np.outer(weights, weights))
        slope_of_distance = smooth * 5 / 3 * (1 + _ROOT_5 * distances) * np.exp(-_ROOT_5 * distances)
        slope = np.concatenate(
            (
                (pull * slope_of_distance).ravel() @ by_feature.reshape(-1, len(lengths)),
                (2 * (pull * rough).sum(), 2 * linear * (pull * products).sum(), 2 * error * np.trace(pull)),
            )
        )
        return float(improbable), slope + off / deviations

    found = optimize.minimize(
        improbability,
        start,
        jac=True,
        method="L-BFGS-B",
        bounds=list(zip(means - reach, means + reach, strict=True)),
        options={"maxiter": _STEPS},
    )
    best: Floats = found.x
    return best


def _disturbances(parameters: Floats, scaled: Floats, values: Floats, variances: Floats) -> Floats:
    """Return (n,) the variance that each point's error has beyond the common one: more where others contradict it."""
    triangle = _factored(_with_errors(parameters, scaled, variances))
    inverse = linalg.cho_solve((triangle, True), np.eye(len(values)))
    expected_variance = 1 / np.diag(inverse)
    errors = (inverse @ values) * expected_variance
    contradicted = errors**2 > _CONTRADICTED**2 * expected_variance
    disturbances: Floats = np.where(contradicted, variances + errors**2, variances)
    return disturbances


def _with_errors(parameters: Floats, scaled: Floats, disturbances: Floats) -> Floats:
    lengths, smooth, linear, error = _unpacked(parameters)
    covariance = linear * (1 + scaled @ scaled.T) + smooth * _matern(_distances(scaled / lengths, scaled / lengths))
    covariance[np.diag_indices_from(covariance)] += error + disturbances
    return covariance


def _matern(distances: Floats) -> Floats:
    stretched = _ROOT_5 * distances
    return np.asarray((1 + stretched + stretched**2 / 3) * np.exp(-stretched), dtype=np.float64)


def _distances(ones: Floats, others: Floats) -> Floats:
    squares = (ones**2).sum(axis=1)[:, None] + (others**2).sum(axis=1) - 2 * ones @ others.T
    return np.asarray(np.sqrt(np.maximum(squares, 0.0)), dtype=np.float64)


def _factored(covariance: Floats) -> Floats:
    """Return the lower triangle of Cholesky's factors.

    Raises:
        SearcherError: the points tell the same thing too often for the numbers' precision.
    """
    rounding = _ROUNDING * float(np.mean(np.diag(covariance)))
    covariance[np.diag_indices_from(covariance)] += rounding
    try:
        return np.asarray(linalg.cholesky(covariance, lower=True), dtype=np.float64)
    except linalg.LinAlgError as e:
        raise SearcherError("no smooth function can be fitted to these points: they are too much alike") from e
