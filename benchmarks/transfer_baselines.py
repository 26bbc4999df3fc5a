"""Simpler ways to predict a new device's latencies, which `benchmarks.transfer` holds the transfer against.

All take the latencies of known devices in all cells and those of the new one in a few, and rank all cells.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from benchmarks.published_cells import Cells, Floats
from searcher.cost_models.prices import FLOPS as MACS
from searcher.cost_models.prices import CountPrice
from searcher.spaces.executed_edges import RULES, executed_edges
from searcher.spaces.nasbench201 import NasBench201

Rows = NDArray[np.int64]

RIDGE, RIDGE_WITH_COUNTS, FLOPS, NEAREST = "ridge", "ridge_with_counts", "flops", "nearest_device"
BASELINES = (RIDGE, RIDGE_WITH_COUNTS, FLOPS, NEAREST)
_PENALTIES = 10.0 ** np.arange(-3.0, 3.5, 0.5)


@dataclass(frozen=True, eq=False)
class Baselines:
    """All that is known of all cells before the new device is measured.

    Attributes:
        latency_ms: (n, K) on known devices.
        live: (n, 5) counts of live operations.
        macs: (n,) multiply-accumulates of each network.
    """

    latency_ms: Floats
    live: Floats
    macs: Floats

    @classmethod
    def of(cls, cells: Cells, latency_ms: Floats) -> Baselines:
        """Count the operations of all cells."""
        live = executed_edges(cells.genotypes)[RULES.index("live")]
        millions = CountPrice(NasBench201(), MACS).costs(cells.genotypes)
        return cls(latency_ms, live, np.round(1e6 * millions))

    def predict(self, name: str, rows: Rows, measured_ms: Floats) -> Floats:
        """Return (n,) predictions of all cells; of some only the order means something.

        Args:
            name: one of BASELINES.
            rows: (m,) of the cells that were measured.
            measured_ms: (m,) on the new device.
        """
        logarithms = np.log(self.latency_ms)
        if name == RIDGE:
            return ridge(logarithms, rows, np.log(measured_ms))
        if name == RIDGE_WITH_COUNTS:
            return ridge(np.concatenate([logarithms, self.live[:, 1:]], axis=1), rows, np.log(measured_ms))
        if name == FLOPS:
            return self.macs
        return self._nearest(rows, measured_ms)

    def _nearest(self, rows: Rows, measured_ms: Floats) -> Floats:
        """Return the latencies of the device that ranks the sample most alike, rescaled to the sample's median."""
        known = self.latency_ms[rows]
        alike = [stats.spearmanr(one, measured_ms).statistic for one in known.T]
        nearest = int(np.nanargmax(alike))
        scaled: Floats = self.latency_ms[:, nearest] * np.median(measured_ms / known[:, nearest])
        return scaled


def ridge(features: Floats, rows: Rows, target: Floats) -> Floats:
    """Fit to some rows and predict all; the penalty is that which predicts each of the rows best from the others.

    Args:
        features: (n, f); standardised over all rows.
        rows: (m,) that the target is known of.
        target: (m,).
    """
    standard = (features - features.mean(axis=0)) / features.std(axis=0)
    sample, middle = standard[rows], target.mean()
    centre = sample.mean(axis=0)
    left, sizes, right = np.linalg.svd(sample - centre, full_matrices=False)
    told = left.T @ (target - middle)
    best, least = np.zeros(features.shape[1]), np.inf
    for penalty in _PENALTIES:
        shrunk = sizes**2 / (sizes**2 + penalty)
        influence = 1 / len(rows) + (left**2) @ shrunk
        errors = (target - middle - left @ (shrunk * told)) / np.maximum(1 - influence, 1e-9)
        if float(errors @ errors) < least:
            least = float(errors @ errors)
            best = right.T @ (sizes / (sizes**2 + penalty) * told)
    predicted: Floats = middle + (standard - centre) @ best
    return predicted
