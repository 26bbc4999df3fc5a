"""Pure functions on latencies: medians and their distribution-free intervals. Standard library only."""

from __future__ import annotations

import math
from typing import NamedTuple, Sequence


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


def median_interval(values: Sequence[float], confidence: float = 0.95) -> MedianInterval:
    """Return the narrowest symmetric order-statistic interval of the median with at least `confidence`.

    For independent values of any continuous distribution, the number below the median is Binomial(n, 1/2), so
    the r-th smallest and r-th largest cover it with probability 1 - 2·P(Binomial < r) (David and Nagaraja, Order
    Statistics, 3rd ed., section 7.1). Below six values no interval reaches 95%: the range is returned, with the
    confidence that it has.

    Raises:
        ValueError: there are no values, or `confidence` is not between 0 and 1.
    """
    if not values:
        raise ValueError("the interval of no values is not defined")
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must lie between 0 and 1, not {confidence}")
    ordered = sorted(values)
    count = len(ordered)
    rank, tail = 1, 0.5**count
    while rank < count / 2:
        wider_tail = tail + math.comb(count, rank) * 0.5**count
        if 1 - 2 * wider_tail < confidence:
            break
        rank, tail = rank + 1, wider_tail
    return MedianInterval(float(ordered[rank - 1]), float(ordered[count - rank]), max(0.0, 1 - 2 * tail))
