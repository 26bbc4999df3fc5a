"""The linear baseline: what a device takes for each kind of work, never less than nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import optimize

Floats = NDArray[np.float64]

_PASSES = 8
# Works that go together, as many do, make the search for the prices longer than its usual end.
_STEPS_PER_WORK = 100
# An error of more than two standard deviations counts less, as in Huber's function; these are told from the median of
# the errors' sizes, as for a normal distribution.
_HUBER, _MAD = 2.0, 1.4826
_LEAST_DEVIATION = 1e-4


def fit_baseline(works: Sequence[Mapping[str, float]], own_ms: Floats, scales_ms: Floats) -> dict[str, float]:
    """Fit by least squares with coefficients that are not negative (Lawson and Hanson, 1974, 23).

    Single latencies that fit nothing, as disturbed measurements do, count less.

    Args:
        works: of n kernels, as `terms` tells them.
        own_ms: (n,) what they take, in ms.
        scales_ms: (n,) by which their errors are measured, in ms.

    Returns:
        What one unit of each work takes, in ms; works that no kernel has are left out.
    """
    names = sorted({name for work in works for name, amount in work.items() if amount > 0})
    amounts = np.array([[work.get(name, 0.0) for name in names] for work in works])
    largest = amounts.max(axis=0)
    relative, target = amounts / largest / scales_ms[:, None], own_ms / scales_ms
    trust = np.ones(len(target))
    for _ in range(_PASSES):
        found, _ = optimize.nnls(relative * trust[:, None], target * trust, maxiter=_STEPS_PER_WORK * len(names))
        errors = np.abs(relative @ found - target)
        deviation = max(_MAD * float(np.median(errors)), _LEAST_DEVIATION)
        trust = np.sqrt(np.minimum(1.0, _HUBER * deviation / np.maximum(errors, _LEAST_DEVIATION)))
    prices = (found / largest).tolist()
    return dict(zip(names, prices, strict=True))


def baseline_ms(prices: Mapping[str, float], work: Mapping[str, float]) -> float:
    """Return what a kernel's work takes, in ms."""
    return sum(price * work.get(name, 0.0) for name, price in prices.items())
