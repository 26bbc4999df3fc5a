"""What others learn from the same measured kernels: random forests on raw sizes, and a line through the work."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import RandomForestRegressor

from searcher.cost_models.kernels.measured_kernel import MeasuredKernel
from searcher.cost_models.quick_kernel_model import log_sizes
from searcher.spaces.block import BlockSpec
from searcher.spaces.kernels import kernel_features, kernel_type

Floats = NDArray[np.float64]


class Forests:
    """A random forest for each type of kernel, on the logarithms of its sizes, as nn-Meter learns kernels.

    Zhang et al., MobiSys 2021, 4.3: random forests on the kernel's configuration, its FLOPs and its parameters.
    """

    def __init__(self, kernels: Sequence[MeasuredKernel], seed: int) -> None:
        self._forests = {}
        for name in sorted({kernel_type(one.spec) for one in kernels}):
            rows = [one for one in kernels if kernel_type(one.spec) == name]
            forest = RandomForestRegressor(n_estimators=200, random_state=seed)
            forest.fit(log_sizes([one.spec for one in rows]), np.log([one.latency_ms for one in rows]))
            self._forests[name] = forest

    def latency_ms(self, spec: BlockSpec) -> float:
        """Return what a kernel is expected to take, the runtime's call included, in ms."""
        return float(np.exp(self._forests[kernel_type(spec)].predict(log_sizes([spec]))[0]))


class Lines:
    """For each type of kernel a line through its work: multiply-accumulates, or numbers moved where there are none.

    Fitted by relative least squares.
    """

    def __init__(self, kernels: Sequence[MeasuredKernel]) -> None:
        self._lines = {}
        for name in sorted({kernel_type(one.spec) for one in kernels}):
            rows = [one for one in kernels if kernel_type(one.spec) == name]
            work = np.array([[1.0, _work(one.spec)] for one in rows])
            measured = np.array([one.latency_ms for one in rows])
            self._lines[name] = np.linalg.lstsq(work / measured[:, None], np.ones(len(rows)), rcond=None)[0]

    def latency_ms(self, spec: BlockSpec) -> float:
        """Return what a kernel is expected to take, the runtime's call included, in ms."""
        return float(np.array([1.0, _work(spec)]) @ self._lines[kernel_type(spec)])


def _work(spec: BlockSpec) -> float:
    features = kernel_features(spec)
    return features["macs"] or features["read"] + features["written"]
