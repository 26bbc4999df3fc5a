"""A quick model of one type's kernels, to find out where a dataset needs more of them; no predictor to keep.

A line over the logarithms of the sizes (ridge), and trees over what it leaves (extremely randomised trees: Geurts et
al., Machine Learning 2006). It predicts the latency as it is measured, the runtime's call included, and never less than
the least that was measured: small kernels take hardly more than the call, which no line over logarithms knows.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import ExtraTreesRegressor
from sklearn.linear_model import Ridge

from searcher.errors import BadInputError
from searcher.spaces.block import BlockSpec
from searcher.spaces.kernels import FEATURES, kernel_features

FEWEST_POINTS = 8
_TREES = 60
_RIDGE = 1.0


class QuickModel:
    """Predicts what kernels of one type take; made by `of`."""

    def __init__(self, line: Ridge, trees: ExtraTreesRegressor, least_ms: float) -> None:
        self._line = line
        self._trees = trees
        self._least_ms = least_ms

    @classmethod
    def of(cls, specs: Sequence[BlockSpec], latency_ms: Sequence[float], generator: np.random.Generator) -> QuickModel:
        """Fit a model.

        Args:
            specs: kernels of one type, at least FEWEST_POINTS.
            latency_ms: what each took, in ms.
            generator: of the trees.

        Raises:
            BadInputError: there are too few kernels.
        """
        if len(specs) < FEWEST_POINTS:
            raise BadInputError(f"a model of kernels takes {FEWEST_POINTS} of them at least, not {len(specs)}")
        features, wanted = log_sizes(specs), np.log(np.asarray(latency_ms, dtype=np.float64))
        line = Ridge(alpha=_RIDGE).fit(features, wanted)
        trees = ExtraTreesRegressor(_TREES, random_state=int(generator.integers(2**31)))
        return cls(line, trees.fit(features, wanted - line.predict(features)), float(min(latency_ms)))

    def predict_ms(self, specs: Sequence[BlockSpec]) -> NDArray[np.float64]:
        """Return (kernels,) latencies, the runtime's call included, in ms."""
        features = log_sizes(specs)
        told: NDArray[np.float64] = np.exp(self._line.predict(features) + self._trees.predict(features))
        return np.maximum(told, self._least_ms)


def log_sizes(specs: Sequence[BlockSpec]) -> NDArray[np.float64]:
    """Return (kernels, sizes) logarithms of one more than each of FEATURES."""
    sizes = [kernel_features(spec) for spec in specs]
    # Some are zero: no multiply-accumulates, no activation.
    return np.log1p(np.array([[one[name] for name in FEATURES] for one in sizes], dtype=np.float64))
