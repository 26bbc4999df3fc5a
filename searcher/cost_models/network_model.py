"""A latency model of whole networks as a file: coefficients and errors, never the sample, and never a pickle.

Of nasbench201 it is what `network_fit` fits, with the edge-additive prices that a differentiable search needs beside it
(`additive_fit`); of fbnet what `chain_fit` fits.
History of the schema: 1, the first.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass

import numpy as np

from profiler_agent.records import TableKey
from searcher.cost_models.additive_fit import fit_edge_additive
from searcher.cost_models.cell_model import CellModel, CellPrices
from searcher.cost_models.chain_fit import ChainModel, fit_chains
from searcher.cost_models.edge_additive import EdgeAdditive
from searcher.cost_models.grouped_ridge import Floats
from searcher.cost_models.network_fit import NetworkFit, encoded
from searcher.documents import Document
from searcher.errors import BadInputError
from searcher.spaces.cell import EDGES, OPERATIONS
from searcher.spaces.fbnet import FBNet
from searcher.spaces.fbnet_layers import CHOICES, LAYERS
from searcher.spaces.nasbench201 import NasBench201
from searcher.spaces.space import SearchSpace
from searcher.tables.network_latencies import NetworkLatencies

SCHEMA_VERSION = 1
MODELLED = {"nasbench201": (len(EDGES), len(OPERATIONS)), "fbnet": (LAYERS, len(CHOICES))}
"""Spaces that have such models: how many positions, and choices at each."""
_DIGITS = 16


@dataclass(frozen=True)
class Sample:
    """The networks that a model was fitted to.

    Attributes:
        file: name of the file of their latencies.
        sha256: of its bytes.
        networks: how many it holds.
        source: where its figures come from, as it says.
        digests: `digest_of` each, sorted: nobody is to judge the model by them.
    """

    file: str
    sha256: str
    networks: int
    source: str
    digests: tuple[str, ...]


@dataclass(frozen=True)
class AdditivePrices:
    """A latency as a sum: base + Σ over positions of price[position][choice], in ms."""

    base_ms: float
    prices_ms: tuple[tuple[float, ...], ...]

    @classmethod
    def of(cls, additive: EdgeAdditive) -> AdditivePrices:
        """Take the prices of a model."""
        return cls(additive.base_ms, tuple(map(tuple, additive.prices_ms.tolist())))


@dataclass(frozen=True)
class NetworkModel:
    """A latency model of one space on one device, complete: the latencies are not needed to predict.

    Attributes:
        space: name of the search space.
        device: what the device is called.
        created: UTC date and time, ISO 8601.
        sample: what it was fitted to.
        key: conditions of the measurements; None for imported ones, whose conditions nobody knows.
        export_cells: cells per stage of the networks; None where it is not known, and for spaces without cells.
        sentinel_ms: latency of the agent's sentinel meanwhile, in ms; None if unknown.
        additive: prices of each choice by itself: of fbnet the model, of nasbench201 what has a gradient.
        ratios: of fbnet: measured ÷ what the fit to the other networks predicts, in ascending order; else None.
        cells: of nasbench201: the model; else None.
    """

    space: str
    device: str
    created: str
    sample: Sample
    key: TableKey | None
    export_cells: int | None
    sentinel_ms: float | None
    additive: AdditivePrices
    ratios: tuple[float, ...] | None = None
    cells: CellPrices | None = None
    schema_version: int = SCHEMA_VERSION

    def __post_init__(self) -> None:
        """Refuse what is no model of a space that has one.

        Raises:
            ValueError: the space has none, parts are missing, or numbers are of the wrong shape or out of range.
        """
        if self.space not in MODELLED:
            raise ValueError(f"there are models of networks of {' and '.join(MODELLED)}, not of {self.space!r}")
        if (self.cells is None) == (self.space == "nasbench201") or (self.ratios is None) == (self.space == "fbnet"):
            raise ValueError("cells are of nasbench201, and ratios of fbnet")
        positions, choices = MODELLED[self.space]
        prices = self.additive.prices_ms
        if len(prices) != positions or {*map(len, prices)} != {choices}:
            raise ValueError(f"{self.space} has {choices} prices at each of {positions} positions")
        if not all(map(math.isfinite, (self.additive.base_ms, *(price for row in prices for price in row)))):
            raise ValueError("prices are finite")
        if self.ratios is not None and not all(0 < ratio < math.inf for ratio in self.ratios):
            raise ValueError("ratios of measured to predicted latency are positive")
        least_ms = self.additive.base_ms + sum(min(row) for row in prices)
        if self.ratios is not None and least_ms <= 0:
            raise ValueError("its least latency is not positive")

    @property
    def expected(self) -> EdgeAdditive:
        """The additive prices as a model with a gradient."""
        return EdgeAdditive(self.space, self.additive.base_ms, np.array(self.additive.prices_ms, np.float64))

    def model(self, space: SearchSpace) -> CellModel | ChainModel:
        """Return what predicts.

        Args:
            space: with the sizes of the networks that are to be predicted.

        Raises:
            BadInputError: the model is of another space, or of networks of other sizes.
        """
        # No file of latencies tells sizes: they are of the networks that the space's own benchmark has.
        own = NasBench201() if isinstance(space, NasBench201) else FBNet()
        if space.name == self.space and space.image_shape != own.image_shape:
            raise BadInputError(f"the model is of networks for images of {own.image_shape[-1]} pixels a side")
        if isinstance(space, NasBench201) and self.cells is not None:
            if space.channels != NasBench201().channels:
                raise BadInputError(
                    f"the model is of networks of {NasBench201().channels} channels, not {space.channels}"
                )
            if self.export_cells not in (None, space.cells_per_stage):
                raise BadInputError(
                    f"the model is of networks of {self.export_cells} cells per stage, not {space.cells_per_stage}"
                )
            return CellModel(space, self.cells)
        if isinstance(space, FBNet) and self.ratios is not None:
            return ChainModel(space, self.expected, self.ratios)
        raise BadInputError(f"the model is of networks of {self.space}, not of {space.name}")


def digest_of(space: SearchSpace, text: str) -> str:
    """Return what tells an architecture, however its text is written, without telling it.

    Raises:
        BadInputError: the text is no architecture of the space.
    """
    return hashlib.sha256(space.format(space.parse(text)).encode()).hexdigest()[:_DIGITS]


NETWORK_MODEL_DOCUMENT = Document(NetworkModel, "model of network latencies", SCHEMA_VERSION)


def fit_network_model(latencies: NetworkLatencies, file: str, sha256: str, created: str) -> NetworkModel:
    """Fit a model to a file of network latencies.

    Args:
        latencies: of networks drawn at random.
        file: name of the file that they are from.
        sha256: of its bytes.
        created: UTC date and time, ISO 8601.

    Raises:
        BadInputError: there are no models of the space, or the latencies are too few or none of that space.
    """
    additive: EdgeAdditive
    ratios, cells = None, None
    if latencies.space == "nasbench201":
        space = NasBench201()
        sample = encoded(space, latencies.networks)
        intervals_ms = _intervals_ms(latencies) if latencies.predicted else None
        additive, cells = fit_edge_additive(space, *sample), NetworkFit(space, *sample, intervals_ms).prices
    elif latencies.space == "fbnet" and not latencies.predicted:
        chains = FBNet()
        model = fit_chains(chains, *encoded(chains, latencies.networks))
        additive, ratios = model.additive, model.ratios
    else:
        known = ("nasbench201",) if latencies.predicted else tuple(MODELLED)
        of_what = "predicted latencies of networks" if latencies.predicted else "networks"
        raise BadInputError(f"there are models of {of_what} of {' and '.join(known)}, not of {latencies.space!r}")
    try:
        return NetworkModel(
            space=latencies.space,
            device=latencies.device,
            created=created,
            sample=Sample(file, sha256, len(latencies.networks), latencies.source, _digests(latencies)),
            key=latencies.key,
            export_cells=latencies.export_cells,
            sentinel_ms=latencies.sentinel_ms,
            additive=AdditivePrices.of(additive),
            ratios=ratios,
            cells=cells,
        )
    except ValueError as e:
        raise BadInputError(f"no model comes of {file}: {e}") from e


def _intervals_ms(latencies: NetworkLatencies) -> Floats:
    return np.array([one.interval_ms for one in latencies.networks.values()], np.float64)


def _digests(latencies: NetworkLatencies) -> tuple[str, ...]:
    space = NasBench201() if latencies.space == "nasbench201" else FBNet()
    return tuple(sorted(digest_of(space, text) for text in latencies.networks))
