"""How well predicted latencies agree with measured ones: errors, shares within bounds, rank correlations, worst cases.

Every figure has a percentile bootstrap interval (Efron and Tibshirani, An Introduction to the Bootstrap, 1993, 13.3):
networks are drawn with replacement, each with both of its latencies. It tells how much the figure depends on which
networks were measured; it knows nothing of what the measurements themselves are off by.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from searcher.errors import BadInputError

_Latencies = NDArray[np.float64]

# A correlation has no value in a resample that drew one network alone. Where many have none, an interval of the others
# would say more than is known.
_MOST_WITHOUT_VALUE = 0.05


@dataclass(frozen=True)
class Estimate:
    """One figure.

    Attributes:
        value: of the networks as they are; None for a correlation where either side is the same for all of them.
        interval: ends of its bootstrap interval; None where `value` is None or more than 5% of the resamples have none.
    """

    value: float | None
    interval: tuple[float, float] | None


class Figures(NamedTuple):
    """The figures that `Agreement` has, in its order, without their intervals."""

    mape_pct: float
    rmse_ms: float
    within_5_share: float
    within_10_share: float
    spearman: float | None
    kendall_tau: float | None


@dataclass(frozen=True)
class Case:
    """One network's latencies in ms, and 100 · (predicted - measured) ÷ measured."""

    name: str
    predicted_ms: float
    measured_ms: float
    error_pct: float


@dataclass(frozen=True)
class Agreement:
    """How well predictions agree with measurements; all fields go into JSON as they are.

    Attributes:
        networks: how many were compared.
        mape_pct: mean of |error|, in percent of the measured latency.
        rmse_ms: root of the mean squared difference, in ms.
        within_5_share: share (0 to 1) of networks with |error| of at most 5%.
        within_10_share: share (0 to 1) of networks with |error| of at most 10%.
        spearman: Pearson's correlation of the ranks, ties with their mean rank.
        kendall_tau: Kendall's τ-b, which accounts for ties.
        confidence: of all intervals.
        resamples: that they come from.
        worst: the networks with the largest |error|, the worst first.
    """

    networks: int
    mape_pct: Estimate
    rmse_ms: Estimate
    within_5_share: Estimate
    within_10_share: Estimate
    spearman: Estimate
    kendall_tau: Estimate
    confidence: float
    resamples: int
    worst: tuple[Case, ...]


def agreement(
    predicted_ms: Mapping[str, float],
    measured_ms: Mapping[str, float],
    generator: np.random.Generator,
    resamples: int = 1000,
    confidence: float = 0.95,
    worst: int = 5,
) -> Agreement:
    """Compare predicted with measured latencies.

    The order of the mappings is of no consequence.

    Args:
        predicted_ms: by the network's name.
        measured_ms: of the same networks.
        generator: draws the resamples.
        resamples: at least 1; the time grows with it (about half a second for a thousand of a hundred networks).
        confidence: between 0 and 1.
        worst: how many of the worst cases to name.

    Raises:
        BadInputError: there is no network, the two are not of the same networks, a measured latency is not positive,
            a number is not finite, or an argument is out of its range.
    """
    if resamples < 1 or not 0 < confidence < 1 or worst < 0:
        raise BadInputError(
            f"agreement takes at least 1 resample, a confidence between 0 and 1 and no negative number of worst cases, "
            f"not {resamples}, {confidence} and {worst}"
        )
    names = _common_names(predicted_ms, measured_ms)
    predicted, measured = (np.array([one[name] for name in names], np.float64) for one in (predicted_ms, measured_ms))
    errors = error_pct(predicted, measured)
    values = _figures(predicted, measured, errors)
    drawn = []
    for _ in range(resamples):
        chosen = generator.integers(len(names), size=len(names))
        drawn.append(_figures(predicted[chosen], measured[chosen], errors[chosen]))
    mape_pct, rmse_ms, within_5, within_10, rank_correlation, tau = (
        Estimate(value, percentile_interval(value, resampled, confidence))
        for value, resampled in zip(values, zip(*drawn, strict=True), strict=True)
    )
    order = np.argsort(-np.abs(errors), kind="stable")[:worst]
    cases = (Case(names[one], float(predicted[one]), float(measured[one]), float(errors[one])) for one in order)
    return Agreement(
        networks=len(names),
        mape_pct=mape_pct,
        rmse_ms=rmse_ms,
        within_5_share=within_5,
        within_10_share=within_10,
        spearman=rank_correlation,
        kendall_tau=tau,
        confidence=confidence,
        resamples=resamples,
        worst=tuple(cases),
    )


def error_pct(predicted_ms: _Latencies, measured_ms: _Latencies) -> NDArray[np.float64]:
    """Return 100 · (predicted - measured) ÷ measured of each pair.

    Raises:
        BadInputError: the arrays differ in shape, a measured latency is not positive, or a number is not finite.
    """
    if predicted_ms.shape != measured_ms.shape:
        raise BadInputError(f"{predicted_ms.shape} predictions do not fit {measured_ms.shape} measurements")
    if not (np.isfinite(predicted_ms).all() and np.isfinite(measured_ms).all()):
        raise BadInputError("a latency is not a finite number")
    if not (measured_ms > 0).all():
        raise BadInputError(f"a measured latency is positive, not {measured_ms.min():g} ms")
    errors: NDArray[np.float64] = 100 * (predicted_ms - measured_ms) / measured_ms
    return errors


def spearman(first: _Latencies, second: _Latencies) -> float | None:
    """Return Spearman's rank correlation, ties with their mean rank; None where either side is constant."""
    if _is_constant(first) or _is_constant(second):
        return None
    ranks = np.corrcoef(stats.rankdata(first), stats.rankdata(second))
    return float(np.clip(ranks[0, 1], -1.0, 1.0))


def kendall_tau(first: _Latencies, second: _Latencies) -> float | None:
    """Return Kendall's τ-b; None where either side is constant."""
    if _is_constant(first) or _is_constant(second):
        return None
    # Only the statistic is used, and the asymptotic p-value costs least; of two there is none.
    method = "asymptotic" if len(first) > 2 else "exact"
    return float(stats.kendalltau(first, second, variant="b", method=method).statistic)


def _is_constant(values: _Latencies) -> bool:
    return bool(values.min() == values.max())


def _common_names(predicted_ms: Mapping[str, float], measured_ms: Mapping[str, float]) -> list[str]:
    different = sorted(predicted_ms.keys() ^ measured_ms.keys())
    if different:
        others = f" and {len(different) - 1} more" if len(different) > 1 else ""
        raise BadInputError(f"predictions and measurements are not of the same networks: {different[0]}{others}")
    if not measured_ms:
        raise BadInputError("there are no networks to compare")
    return sorted(measured_ms)


def figures(predicted_ms: _Latencies, measured_ms: _Latencies) -> Figures:
    """Return the figures of predictions against measurements, without intervals.

    Raises:
        BadInputError: as `error_pct`.
    """
    return _figures(predicted_ms, measured_ms, error_pct(predicted_ms, measured_ms))


def _figures(predicted: _Latencies, measured: _Latencies, errors: NDArray[np.float64]) -> Figures:
    sizes = np.abs(errors)
    return Figures(
        float(sizes.mean()),
        float(np.sqrt(np.square(predicted - measured).mean())),
        float((sizes <= 5).mean()),
        float((sizes <= 10).mean()),
        spearman(predicted, measured),
        kendall_tau(predicted, measured),
    )


def percentile_interval(
    value: float | None, resampled: Sequence[float | None], confidence: float
) -> tuple[float, float] | None:
    """Return the percentile bootstrap interval of a figure from its values in resamples.

    Args:
        value: of all together.
        resampled: in each resample; None where it has no value there.
        confidence: between 0 and 1.

    Returns:
        Its ends; None where `value` is None or more than 5% of the resamples have none.
    """
    known = [one for one in resampled if one is not None]
    if value is None or len(resampled) - len(known) > _MOST_WITHOUT_VALUE * len(resampled):
        return None
    low, high = np.quantile(known, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)
