"""What can be kept: limits held against a whole space that is small enough to be priced whole, before any search."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from searcher.cost_models.cost_model import ImpossibleLimitError
from searcher.cost_models.prices import Priced
from searcher.errors import BadInputError
from searcher.search.limits import Constraint, violations
from searcher.spaces.architecture import Architecture
from searcher.spaces.space import SearchSpace

_MOST_PRICED = 1_000_000
# Prices of many at once and of one alone differ by their rounding.
_ROUNDING = 1e-9


@dataclass(frozen=True)
class CostRange:
    """What all connected architectures of a space cost.

    Attributes:
        low: the least, in the quantity's unit.
        high: the greatest.
    """

    low: float
    high: float

    @property
    def middle(self) -> float:
        """The middle of the range."""
        return (self.low + self.high) / 2

    def times(self, ratio: float) -> CostRange:
        """Return the range of what is the same multiple of every cost, such as an upper bound."""
        return CostRange(self.low * ratio, self.high * ratio)


def connected_encodings(space: SearchSpace) -> NDArray[np.uint8]:
    """Return (n, genes) encodings of all connected architectures, in lexicographic order.

    A disconnected network computes a constant: that is cheap, and no answer to any task.

    Raises:
        BadInputError: the space is too large.
    """
    positions, choices, _ = space.additive_counts().choices.shape
    if choices**positions > _MOST_PRICED:
        raise BadInputError(f"{space.name} is too large to be priced whole")
    genotypes = np.indices((choices,) * positions, dtype=np.uint8).reshape(positions, -1).T
    executes = space.block_counts(genotypes)[:, 1:].any(axis=1)  # the first column is the call
    connected: NDArray[np.uint8] = genotypes[executes]
    return connected


def bound_range(space: SearchSpace, constraint: Constraint, genotypes: NDArray[np.uint8]) -> CostRange:
    """Return the least and the greatest of what is held against a limit, as `cost_range`."""
    if constraint.upper is not None:
        return cost_range(space, constraint.upper, genotypes)
    return cost_range(space, constraint.price, genotypes).times(constraint.bound_ratio)


def cost_range(space: SearchSpace, price: Priced, genotypes: NDArray[np.uint8]) -> CostRange:
    """Return the least and the greatest cost, exactly.

    Args:
        space: of the architectures.
        price: of one quantity.
        genotypes: (n, genes) encodings of all connected architectures.
    """
    costs = price.costs(genotypes)
    ends = (genotypes[costs.argmin()], genotypes[costs.argmax()])
    low, high = (price.cost(Architecture(space.name, tuple(end.tolist()))) for end in ends)
    return CostRange(low, high)


def require_possible(
    space: SearchSpace, constraints: Sequence[Constraint], genotypes: NDArray[np.uint8]
) -> tuple[CostRange, ...]:
    """Return the range of what is held against each limit.

    Args:
        space: of the architectures.
        constraints: that are to be kept all at once.
        genotypes: (n, genes) encodings of all connected architectures.

    Raises:
        ImpossibleLimitError: a limit is below the least possible, or no architecture keeps several limits at once; the
            message tells the least possible.
    """
    ranges = tuple(bound_range(space, one, genotypes) for one in constraints)
    for constraint, found in zip(constraints, ranges, strict=True):
        if constraint.limit.at_most < found.low:
            unit = constraint.limit.unit
            raise ImpossibleLimitError(
                f"no architecture can keep the limit on {constraint.limit.text}: the least possible is "
                f"{found.low:.4f} {unit}"
            )
    broken = violations(constraints, genotypes)
    if broken.sum(axis=1).min() > _ROUNDING:
        raise ImpossibleLimitError(_conflict(space, constraints, genotypes, broken))
    return ranges


def _conflict(
    space: SearchSpace, constraints: Sequence[Constraint], genotypes: NDArray[np.uint8], broken: NDArray[np.float64]
) -> str:
    """Say which limits exclude each other: as few as possible, of equally few the first."""
    places = range(len(constraints))
    subsets = itertools.chain.from_iterable(
        itertools.combinations(places, count) for count in range(2, len(places) + 1)
    )
    together = next(one for one in subsets if broken[:, one].sum(axis=1).min() > _ROUNDING)
    sums = broken[:, together].sum(axis=1)
    nearest = int(sums.argmin())
    texts = [constraints[place].limit.text for place in together]
    costs = (constraints[place].bounds(genotypes[nearest : nearest + 1])[0] for place in together)
    needed = ", ".join(
        f"{cost:.4f} {constraints[place].limit.unit}" for cost, place in zip(costs, together, strict=True)
    )
    text = space.format(Architecture(space.name, tuple(genotypes[nearest].tolist())))
    return (
        f"no architecture can keep the limits on {', '.join(texts[:-1])} and {texts[-1]} at once: the least violation "
        f"is {sums[nearest]:.4f}, of {text} with {needed}"
    )
