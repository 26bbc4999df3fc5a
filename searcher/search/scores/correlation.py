"""How well scores put architectures in the order of their true accuracy, and whether one does better than another.

Kendall's τ-b, with percentile bootstrap intervals over architectures (Efron and Tibshirani, An Introduction to the
Bootstrap, 1993, 13.3). A resample is how often each architecture was drawn. With the signs of all differences in a
matrix, τ-b of a resample is then a quotient of quadratic forms of these counts (copies of one architecture tie, as they
do where a resample is written out), and thousands of resamples are a few products of matrices.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from searcher.cost_models.agreement import Estimate, kendall_tau, percentile_interval
from searcher.errors import BadInputError

RESAMPLES = 10_000

_Values = NDArray[np.float64]


def correlation(
    scores: _Values,
    accuracies: _Values,
    generator: np.random.Generator,
    resamples: int = RESAMPLES,
    confidence: float = 0.95,
) -> Estimate:
    """Return Kendall's τ-b of scores with true accuracies.

    The time grows with resamples · n², the memory with n² and resamples · n: ten thousand of 60 take an instant.

    Args:
        scores: (n,) one for each architecture.
        accuracies: (n,) of the same architectures.
        generator: draws the resamples.
        resamples: at least 1.
        confidence: of the interval, between 0 and 1.

    Raises:
        BadInputError: the arrays differ in shape or are empty, a number is not finite, or an argument is out of range.
    """
    _require_comparable(resamples, confidence, scores, accuracies)
    drawn = _drawn(len(scores), resamples, generator)
    return _estimate(kendall_tau(scores, accuracies), _resampled_tau(scores, accuracies, drawn), confidence)


def correlation_difference(
    first: _Values,
    second: _Values,
    accuracies: _Values,
    generator: np.random.Generator,
    resamples: int = RESAMPLES,
    confidence: float = 0.95,
) -> Estimate:
    """Return τ-b of the first scores minus τ-b of the second, each with the same true accuracies.

    The bootstrap is paired: each resample draws architectures with all that is known of them, so that what makes an
    architecture hard for both scores cancels.

    Args:
        first: (n,) one for each architecture.
        second: (n,) of the same architectures.
        accuracies: (n,) of the same architectures.
        generator: draws the resamples.
        resamples: at least 1.
        confidence: of the interval, between 0 and 1; its lower end is exceeded with (1 + confidence) ÷ 2.

    Raises:
        BadInputError: as `correlation`.
    """
    _require_comparable(resamples, confidence, first, second, accuracies)
    drawn = _drawn(len(first), resamples, generator)
    taus = kendall_tau(first, accuracies), kendall_tau(second, accuracies)
    value = None if taus[0] is None or taus[1] is None else taus[0] - taus[1]
    resampled = _resampled_tau(first, accuracies, drawn) - _resampled_tau(second, accuracies, drawn)
    return _estimate(value, resampled, confidence)


def _require_comparable(resamples: int, confidence: float, *values: _Values) -> None:
    if resamples < 1 or not 0 < confidence < 1:
        raise BadInputError(
            "a correlation takes at least 1 resample and a confidence between 0 and 1, "
            f"not {resamples} and {confidence:g}"
        )
    if any(one.ndim != 1 or one.shape != values[0].shape for one in values) or not len(values[0]):
        raise BadInputError(f"these are no numbers of the same architectures: {[one.shape for one in values]}")
    if not all(np.isfinite(one).all() for one in values):
        raise BadInputError("a score or an accuracy is not a finite number")


def _drawn(count: int, resamples: int, generator: np.random.Generator) -> _Values:
    """Return (resamples, n) how often each architecture is drawn."""
    return generator.multinomial(count, np.full(count, 1 / count), size=resamples).astype(np.float64)


def _resampled_tau(first: _Values, second: _Values, drawn: _Values) -> _Values:
    """Return (resamples,) τ-b; not a number where a resample has one side constant.

    All sums are of whole numbers and exact, whatever their order.
    """
    signs = [np.sign(side[:, None] - side) for side in (first, second)]
    together, alone, other = (
        ((drawn @ matrix) * drawn).sum(axis=1) for matrix in (signs[0] * signs[1], np.abs(signs[0]), np.abs(signs[1]))
    )
    with np.errstate(invalid="ignore"):
        taus: _Values = together / np.sqrt(alone * other)
    return taus


def _estimate(value: float | None, resampled: _Values, confidence: float) -> Estimate:
    known = [None if np.isnan(one) else float(one) for one in resampled]
    return Estimate(value, percentile_interval(value, known, confidence))
