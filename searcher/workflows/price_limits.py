"""What a user limits, with what prices it: tables, calibrations and models of devices, or the space alone."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from profiler_agent.records import TableKey
from searcher.cost_models.block_sum import BlockSum
from searcher.cost_models.bounded_sum import BoundedSum
from searcher.cost_models.calibrated import CalibratedModel
from searcher.cost_models.calibration import Calibration
from searcher.cost_models.cost_model import BoundedCostModel
from searcher.cost_models.energy_sum import EnergyPrice
from searcher.cost_models.memory_price import MemoryPrice
from searcher.cost_models.network_model import NetworkModel
from searcher.cost_models.prices import ENERGY, LATENCY, MEMORY, UNITS, CountPrice, LatencyBound, LatencyPrice, Priced
from searcher.errors import BadInputError
from searcher.search.limits import Constraint, Limit
from searcher.search.possible import bound_range
from searcher.spaces.space import SearchSpace
from searcher.tables.lookup_table import LookupTable

Prices = LookupTable | Calibration | NetworkModel

NEEDS_PRICES = (LATENCY, ENERGY)


@dataclass(frozen=True)
class WantedLimit:
    """A limit as it is asked for.

    Attributes:
        quantity: latency, energy, memory, flops or parameters.
        at_most: in the quantity's unit; None takes the middle of what the space can cost.
        prices: of a device, for latency and energy; None for what the space alone knows.
        source: what a user calls those prices, such as their file.
    """

    quantity: str
    at_most: float | None
    prices: Prices | None = None
    source: str | None = None

    def __post_init__(self) -> None:
        """Refuse what cannot be priced, before anything is loaded for it.

        Raises:
            BadInputError: there is no such quantity, the number is not positive and finite, or prices are missing, of
                the wrong kind, or of no use.
        """
        if self.quantity not in UNITS:
            raise BadInputError(f"there are limits on {', '.join(UNITS)}, not on {self.quantity!r}")
        if self.at_most is not None and not 0 < self.at_most < math.inf:
            unit = UNITS[self.quantity]
            raise BadInputError(f"a limit on {self.quantity} is a positive number of {unit}, not {self.at_most:g}")
        if (self.prices is None) == (self.quantity in NEEDS_PRICES):
            need = "takes the file that prices it" if self.prices is None else "is of the space alone: it takes no file"
            raise BadInputError(f"a limit on {self.quantity} {need}")
        if self.quantity == ENERGY and isinstance(self.prices, Calibration | NetworkModel):
            what = "a calibration" if isinstance(self.prices, Calibration) else "a model of networks"
            raise BadInputError(f"{what} tells no energies: a limit on energy takes a lookup table")

    @property
    def bounded(self) -> bool:
        """Whether the prices tell by how much a latency may be above its prediction."""
        if self.quantity != LATENCY:
            return False
        return bool(self.prices.predicted) if isinstance(self.prices, LookupTable) else self.prices is not None


def table_key_of(prices: Prices) -> TableKey | None:
    """Return under which key prices were measured; None where nobody knows."""
    return prices.table_key if isinstance(prices, Calibration) else prices.key


def constraints_of(
    space: SearchSpace, wanted: Sequence[WantedLimit], confidence: float | None, genotypes: NDArray[np.uint8]
) -> tuple[Constraint, ...]:
    """Price what is limited, in the order given.

    Args:
        space: of the networks that run on the devices.
        wanted: the limits.
        confidence: with which those on latency are to be kept whose prices know by how much they may be wrong; None
            for predictions themselves.
        genotypes: (n, genes) encodings of all connected architectures, for limits in the middle.

    Raises:
        BadInputError: prices do not fit the space, or the confidence is more than they can tell.
        MissingBlockError: a table lacks a block of the space.
        NotAdditiveError: a calibration has failed its own check.
    """
    return tuple(_constraint(space, one, confidence, genotypes) for one in wanted)


def _constraint(
    space: SearchSpace, wanted: WantedLimit, confidence: float | None, genotypes: NDArray[np.uint8]
) -> Constraint:
    price, ratio, upper = _plain_price(space, wanted), 1.0, None
    kept_with = confidence if wanted.bounded else None
    if kept_with is not None:
        model = _bounded_model(space, wanted)
        if isinstance(model, CalibratedModel):
            ratio = model.upper_ratio(kept_with)
        else:
            upper = LatencyBound(price.name, model, kept_with)
    # Any limit will do: what is looked for are the ends of what is held against it.
    unlimited = Constraint(Limit(wanted.quantity, 1.0), price, ratio, upper)
    at_most = wanted.at_most or bound_range(space, unlimited, genotypes).middle
    return replace(unlimited, limit=Limit(wanted.quantity, at_most, kept_with, wanted.source))


def _bounded_model(space: SearchSpace, wanted: WantedLimit) -> BoundedCostModel:
    if isinstance(wanted.prices, Calibration):
        return CalibratedModel(space, wanted.prices)
    if isinstance(wanted.prices, NetworkModel):
        return wanted.prices.model(space)
    if isinstance(wanted.prices, LookupTable):
        return BoundedSum(space, wanted.prices)
    raise BadInputError(f"nothing prices a limit on {wanted.quantity}")


def _plain_price(space: SearchSpace, wanted: WantedLimit) -> Priced:
    if isinstance(wanted.prices, Calibration):
        return LatencyPrice(wanted.source or "calibration", CalibratedModel(space, wanted.prices))
    if isinstance(wanted.prices, NetworkModel):
        return LatencyPrice(wanted.source or "the model", wanted.prices.model(space))
    if isinstance(wanted.prices, LookupTable):
        name = wanted.source or "the table"
        if wanted.quantity == ENERGY:
            return EnergyPrice(space, wanted.prices, name)
        return LatencyPrice(name, BlockSum(space, wanted.prices))
    return MemoryPrice(space) if wanted.quantity == MEMORY else CountPrice(space, wanted.quantity)
