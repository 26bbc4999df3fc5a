"""Pure functions on latencies: medians, their distribution-free intervals, when to look. Standard library only."""

from __future__ import annotations

import math
from typing import NamedTuple, Sequence, Tuple

# Looks at which a block may stop, about half as many again each time; and what of the 5% each may spend.
LOOKS = (8, 12, 18, 27, 40, 60, 90, 135, 200)
_ERROR = 0.05
# Makes the MAD of a normal distribution its standard deviation.
_MAD_TO_SIGMA = 1.4826


class MedianInterval(NamedTuple):
    """An interval for a median, in the unit of the values.

    Attributes:
        low: its lower end.
        high: its upper end.
        confidence: the probability that it covers the median, which few values may keep below what was asked.
    """

    low: float
    high: float
    confidence: float


def median(values: Sequence[float]) -> float:
    """Return the median; of an even count, the mean of the two middle values.

    Raises:
        ValueError: there are no values.
    """
    if not values:
        raise ValueError("the median of no values is not defined")
    ordered = sorted(values)
    middle = len(ordered) // 2
    return float(ordered[middle]) if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2


def middle_mean(values: Sequence[float]) -> float:
    """Return the mean of the middle half: as robust as is needed, and finer than a clock that tells whole numbers.

    Raises:
        ValueError: there are no values.
    """
    if not values:
        raise ValueError("the mean of no values is not defined")
    ordered = sorted(values)
    quarter = len(ordered) // 4
    middle = ordered[quarter : len(ordered) - quarter]
    return math.fsum(middle) / len(middle)


def median_interval(values: Sequence[float], confidence: float = 0.95) -> MedianInterval:
    """Return the narrowest symmetric order-statistic interval of the median with at least `confidence`.

    For independent values of any continuous distribution, the number below the median is Binomial(n, 1/2), so
    the r-th smallest and r-th largest cover it with probability 1 - 2·P(Binomial < r) (David and Nagaraja, Order
    Statistics, 3rd ed., section 7.1). Too few values for any such interval (below six for 95%) give their range,
    with the confidence that it has.

    Raises:
        ValueError: there are no values, or `confidence` is not between 0 and 1.
    """
    if not values:
        raise ValueError("the interval of no values is not defined")
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must lie between 0 and 1, not {confidence}")
    ordered = sorted(values)
    rank, tail = _widest_rank(len(ordered), 1 - confidence)
    return MedianInterval(float(ordered[rank - 1]), float(ordered[len(ordered) - rank]), max(0.0, 1 - 2 * tail))


def _widest_rank(count: int, error: float) -> Tuple[int, float]:
    """Return the greatest rank r with 2·P(Bin(count, 1/2) < r) <= error, at least 1, and that tail P."""
    # Exact integers: 0.5**count underflows and binomial coefficients overflow long before sums of them do.
    whole = 1 << count
    coefficient, cumulative, rank = 1, 1, 1
    while rank < count / 2:
        coefficient = coefficient * (count - rank + 1) // rank
        if 2 * (cumulative + coefficient) / whole > error:
            break
        cumulative, rank = cumulative + coefficient, rank + 1
    return rank, cumulative / whole


def sequential_confidence(count: int) -> float:
    """Return the confidence that an interval of `count` values must have so that all looks together keep 95%.

    The k-th look may spend 5%·2^-k, so that however many looks there are the sum stays below 5% (union bound).
    Between two looks nothing is decided, and the error of the earlier one holds.
    """
    passed = sum(1 for look in LOOKS if look <= count)
    return 1 - _ERROR * 0.5 ** max(1, passed)


def is_look(count: int) -> bool:
    """Tell whether a block with `count` values may stop now."""
    return count in LOOKS


def shorth(values: Sequence[float]) -> float:
    """Return the median of the shortest half of the values: where most of them lie.

    Robust against any disturbance that hits less than half of the time, and against one that scatters (Rousseeuw
    and Leroy, Robust Regression and Outlier Detection, 1987, section 4.2).

    Raises:
        ValueError: there are no values.
    """
    ordered = sorted(values)
    half = len(ordered) // 2 + 1
    starts = range(len(ordered) - half + 1)
    start = min(starts, key=lambda first: ordered[first + half - 1] - ordered[first], default=0)
    return median(ordered[start : start + half])


def relative_spread_pct(values: Sequence[float]) -> float:
    """Return the robust standard deviation (scaled MAD) of values in percent of their median.

    Raises:
        ValueError: there are no values.
    """
    middle = median(values)
    return 100 * _MAD_TO_SIGMA * median([abs(value - middle) for value in values]) / middle if middle else math.inf
