"""Points of a simplex: draws from distributions that no training moves, and regular grids.

The distributions are fixed on purpose. One that is learned with the structure drifts to where the loss is cheap, and
the rest of the simplex is never trained.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import torch
from torch import Tensor

from searcher.errors import BadInputError


@dataclass(frozen=True)
class Dirichlet:
    """The symmetric Dirichlet distribution.

    Attributes:
        concentration: 1 is uniform on the simplex; less favours its border, more its centre.

    Raises:
        BadInputError: the concentration is not positive.
    """

    concentration: float = 1.0

    def __post_init__(self) -> None:
        _require_positive("the concentration of a Dirichlet distribution", self.concentration)

    def draw(self, dimension: int, generator: torch.Generator) -> Tensor:
        """Return a point, (dimension,) in float64."""
        return draw_dirichlet(self.concentration, dimension, generator)


@dataclass(frozen=True)
class GumbelSoftmax:
    """The symmetric Gumbel-Softmax distribution: all its logits are 0, and stay so.

    Attributes:
        temperature: low favours the vertices, high the centre.

    Raises:
        BadInputError: the temperature is not positive.
    """

    temperature: float = 1.0

    def __post_init__(self) -> None:
        _require_positive("the temperature of a Gumbel-Softmax distribution", self.temperature)

    def draw(self, dimension: int, generator: torch.Generator) -> Tensor:
        """Return a point, (dimension,) in float64."""
        return draw_gumbel_softmax(torch.zeros(dimension, dtype=torch.float64), self.temperature, generator)


@dataclass(frozen=True)
class FirstUniform:
    """The Dirichlet distribution under which the first coordinate is uniform between 0 and 1, in any dimension.

    The others part the rest among them, mostly unevenly: its concentrations are 1 and, for each of the n others, 1/n.
    """

    def draw(self, dimension: int, generator: torch.Generator) -> Tensor:
        """Return a point, (dimension,) in float64."""
        others = max(1, dimension - 1)
        first = torch.rand((), generator=generator, dtype=torch.float64)
        rest = draw_dirichlet(1 / others, others, generator)
        return torch.cat((first[None], (1 - first) * rest))[:dimension] if dimension > 1 else rest


Distribution = Dirichlet | GumbelSoftmax | FirstUniform


def draw_dirichlet(concentration: float, dimension: int, generator: torch.Generator) -> Tensor:
    """Draw from the symmetric Dirichlet distribution: gamma variables over their sum.

    Args:
        concentration: of every coordinate, positive.
        dimension: coordinates of the point.
        generator: on the CPU.

    Returns:
        (dimension,) in float64, not negative, of sum 1.
    """
    shapes = torch.full((dimension,), concentration, dtype=torch.float64)
    # torch.distributions draws with this function too, but takes no generator.
    gammas = torch._standard_gamma(shapes, generator=generator)
    # Of a small concentration all variables can underflow, and 0 ÷ 0 is no point.
    gammas = gammas.clamp_min(torch.finfo(torch.float64).tiny)
    return gammas / gammas.sum()


def draw_gumbel_softmax(logits: Tensor, temperature: float, generator: torch.Generator) -> Tensor:
    """Draw softmax((logits + G) ÷ temperature) along the last dimension (Jang, Gu and Poole 2017, Eq. 2).

    Args:
        logits: (…, choices), any scale; the draw has a gradient with respect to them.
        temperature: positive.
        generator: on the CPU; the same draws whatever device the logits are on.

    Returns:
        Points of the shape and type of the logits.
    """
    return torch.softmax((logits + gumbel_noise(logits, generator)) / temperature, dim=-1)


def gumbel_noise(like: Tensor, generator: torch.Generator) -> Tensor:
    """Draw standard Gumbel variables of the shape, type and device of a tensor."""
    exponential = torch.empty(like.shape, dtype=torch.float64).exponential_(generator=generator)
    return -exponential.log().to(like)


def simplex_grid(dimension: int, divisions: int) -> Tensor:
    """Return all points of the simplex whose coordinates are multiples of 1 ÷ divisions, in lexicographic order.

    Args:
        dimension: coordinates of a point, at least 1.
        divisions: at least 1, which gives the vertices alone.

    Returns:
        (n, dimension) in float64, n = (divisions + dimension - 1 choose dimension - 1).

    Raises:
        BadInputError: either number is not positive.
    """
    if dimension < 1 or divisions < 1:
        raise BadInputError(f"a grid of dimension {dimension} with {divisions} divisions has no points")
    bars = itertools.combinations(range(divisions + dimension - 1), dimension - 1)
    rows = [
        [right - left - 1 for left, right in itertools.pairwise((-1, *cut, divisions + dimension - 1))] for cut in bars
    ]
    return torch.tensor(rows, dtype=torch.float64) / divisions


def _require_positive(name: str, value: float) -> None:
    if not 0 < value < math.inf:
        raise BadInputError(f"{name} is a positive number, not {value:g}")
