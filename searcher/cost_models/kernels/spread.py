"""How much harder some kernels are to predict than others, learnt from errors on kernels that were left out.

    spread = exp(intercept + slopes · features), no less and no more than on any kernel that it was fitted to

Kernels that live in a cache which others use, too, vary more than those that stay in a core's own: intervals as wide
for all would be too wide for most of them and too narrow for a few (normalised conformal prediction: Papadopoulos,
Gammerman and Vovk, 2008; Lei et al., JASA 2018, 5.2).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from searcher.errors import BadInputError

Floats = NDArray[np.float64]

# The logarithm of a normal error's size has this deviation, and slopes are believed to be about as large as that, for
# features of deviation 1.
_ERROR_DEVIATION, _SLOPE_DEVIATION = 1.1, 0.3
# Below this share of the median, how small an error is says nothing.
_LEAST_SHARE = 0.05


@dataclass(frozen=True)
class Spread:
    """How far errors go for kernels of d features, relative to those of a usual one.

    Attributes:
        intercept: of the logarithm.
        slopes: (d,).
        low: the least spread.
        high: the greatest.
    """

    intercept: float
    slopes: tuple[float, ...]
    low: float
    high: float

    def __post_init__(self) -> None:
        """Refuse what is no spread.

        Raises:
            ValueError: the limits are not positive, or not in order.
        """
        if not 0 < self.low <= self.high:
            raise ValueError(f"a spread goes from a positive low to a high, not from {self.low} to {self.high}")

    def values(self, features: Floats) -> Floats:
        """Return (m,) spreads of kernels of (m, d) features."""
        logarithms = np.clip(self._logarithms(features), np.log(self.low), np.log(self.high))
        return np.asarray(np.exp(logarithms), dtype=np.float64)

    def _logarithms(self, features: Floats) -> Floats:
        return np.asarray(self.intercept + features @ np.array(self.slopes), dtype=np.float64)


def fit_spread(features: Floats, errors: Floats) -> Spread:
    """Fit by ridge regression.

    Args:
        features: (n, d).
        errors: (n,) of kernels that were left out, in whatever unit.

    Raises:
        BadInputError: more than half of the errors are zero: what was measured is no measurement.
    """
    sizes = np.abs(errors)
    usual = float(np.median(sizes))
    if usual == 0:
        raise BadInputError("latencies are predicted to the last digit, as no measured ones are")
    target = np.log(np.maximum(sizes, _LEAST_SHARE * usual) / usual)
    centre, scale = features.mean(axis=0), features.std(axis=0)
    scale = np.where(scale > 0, scale, 1.0)
    scaled = (features - centre) / scale
    shrunk = scaled.T @ scaled + (_ERROR_DEVIATION / _SLOPE_DEVIATION) ** 2 * np.eye(features.shape[1])
    slopes = np.linalg.solve(shrunk, scaled.T @ (target - target.mean())) / scale
    intercept = float(target.mean() - centre @ slopes)
    spreads = np.exp(intercept + features @ slopes)
    return Spread(intercept, tuple(slopes.tolist()), float(spreads.min()), float(spreads.max()))
