"""Ridge regression whose groups of features are each shrunk as much as the sample itself advises.

    latency = base + Σ over groups g, features f of g: price[g, f] · feature[g, f] + error

Prices of a group are drawn from a normal distribution of mean 0 and of the group's own variance, errors from one whose
variance has an absolute and a relative part. These variances are those under which the sample is most probable
(evidence maximisation, or type II maximum likelihood: MacKay, Neural Computation 4, 1992; with a variance for each
group, Tipping, JMLR 1, 2001): a group that explains nothing is shrunk to nothing, and no sample has to be held back for
the choice. Single latencies that fit nothing, as interrupted measurements do, count less (Huber's weights).

What the model has not seen is left out of it one by one, which a linear model answers in closed form (Rasmussen and
Williams, Gaussian Processes for Machine Learning, 2006, 5.4.2): these errors judge it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import optimize

from searcher.errors import BadInputError

Floats = NDArray[np.float64]

# Of the base, relative to the mean latency: wide enough to say nothing.
_BASE_VARIANCE = 1e4
_FIRST_PRICE, _FIRST_ERROR = -4.0, -5.0
_PRICE_BOUNDS, _ERROR_BOUNDS = (-16.0, 4.0), (-18.0, 0.0)
# Kinds of error: absolute and relative.
_ERRORS = 2
_PASSES = 3
# An error of more than two standard deviations counts less, as in Huber's function; these are told from the median of
# the errors' sizes, as for a normal distribution.
_HUBER, _MAD = 2.0, 1.4826


@dataclass(frozen=True, eq=False)
class GroupedPrices:
    """What is predicted from: all of a fit but how it judges itself.

    Attributes:
        coefficients: (1 + features,): the base and the prices, in ms.
        covariance: (1 + features, 1 + features): how uncertain they are, in ms².
        absolute: standard deviation of the part of an error that is the same for all latencies, in ms.
        relative: of the part that grows with the latency, as a share of it.
    """

    coefficients: Floats
    covariance: Floats
    absolute: float
    relative: float

    def predict(self, features: Floats) -> Floats:
        """Return (n,) expected latencies in ms, of (n, features)."""
        predicted: Floats = _with_base(features) @ self.coefficients
        return predicted

    def deviations(self, features: Floats) -> Floats:
        """Return (n,) standard deviations of latencies from their predictions in ms, of (n, features)."""
        rows = _with_base(features)
        uncertain = np.einsum("nf,fg,ng->n", rows, self.covariance, rows)
        errors = self.absolute**2 + (self.relative * self.predict(features)) ** 2
        deviations: Floats = np.sqrt(uncertain + errors)
        return deviations


@dataclass(frozen=True, eq=False)
class GroupedRidge(GroupedPrices):
    """A fit.

    Attributes:
        left_out_ms: (n,): what is predicted for each latency of the sample by a fit to the others.
        left_out_errors: (n,): measured minus that, in standard deviations.
    """

    left_out_ms: Floats
    left_out_errors: Floats


def require_latencies(latency_ms: Floats, networks: int) -> None:
    """Refuse what is no sample to fit to.

    Raises:
        BadInputError: the latencies are not one for each network, or not positive and finite.
    """
    if latency_ms.shape != (networks,) or not (np.isfinite(latency_ms) & (latency_ms > 0)).all():
        raise BadInputError("a fit takes one positive latency for each network")


def fit_grouped_ridge(features: Floats, groups: NDArray[np.integer[Any]], latency_ms: Floats) -> GroupedRidge:
    """Fit prices to latencies.

    Args:
        features: (n, features).
        groups: (features,) of each feature, numbers from 0 on.
        latency_ms: (n,) positive.
    """
    scale = float(latency_ms.mean())
    sample = _Sample(_with_base(features), groups, latency_ms / scale)
    expected, weight = sample.target, np.ones(len(latency_ms))
    logarithms = np.array([_FIRST_PRICE] * (int(sample.groups.max()) + 1) + [_FIRST_ERROR] * _ERRORS)
    bounds = [_PRICE_BOUNDS] * (len(logarithms) - _ERRORS) + [_ERROR_BOUNDS] * _ERRORS
    for _ in range(_PASSES):
        told = optimize.minimize(_surprise, logarithms, (sample, expected, weight), method="L-BFGS-B", bounds=bounds)
        logarithms = told.x
        solved = _solve(logarithms, sample, expected, weight)
        # The error's variance goes by what is expected, since a latency that is low by chance is no surer for that.
        expected = np.maximum(solved.left_out, sample.target.min())
        errors = np.abs(sample.target - solved.left_out) / np.sqrt(sample.variance(logarithms, expected))
        weight = 1 / np.maximum(1.0, errors / (_HUBER * _MAD * np.median(errors)))
    deviations = np.sqrt(solved.left_out_variance + sample.variance(logarithms, expected))
    absolute, relative = np.exp(logarithms[-_ERRORS:] / 2)
    return GroupedRidge(
        coefficients=solved.mean * scale,
        covariance=solved.covariance * scale**2,
        absolute=float(absolute) * scale,
        relative=float(relative),
        left_out_ms=solved.left_out * scale,
        left_out_errors=(sample.target - solved.left_out) / deviations,
    )


@dataclass(frozen=True, eq=False)
class _Sample:
    """What is fitted to: features with the base's, their groups, latencies relative to their mean."""

    rows: Floats
    groups: NDArray[np.integer[Any]]
    target: Floats

    def variance(self, logarithms: Floats, expected: Floats) -> Floats:
        """Return (n,) the variances of errors, of those that are as good as most."""
        absolute, relative = np.exp(logarithms[-_ERRORS:])
        variance: Floats = absolute + relative * expected**2
        return variance

    def precision(self, logarithms: Floats) -> Floats:
        """Return (1 + features,) the precisions of the coefficients before anything is measured."""
        return np.concatenate([[1 / _BASE_VARIANCE], np.exp(-logarithms[self.groups])])


@dataclass(frozen=True, eq=False)
class _Solved:
    """The coefficients' mean and covariance, and mean and variance of what each latency is from all the others."""

    mean: Floats
    covariance: Floats
    left_out: Floats
    left_out_variance: Floats


def _solve(logarithms: Floats, sample: _Sample, expected: Floats, weight: Floats) -> _Solved:
    rows, target = sample.rows, sample.target
    known = weight / sample.variance(logarithms, expected)
    information = rows.T @ (known[:, None] * rows) + np.diag(sample.precision(logarithms))
    covariance = np.asarray(np.linalg.inv(information), np.float64)
    mean = covariance @ (rows.T @ (known * target))
    uncertain = np.einsum("nf,fg,ng->n", rows, covariance, rows)
    others = 1 - known * uncertain
    return _Solved(mean, covariance, target - (target - rows @ mean) / others, uncertain / others)


def _surprise(logarithms: Floats, sample: _Sample, expected: Floats, weight: Floats) -> float:
    """Return the negative logarithm of the evidence, but for a constant."""
    rows, target = sample.rows, sample.target
    known, precision = weight / sample.variance(logarithms, expected), sample.precision(logarithms)
    factor = np.linalg.cholesky(rows.T @ (known[:, None] * rows) + np.diag(precision))
    told = np.linalg.solve(factor, rows.T @ (known * target))
    left = float(known @ target**2 - told @ told)
    determinant = 2 * np.log(np.diag(factor)).sum() - np.log(precision).sum() - np.log(known).sum()
    return 0.5 * float(left + determinant)


def _with_base(features: Floats) -> Floats:
    return np.concatenate([np.ones((len(features), 1)), features], axis=1)
