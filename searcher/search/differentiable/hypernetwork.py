"""From a point of control to the logits of a structure: a blend of learned tables.

Source: the piecewise linear map is DARTS-CC's (Yakovlev et al. 2022); the map over a simplex weighs the tables by
softmax(-||S - p||² ÷ bandwidth), where the minus favours the nearest pivot.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from searcher.errors import BadInputError
from searcher.search.differentiable.control import Control, ScalarControl
from searcher.search.differentiable.simplex import simplex_grid

_FIRST_DEVIATION = 1e-3  # of logits: as DARTS begins, nearly uniform


class Hypernetwork(nn.Module, ABC):
    """A blend of tables of logits; how a point weighs them is what its two kinds differ in.

    Attributes:
        tables: (m, positions, choices) learned logits.
    """

    def __init__(self, count: int, positions: int, choices: int, generator: torch.Generator) -> None:
        super().__init__()
        first = torch.randn(count, positions, choices, generator=generator) * _FIRST_DEVIATION
        self.tables = nn.Parameter(first)

    @abstractmethod
    def weights(self, point: Tensor) -> Tensor:
        """Return (…, m) the weights of the tables at points (…, dimension), not negative and of sum 1."""

    def forward(self, point: Tensor) -> Tensor:
        """Return the logits at points (…, dimension), (…, positions, choices)."""
        logits: Tensor = torch.tensordot(self.weights(point).to(self.tables), self.tables, dims=1)
        return logits


class PivotHypernetwork(Hypernetwork):
    """Tables that belong to fixed pivots; the nearer the pivot, the more its table weighs.

    Attributes:
        pivots: (m, dimension), never learned.
        bandwidth: squared distance over which a table's weight falls by e against the nearest one's.
    """

    pivots: Tensor

    def __init__(
        self, pivots: Tensor, positions: int, choices: int, bandwidth: float, generator: torch.Generator
    ) -> None:
        super().__init__(len(pivots), positions, choices, generator)
        self.register_buffer("pivots", pivots)
        self.bandwidth = bandwidth

    def weights(self, point: Tensor) -> Tensor:
        """Return softmax(-||point - pivot||² ÷ bandwidth) over the pivots."""
        distances = (self.pivots - point.to(self.pivots).unsqueeze(-2)).square().sum(dim=-1)
        return torch.softmax(-distances / self.bandwidth, dim=-1)


class PiecewiseLinearHypernetwork(Hypernetwork):
    """Tables that stand evenly between 0 and 1; a scalar point blends the two that it lies between."""

    def weights(self, point: Tensor) -> Tensor:
        """Return the weights of linear interpolation; 1 - distance to the table, in steps from table to table."""
        last = len(self.tables) - 1
        places = torch.arange(last + 1, dtype=torch.float64)
        return (1 - (places - point.double() * last).abs()).clamp_min(0)


def build_hypernetwork(
    control: Control,
    positions: int,
    choices: int,
    generator: torch.Generator,
    pivot_divisions: int = 2,
    bandwidth: float = 0.25,
) -> Hypernetwork:
    """Make the hypernetwork that a control needs, with logits near 0.

    Args:
        control: a scalar's structure is piecewise linear, a simplex's is blended from pivots.
        positions: P, of the space.
        choices: K, of the space.
        generator: of the first logits.
        pivot_divisions: pivots are the grid of the simplex with so many divisions; 1 is its vertices.
        bandwidth: of the blend, as a share of the squared distance of neighbouring pivots. At 0.25 a neighbour's table
            weighs 1/55 of the pivot's own there.

    Raises:
        BadInputError: there is no pivot, or the bandwidth is not positive.
    """
    if isinstance(control, ScalarControl):
        return PiecewiseLinearHypernetwork(control.tables, positions, choices, generator)
    if not bandwidth > 0:
        raise BadInputError(f"the bandwidth of a hypernetwork is positive, not {bandwidth:g}")
    pivots = simplex_grid(control.dimension, pivot_divisions)
    neighbours = 2 / pivot_divisions**2
    return PivotHypernetwork(pivots, positions, choices, bandwidth * neighbours, generator)


def structure_logits(control: Control, hypernetwork: Hypernetwork, point: Tensor) -> Tensor:
    """Return the structure at points: the hypernetwork's logits and the points' prior, (…, positions, choices)."""
    logits: Tensor = hypernetwork(point)
    prior = control.prior(point)
    return logits if prior is None else logits + prior.to(logits).unsqueeze(-2)
