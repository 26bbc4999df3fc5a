"""A latency model of NAS-Bench-201 from whole networks alone: no table, a hundred latencies, published or measured.

What a device executes of a cell is not known without its graphs, and devices differ: the operations on the cell's
edges are counted under each rule of `executed_edges`, and a ridge regression with a group for each rule
(`grouped_ridge`) prices them as the latencies advise. Disconnected cells compute a constant, which runtimes know or do
not know; no search wants them, and the fit leaves them out.

The bound of a latency is its prediction plus so many of its standard deviations that a share of at least `confidence`
of the sample stays below, each network held against the fit to the others (the jackknife in the form of normalised
conformal prediction: Lei et al., JASA 2018, 5.2; Barber et al., Annals of Statistics 49, 2021, on what such bounds
guarantee: in practice the confidence, under the worst distribution less). Cells on which the rules agree and those on
which they do not are bounded apart (Mondrian conformal prediction: Vovk, Gammerman and Shafer, Algorithmic Learning in
a Random World, 2005, 4.5), since the latter err more on some devices, and a search's winners are mostly of the former.
Where the rules disagree, the bound is not below what the cell would cost if every edge were executed, either: a search
finds the cells whose dead edges the sample did not tell of.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from searcher.cost_models.conformal import conformal_ratio, networks_for
from searcher.cost_models.cost_model import LatencyRange
from searcher.cost_models.grouped_ridge import Floats, fit_grouped_ridge
from searcher.errors import BadInputError
from searcher.spaces.architecture import Architecture
from searcher.spaces.cell import NONE, OPERATIONS
from searcher.spaces.executed_edges import RULES, executed_edges
from searcher.spaces.nasbench201 import NasBench201
from searcher.tables.network_latencies import NetworkLatencies, NetworkLatency

# Below this the groups' variances are guesses.
FEWEST_NETWORKS = 30
_COMPUTING = [index for index, name in enumerate(OPERATIONS) if name != NONE]


class NetworkFit:
    """Predicts latency, and bounds it; fits `CostModel` and `BoundedCostModel`."""

    def __init__(self, space: NasBench201, genotypes: NDArray[np.integer[Any]], measured_ms: Floats) -> None:
        """Fit.

        Args:
            space: of the cells.
            genotypes: (n, 6) of networks drawn at random, of which at least FEWEST_NETWORKS are connected.
            measured_ms: (n,) their latencies.

        Raises:
            BadInputError: these are no encodings of the space, the latencies are not positive or not as many, or too
                few networks are connected.
        """
        self._space = space
        sample, latencies = connected_sample(space, genotypes, measured_ms)
        self._ridge = fit_grouped_ridge(_features(sample), np.repeat(np.arange(len(RULES)), len(OPERATIONS)), latencies)
        self._least_ms = float(latencies.min())
        self._doubtful = doubtful(sample)

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
        return self._ridge.left_out_ms.copy()

    def latency_ms(self, architecture: Architecture) -> float:
        """Return the predicted median latency of one inference, in ms."""
        return float(self.latencies_ms(self._encoded(architecture))[0])

    def latencies_ms(self, genotypes: NDArray[np.integer[Any]]) -> Floats:
        """Return (n,) predicted latencies in ms, of (n, 6) integer encodings; none is below the sample's least.

        Raises:
            BadInputError: these are no encodings of the space.
        """
        return np.maximum(self._ridge.predict(_features(genotypes)), self._least_ms)

    def upper_ms(self, architecture: Architecture, confidence: float) -> float:
        """Return a latency that the measured one stays below with this probability, in ms.

        It holds for networks drawn at random, as the sample was; a search that looks for low bounds finds those that
        are too low more often than not, so that its winners are measured again.

        Raises:
            BadInputError: the confidence is no share, or too high for the size of the sample.
        """
        return float(self.uppers_ms(self._encoded(architecture), confidence)[0])

    def uppers_ms(self, genotypes: NDArray[np.integer[Any]], confidence: float) -> Floats:
        """Return (n,) bounds as `upper_ms`, of (n, 6) integer encodings, never below the predictions.

        Raises:
            BadInputError: these are no encodings of the space, or the confidence cannot be had.
        """
        unsure = doubtful(genotypes)
        steps = np.where(unsure, self._steps(True, confidence), self._steps(False, confidence))
        bounds: Floats = self.latencies_ms(genotypes) + steps * self._ridge.deviations(_features(genotypes))
        whole_ms = self._ridge.predict(_features(genotypes, whole=True))
        return np.where(unsure, np.maximum(bounds, whole_ms), bounds)

    def latency_range(self, confidence: float | None = None) -> LatencyRange:
        """Return the range of the connected cells' predictions, or of their bounds.

        Raises:
            BadInputError: the confidence cannot be had.
        """
        genotypes = np.indices((len(OPERATIONS),) * 6).reshape(6, -1).T
        genotypes = genotypes[_connected(self._space, genotypes)]
        costs = self.latencies_ms(genotypes) if confidence is None else self.uppers_ms(genotypes, confidence)
        least, most = (Architecture(self._space.name, tuple(genotypes[at].tolist())) for at in _ends(costs))
        return LatencyRange(float(costs.min()), float(costs.max()), least, most)

    def _steps(self, of_doubtful: bool, confidence: float) -> float:
        """Return how many standard deviations above its prediction a bound is; all count where one kind is too few."""
        errors = self._ridge.left_out_errors
        own = errors[self._doubtful == of_doubtful]
        return max(0.0, conformal_ratio((own if len(own) >= networks_for(confidence) else errors).tolist(), confidence))

    def _encoded(self, architecture: Architecture) -> NDArray[np.int64]:
        if architecture.space != self._space.name:
            raise BadInputError(f"{architecture} is not an architecture of {self._space.name}.")
        return np.array([architecture.genotype], np.int64)


def encoded(space: NasBench201, networks: Mapping[str, NetworkLatency]) -> tuple[NDArray[np.int64], Floats]:
    """Return (n, 6) encodings of networks, which are given by their texts, and (n,) their latencies in ms.

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
    if measured_ms.shape != genotypes.shape[:1] or not (np.isfinite(measured_ms) & (measured_ms > 0)).all():
        raise BadInputError("a fit takes one positive latency for each network")
    connected = _connected(space, genotypes)
    if connected.sum() < FEWEST_NETWORKS:
        raise BadInputError(f"a fit takes {FEWEST_NETWORKS} connected networks at least, not {connected.sum()}")
    return genotypes[connected], measured_ms[connected]


def doubtful(genotypes: NDArray[np.integer[Any]]) -> NDArray[np.bool_]:
    """Return (n,) whether the rules disagree on which operations of a cell are executed.

    Raises:
        BadInputError: these are no encodings of the space.
    """
    counts = executed_edges(genotypes)[:, :, _COMPUTING]
    disagreeing: NDArray[np.bool_] = (counts[RULES.index("all")] != counts[RULES.index("live")]).any(axis=1)
    return disagreeing


def _features(genotypes: NDArray[np.integer[Any]], whole: bool = False) -> Floats:
    """Return (n, rules · operations) counts of operations, rule by rule; `whole` as if none left an edge out."""
    counts = executed_edges(genotypes)
    if whole:
        counts[:, :, _COMPUTING] = counts[RULES.index("all")][:, _COMPUTING]
    return np.concatenate(list(counts), axis=1)


def _connected(space: NasBench201, genotypes: NDArray[np.integer[Any]]) -> NDArray[np.bool_]:
    # The stem, which only networks execute whose output depends on their input.
    return np.asarray(space.block_counts(genotypes)[:, 1] > 0)


def _ends(costs: Floats) -> tuple[int, int]:
    return int(costs.argmin()), int(costs.argmax())
