"""A latency model of NAS-Bench-201 from whole networks alone: no table, a hundred latencies, published or measured.

What a device executes of a cell is not known without its graphs, and devices differ: the operations on the cell's
edges are counted under each rule of `executed_edges`, and a ridge regression with a group for each rule
(`grouped_ridge`) prices them as the latencies advise. Disconnected cells compute a constant, which runtimes know or do
not know; no search wants them, and the fit leaves them out. `cell_model` says what is predicted from such a fit, and
how its bounds are made.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from searcher.cost_models.cell_model import CellModel, CellPrices, connected_cells, doubtful, rule_counts
from searcher.cost_models.grouped_ridge import Floats, fit_grouped_ridge, require_latencies
from searcher.errors import BadInputError
from searcher.spaces.cell import OPERATIONS
from searcher.spaces.executed_edges import RULES
from searcher.spaces.nasbench201 import NasBench201
from searcher.spaces.space import SearchSpace
from searcher.tables.network_latencies import NetworkLatencies, NetworkLatency

# Below this the groups' variances are guesses.
FEWEST_NETWORKS = 30


class NetworkFit(CellModel):
    """Predicts latency, and bounds it; fits `CostModel` and `BoundedCostModel`."""

    def __init__(
        self,
        space: NasBench201,
        genotypes: NDArray[np.integer[Any]],
        measured_ms: Floats,
        intervals_ms: Floats | None = None,
    ) -> None:
        """Fit.

        Args:
            space: of the cells.
            genotypes: (n, 6) of networks drawn at random, of which at least FEWEST_NETWORKS are connected.
            measured_ms: (n,) their latencies.
            intervals_ms: (n, 2) where the latencies are predictions: the fit then judges itself by both ends of the
                interval of each, as if both had been measured; None where they were measured.

        Raises:
            BadInputError: these are no encodings of the space, the latencies are not positive or not as many, or too
                few networks are connected.
        """
        sample, latencies = connected_sample(space, genotypes, measured_ms)
        ridge = fit_grouped_ridge(rule_counts(sample), np.repeat(np.arange(len(RULES)), len(OPERATIONS)), latencies)
        errors = ridge.left_out_errors[None, :]
        if intervals_ms is not None:
            ends_ms = intervals_ms[connected_cells(space, genotypes)].T
            counts = rule_counts(sample)
            errors = (ends_ms - ridge.predict(counts)) / ridge.deviations(counts)
        super().__init__(space, CellPrices.of(ridge, errors, float(latencies.min()), doubtful(sample)))
        self._left_out_ms = ridge.left_out_ms

    @classmethod
    def of(cls, space: NasBench201, latencies: NetworkLatencies) -> NetworkFit:
        """Fit to a file of latencies.

        Raises:
            BadInputError: it is of another space, or as for the class.
        """
        if latencies.space != space.name:
            raise BadInputError(f"the latencies are of the space {latencies.space!r}, not of {space.name!r}")
        return cls(space, *encoded(space, latencies.networks))

    @property
    def left_out_ms(self) -> Floats:
        """(n,) what is predicted for each connected network of the sample by the fit to the others, in ms."""
        return self._left_out_ms.copy()


def encoded(space: SearchSpace, networks: Mapping[str, NetworkLatency]) -> tuple[NDArray[np.int64], Floats]:
    """Return (n, genes) encodings of networks, which are given by their texts, and (n,) their latencies in ms.

    Raises:
        BadInputError: a text is no architecture of the space.
    """
    genotypes = np.array([space.parse(text).genotype for text in networks], np.int64).reshape(len(networks), -1)
    return genotypes, np.array([one.median_ms for one in networks.values()], np.float64)


def connected_sample(
    space: NasBench201, genotypes: NDArray[np.integer[Any]], measured_ms: Floats
) -> tuple[NDArray[np.integer[Any]], Floats]:
    """Return the connected networks of a sample that a model can be fitted to, with their latencies.

    Raises:
        BadInputError: these are no encodings of the space, the latencies are not positive or not as many, or too few
            networks are connected.
    """
    require_latencies(measured_ms, len(genotypes))
    connected = connected_cells(space, genotypes)
    if connected.sum() < FEWEST_NETWORKS:
        raise BadInputError(f"a fit takes {FEWEST_NETWORKS} connected networks at least, not {connected.sum()}")
    return genotypes[connected], measured_ms[connected]
