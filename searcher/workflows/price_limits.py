"""What a user limits, with what prices it: tables and calibrations of devices, or the space alone."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from searcher.cost_models.block_sum import BlockSum
from searcher.cost_models.calibrated import CalibratedModel
from searcher.cost_models.calibration import Calibration
from searcher.cost_models.energy_sum import EnergyPrice
from searcher.cost_models.memory_price import MemoryPrice
from searcher.cost_models.prices import ENERGY, LATENCY, MEMORY, UNITS, CountPrice, LatencyPrice, Priced
from searcher.errors import BadInputError
from searcher.search.limits import Constraint, Limit
from searcher.search.possible import cost_range
from searcher.spaces.space import SearchSpace
from searcher.tables.lookup_table import LookupTable

Prices = LookupTable | Calibration

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
        if self.quantity == ENERGY and isinstance(self.prices, Calibration):
            raise BadInputError("a calibration tells no energies: a limit on energy takes a lookup table")


def constraints_of(
    space: SearchSpace, wanted: Sequence[WantedLimit], confidence: float | None, genotypes: NDArray[np.uint8]
) -> tuple[Constraint, ...]:
    """Price what is limited, in the order given.

    Args:
        space: of the networks that run on the devices.
        wanted: the limits.
        confidence: with which those on latency that a calibration prices are to be kept; None for predictions
            themselves.
        genotypes: (n, genes) encodings of all connected architectures, for limits in the middle.

    Raises:
        BadInputError: prices do not fit the space, or there are too few networks for the confidence.
        MissingBlockError: a table lacks a block of the space.
        NotAdditiveError: a calibration has failed its own check.
    """
    return tuple(_constraint(space, one, confidence, genotypes) for one in wanted)


def _constraint(
    space: SearchSpace, wanted: WantedLimit, confidence: float | None, genotypes: NDArray[np.uint8]
) -> Constraint:
    price: Priced
    ratio, kept_with = 1.0, None
    if wanted.quantity == LATENCY and isinstance(wanted.prices, Calibration):
        model = CalibratedModel(space, wanted.prices)
        price = LatencyPrice(wanted.source or "calibration", model)
        if confidence is not None:
            ratio, kept_with = model.upper_ratio(confidence), confidence
    else:
        price = _plain_price(space, wanted)
    at_most = wanted.at_most
    if at_most is None:
        at_most = cost_range(space, price, genotypes).times(ratio).middle
    return Constraint(Limit(wanted.quantity, at_most, kept_with, wanted.source), price, ratio)


def _plain_price(space: SearchSpace, wanted: WantedLimit) -> Priced:
    if isinstance(wanted.prices, LookupTable):
        name = wanted.source or "the table"
        if wanted.quantity == ENERGY:
            return EnergyPrice(space, wanted.prices, name)
        return LatencyPrice(name, BlockSum(space, wanted.prices))
    return MemoryPrice(space) if wanted.quantity == MEMORY else CountPrice(space, wanted.quantity)
