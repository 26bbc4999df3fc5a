"""Limits on what an architecture costs: typed quantities, several at once, and by how much they are broken.

A violation has no unit, so that those of ms, mJ, MB and parameters add up: the share by which a cost is above its
limit.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from searcher.cost_models.prices import UNITS, Priced
from searcher.spaces.architecture import Architecture


@dataclass(frozen=True)
class Limit:
    """The most that an architecture may cost.

    Attributes:
        quantity: latency, energy, memory, flops or parameters.
        at_most: in the quantity's unit: ms, mJ, MB, MFLOPs (multiply-accumulates in millions) or millions.
        confidence: the probability with which the true cost is to stay below it; None holds the prediction itself
            against it.
        source: file that prices are from; None for what the space alone knows.
    """

    quantity: str
    at_most: float
    confidence: float | None = None
    source: str | None = None

    def __post_init__(self) -> None:
        """Refuse what limits nothing.

        Raises:
            ValueError: there is no such quantity, or the number is not positive and finite.
        """
        if self.quantity not in UNITS:
            raise ValueError(f"there are limits on {', '.join(UNITS)}, not on {self.quantity!r}")
        if not 0 < self.at_most < math.inf:
            raise ValueError(f"a limit on {self.quantity} is a positive number, not {self.at_most:g}")

    @property
    def unit(self) -> str:
        """The unit of `at_most`."""
        return UNITS[self.quantity]

    @property
    def text(self) -> str:
        """What a person reads, such as `latency (pi.json) of 12.5 ms`."""
        source = "" if self.source is None else f" ({self.source})"
        return f"{self.quantity}{source} of {self.at_most:g} {self.unit}"


@dataclass(frozen=True)
class Cost:
    """What an architecture costs of one limited quantity.

    Attributes:
        quantity: of the limit.
        value: predicted, in the quantity's unit.
        bound: what is held against the limit: an upper bound at its confidence, equal to `value` without one.
    """

    quantity: str
    value: float
    bound: float


@dataclass(frozen=True)
class Constraint:
    """A limit and what prices architectures for it.

    Attributes:
        limit: the most that they may cost.
        price: of the limit's quantity.
        bound_ratio: upper bound over prediction, where it is the same for all; 1 without a confidence.
        upper: tells the upper bounds where they are no such multiple; else None.
    """

    limit: Limit
    price: Priced
    bound_ratio: float = 1.0
    upper: Priced | None = None

    def cost(self, architecture: Architecture) -> Cost:
        """Return what an architecture costs."""
        value = self.price.cost(architecture)
        bound = value * self.bound_ratio if self.upper is None else self.upper.cost(architecture)
        return Cost(self.limit.quantity, value, bound)

    def bounds(self, genotypes: NDArray[np.integer[Any]]) -> NDArray[np.float64]:
        """Return (n,) what is held against the limit, of (n, genes) encodings, in the quantity's unit."""
        return self.price.costs(genotypes) * self.bound_ratio if self.upper is None else self.upper.costs(genotypes)


def violation(costs: Iterable[Cost], limits: Iterable[Limit]) -> float:
    """Return the sum over limits of max(0, bound ÷ at_most - 1): without a unit, 0 where all are kept."""
    return sum(max(0.0, cost.bound / limit.at_most - 1) for cost, limit in zip(costs, limits, strict=True))


def violations(constraints: Sequence[Constraint], genotypes: NDArray[np.integer[Any]]) -> NDArray[np.float64]:
    """Return (n, limits) by which share each of (n, genes) encodings is above each limit, 0 where it keeps it."""
    columns = [np.maximum(0.0, one.bounds(genotypes) / one.limit.at_most - 1) for one in constraints]
    return np.stack(columns, axis=1) if columns else np.zeros((len(genotypes), 0))
