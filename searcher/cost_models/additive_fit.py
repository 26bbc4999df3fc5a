"""Edge-additive prices of NAS-Bench-201 from whole networks alone, for a search that needs a gradient and has no table.

    latency = base + Σ over edges e of: price[operation on e] + deviation[e, operation on e] + error

An operation's price is that of all six edges, and edges deviate from it as far as the sample itself advises
(`grouped_ridge`). What a runtime leaves out of a cell, dead edges and merged ones, is beyond such a model; the cells
that a search derives are priced by `network_fit`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from searcher.cost_models.edge_additive import EdgeAdditive
from searcher.cost_models.grouped_ridge import Floats, fit_grouped_ridge
from searcher.cost_models.network_fit import connected_sample
from searcher.spaces.cell import EDGES, NONE, OPERATIONS
from searcher.spaces.nasbench201 import NasBench201

_COSTING = [index for index, name in enumerate(OPERATIONS) if name != NONE]


def fit_edge_additive(space: NasBench201, genotypes: NDArray[np.integer[Any]], measured_ms: Floats) -> EdgeAdditive:
    """Fit a price for each operation on each edge; `none` costs nothing.

    Args:
        space: of the cells.
        genotypes: (n, 6) of networks drawn at random, as `NetworkFit` takes them.
        measured_ms: (n,) their latencies.

    Raises:
        BadInputError: as `NetworkFit`.
    """
    sample, latencies = connected_sample(space, genotypes, measured_ms)
    chosen = np.eye(len(OPERATIONS))[sample][:, :, _COSTING]  # (n, 6, 4)
    features = np.concatenate([chosen.sum(axis=1), chosen.reshape(len(sample), -1)], axis=1)
    groups = np.repeat([0, 1], [len(_COSTING), len(EDGES) * len(_COSTING)])
    coefficients = fit_grouped_ridge(features, groups, latencies).coefficients
    base, operations, deviations = np.split(coefficients, [1, 1 + len(_COSTING)])
    prices = np.zeros((len(EDGES), len(OPERATIONS)))
    prices[:, _COSTING] = operations + deviations.reshape(len(EDGES), -1)
    return EdgeAdditive(space.name, float(base[0]), prices)
