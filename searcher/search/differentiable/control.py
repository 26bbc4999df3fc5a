"""What a point of control means to a search: which prices it sets, and which operations it prefers.

A search learns a structure for every point at once. The two simplexes are of "Neural architecture search with target
hardware control" (Firsov 2024), the second one with prices in the place of operations; the scalar is of DARTS-CC
(Yakovlev, Grebenkova, Bakhteev and Strijov, "Neural Architecture Search with Structure Complexity Control", 2022).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from searcher.errors import BadInputError
from searcher.search.differentiable.simplex import Dirichlet, Distribution, FirstUniform, simplex_grid

COMPLEXITY = "complexity"


@dataclass(frozen=True, eq=False)
class Prices:
    """What the terms of the objective weigh beside the task's loss, which weighs 1.

    Attributes:
        complexity: of the complexity ratio, (…) in float64, where … are the points that are priced.
        latency: (…, devices) of each device's latency term, in float64.
    """

    complexity: Tensor
    latency: Tensor


class Control(Protocol):
    """What is drawn in each step of a search, and what it means."""

    @property
    def name(self) -> str:
        """What users call it."""

    @property
    def dimension(self) -> int:
        """Coordinates of a point."""

    def draw(self, generator: torch.Generator) -> Tensor:
        """Draw a point, (dimension,) in float64, from a distribution that stays as it is."""

    def prices(self, point: Tensor) -> Prices:
        """Return the prices at points, (…, dimension)."""

    def prior(self, point: Tensor) -> Tensor | None:
        """Return (…, choices) what points add to the logits of every position; None where they add nothing."""

    def grid(self, divisions: int) -> Tensor:
        """Return (n, dimension) points that cover the control evenly, in lexicographic order."""

    def ladders(self, divisions: int) -> Mapping[str, Tensor]:
        """Return points along which one price rises, (divisions + 1, dimension), by the name of what is priced.

        The name is `complexity` or that of a device; empty where the control changes no price.
        """


class PriceSimplex:
    """Shares of attention: to the task, to complexity and to latency on each device.

    The task always weighs 1, so that it never vanishes: a vertex is the dearest price of one thing alone.
    """

    name = "prices"

    def __init__(
        self,
        devices: Sequence[str],
        most_complexity: float,
        most_latency: float,
        distribution: Distribution = FirstUniform(),  # noqa: B008 # frozen
    ) -> None:
        """Set the dearest prices.

        Args:
            devices: their names; points have 2 + devices coordinates: task, complexity, devices.
            most_complexity: price of the complexity ratio at its vertex.
            most_latency: price of a device's latency term at its vertex.
            distribution: of points; by default the task's share is uniform, however many devices there are.

        Raises:
            BadInputError: two devices have one name, or a price is negative or not finite.
        """
        _require_distinct(devices)
        _require_prices(most_complexity, most_latency)
        self.devices = tuple(devices)
        self.dimension = 2 + len(self.devices)
        self._most_complexity = most_complexity
        self._most_latency = most_latency
        self._distribution = distribution

    def draw(self, generator: torch.Generator) -> Tensor:
        """Draw a point of the simplex."""
        return self._distribution.draw(self.dimension, generator)

    def prices(self, point: Tensor) -> Prices:
        """Return the share of each price that the point's coordinates are."""
        return Prices(self._most_complexity * point[..., 1], self._most_latency * point[..., 2:])

    def prior(self, point: Tensor) -> None:
        """Return None: no operation is preferred."""

    def grid(self, divisions: int) -> Tensor:
        """Return the points whose coordinates are multiples of 1 ÷ divisions."""
        return simplex_grid(self.dimension, divisions)

    def ladders(self, divisions: int) -> Mapping[str, Tensor]:
        """Return the edges of the simplex that lead from the task's vertex to that of each price."""
        shares = torch.linspace(0, 1, divisions + 1, dtype=torch.float64)
        ladders = {}
        for coordinate, name in enumerate((COMPLEXITY, *self.devices), start=1):
            points = torch.zeros(divisions + 1, self.dimension, dtype=torch.float64)
            points[:, 0], points[:, coordinate] = 1 - shares, shares
            ladders[name] = points
        return ladders


class OperationSimplex:
    """Preferences for each of the k operations, at prices that are the same everywhere: the paper's simplex."""

    name = "operations"

    def __init__(
        self,
        choices: int,
        complexity: float,
        latency: Sequence[float],
        strength: float = 5.0,
        distribution: Distribution = Dirichlet(),  # noqa: B008 # frozen
    ) -> None:
        """Set the fixed prices, and what a preference is worth.

        Args:
            choices: k, of the space.
            complexity: price of the complexity ratio.
            latency: price of each device's latency term.
            strength: what the whole preference for one operation adds to its logits.
            distribution: of points.

        Raises:
            BadInputError: there are less than two choices, or a number is negative or not finite.
        """
        if choices < 2:
            raise BadInputError(f"a preference needs at least two choices, not {choices}")
        _require_prices(complexity, *latency, strength)
        self.dimension = choices
        self._prices = Prices(
            torch.tensor(complexity, dtype=torch.float64), torch.tensor(list(latency), dtype=torch.float64)
        )
        self._strength = strength
        self._distribution = distribution

    def draw(self, generator: torch.Generator) -> Tensor:
        """Draw a point of the simplex."""
        return self._distribution.draw(self.dimension, generator)

    def prices(self, point: Tensor) -> Prices:
        """Return the fixed prices."""
        return self._prices

    def prior(self, point: Tensor) -> Tensor:
        """Return strength · (s - 1/k): of sum 0, and nothing at the centre."""
        return self._strength * (point - 1 / self.dimension)

    def grid(self, divisions: int) -> Tensor:
        """Return the points whose coordinates are multiples of 1 ÷ divisions."""
        return simplex_grid(self.dimension, divisions)

    def ladders(self, divisions: int) -> Mapping[str, Tensor]:
        """Return nothing: prices are the same everywhere."""
        return {}


class ScalarControl:
    """One price λ of complexity and of latency on every device, log-uniform between two bounds: DARTS-CC's.

    A point is (log λ - log lowest) ÷ (log highest - log lowest), so that points are uniform between 0 and 1.
    """

    name = "scalar"
    dimension = 1

    def __init__(self, lowest: float, highest: float, devices: Sequence[str]) -> None:
        """Set the bounds of λ.

        Raises:
            BadInputError: they are not positive, finite and rising, or two devices have one name.
        """
        if not 0 < lowest < highest < math.inf:
            raise BadInputError(f"a scalar price rises from a positive number, not from {lowest:g} to {highest:g}")
        _require_distinct(devices)
        self.devices = tuple(devices)
        self._lowest = lowest
        self._decades = math.log10(highest / lowest)

    @property
    def tables(self) -> int:
        """How many tables of logits its structure runs between: ⌊Δ log₁₀ λ⌋ + 1, but at least the two ends."""
        # A whole number of decades must not become one less by rounding.
        return max(2, math.floor(self._decades + 1e-9) + 1)

    def draw(self, generator: torch.Generator) -> Tensor:
        """Draw a point uniformly, which is λ log-uniformly."""
        return torch.rand(1, generator=generator, dtype=torch.float64)

    def prices(self, point: Tensor) -> Prices:
        """Return λ for everything."""
        price = self._lowest * 10 ** (self._decades * point)
        return Prices(price[..., 0], price.expand(*price.shape[:-1], len(self.devices)))

    def prior(self, point: Tensor) -> None:
        """Return None: no operation is preferred."""

    def grid(self, divisions: int) -> Tensor:
        """Return divisions + 1 points from the lowest price to the highest, evenly in log λ."""
        return torch.linspace(0, 1, divisions + 1, dtype=torch.float64)[:, None]

    def ladders(self, divisions: int) -> Mapping[str, Tensor]:
        """Return the grid, under the name of each thing that λ prices."""
        return dict.fromkeys((COMPLEXITY, *self.devices), self.grid(divisions))


def _require_distinct(devices: Sequence[str]) -> None:
    for index, device in enumerate(devices):
        if device == COMPLEXITY or device in devices[:index]:
            raise BadInputError(f"a device cannot be called {device!r}: that name is taken")


def _require_prices(*prices: float) -> None:
    for price in prices:
        if not 0 <= price < math.inf:
            raise BadInputError(f"a price is a finite number that is not negative, not {price:g}")
