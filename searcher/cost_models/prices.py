"""What prices architectures of a space in one quantity: latency, energy, memory, multiply-accumulates or parameters."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from searcher.cost_models.cost_model import BoundedCostModel, CostModel
from searcher.spaces.architecture import Architecture
from searcher.spaces.space import SearchSpace

LATENCY, ENERGY, MEMORY, FLOPS, PARAMETERS = "latency", "energy", "memory", "flops", "parameters"
# FLOPs as the field's tables print them, which are multiply-accumulates.
UNITS: Mapping[str, str] = {LATENCY: "ms", ENERGY: "mJ", MEMORY: "MB", FLOPS: "MFLOPs", PARAMETERS: "M"}


class Priced(Protocol):
    """Prices architectures in one quantity."""

    @property
    def name(self) -> str:
        """Where prices come from: a file, or the space."""

    @property
    def quantity(self) -> str:
        """One of UNITS."""

    @property
    def unit(self) -> str:
        """The unit of the quantity."""

    def cost(self, architecture: Architecture) -> float:
        """Return what an architecture costs, in the unit."""

    def costs(self, genotypes: NDArray[np.integer[Any]]) -> NDArray[np.float64]:
        """Return (n,) what `cost` says of each of (n, genes) integer encodings, but for rounding.

        Raises:
            BadInputError: these are no encodings of the space.
        """


@dataclass(frozen=True)
class LatencyPrice:
    """Latency in ms by a cost model; fits `Priced`."""

    name: str
    model: CostModel
    quantity: str = LATENCY
    unit: str = UNITS[LATENCY]

    def cost(self, architecture: Architecture) -> float:
        """Return the predicted latency, in ms."""
        return self.model.latency_ms(architecture)

    def costs(self, genotypes: NDArray[np.integer[Any]]) -> NDArray[np.float64]:
        """Return (n,) predicted latencies of (n, genes) encodings, in ms."""
        return self.model.latencies_ms(genotypes)


@dataclass(frozen=True)
class LatencyBound:
    """Upper bounds of latency in ms by a cost model, with one confidence; fits `Priced`."""

    name: str
    model: BoundedCostModel
    confidence: float
    quantity: str = LATENCY
    unit: str = UNITS[LATENCY]

    def cost(self, architecture: Architecture) -> float:
        """Return the bound, in ms."""
        return self.model.upper_ms(architecture, self.confidence)

    def costs(self, genotypes: NDArray[np.integer[Any]]) -> NDArray[np.float64]:
        """Return (n,) bounds of (n, genes) encodings, in ms."""
        return self.model.uppers_ms(genotypes, self.confidence)


class CountPrice:
    """Parameters or multiply-accumulates, in millions, as the space counts them; fits `Priced`.

    Both are sums over positions, each of which knows its own choice alone: what every choice adds is found out once.
    """

    def __init__(self, space: SearchSpace, quantity: str) -> None:
        """Find out what each choice of a space adds.

        Args:
            space: that counts.
            quantity: flops or parameters.
        """
        self.name = space.name
        self.quantity = quantity
        self.unit = UNITS[quantity]
        self._count: Callable[[Architecture], int] = space.parameters if quantity == PARAMETERS else space.macs
        positions, choices, _ = space.additive_counts().choices.shape
        none = [0] * positions
        self._base = self._count(Architecture(space.name, tuple(none)))
        self._added = np.zeros((positions, choices), np.int64)
        for position in range(positions):
            for choice in range(choices):
                genotype = (*none[:position], choice, *none[position + 1 :])
                self._added[position, choice] = self._count(Architecture(space.name, genotype)) - self._base

    def cost(self, architecture: Architecture) -> float:
        """Return the count, in millions."""
        return self._count(architecture) / 1e6

    def costs(self, genotypes: NDArray[np.integer[Any]]) -> NDArray[np.float64]:
        """Return (n,) counts of (n, genes) encodings, in millions."""
        counted = self._base + self._added[np.arange(len(self._added)), genotypes].sum(axis=1)
        return np.asarray(counted / 1e6, np.float64)
