"""Paths that weights are trained on without regard to the structure: one-hot architectures drawn by odds.

Drawn uniformly (Guo et al., Single Path One-Shot, ECCV 2020) a choice with parameters is trained by 1/K of the steps,
while one without, such as a skip connection, needs none: early in a search the latter are better for that alone. Odds
above 1 give the choices that have something to learn more of the steps, and more of each other's company.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from searcher.networks.supernet import one_hot
from searcher.search.differentiable.costs import additive_parameters
from searcher.spaces import darts_cell
from searcher.spaces.architecture import Architecture
from searcher.spaces.darts import DartsSpace
from searcher.spaces.space import SearchSpace


class TrainingPaths:
    """Draws connected architectures whose choices stand at given odds."""

    def __init__(self, space: SearchSpace, odds: float) -> None:
        """Find out which choices have parameters.

        Args:
            space: of the architectures.
            odds: how many times as often as a choice without parameters one with them is drawn, positive; 1 is
                uniform.
        """
        self._space = space
        trained = additive_parameters(space)[1] > 0
        self._weights = torch.from_numpy(np.where(trained, odds, 1.0))
        self.choices = trained.shape[1]

    def draw(self, generator: torch.Generator) -> Tensor:
        """Draw a path, float32 one-hot (positions, choices)."""
        while True:
            genotype = self._genotype(generator)
            if self._space.is_connected(Architecture(self._space.name, genotype)):
                return one_hot(genotype, self.choices)

    def _genotype(self, generator: torch.Generator) -> tuple[int, ...]:
        weights = self._weights
        if isinstance(self._space, DartsSpace):
            # Two edges lead into each node, drawn uniformly; the others are `none`.
            seed = int(torch.randint(2**62, (1,), generator=generator))
            edges = torch.tensor(self._space.sample(np.random.default_rng(seed)).genotype)
            none = darts_cell.OPERATIONS.index(darts_cell.NONE)
            there = (edges != none)[:, None]
            is_none = torch.arange(self.choices) == none
            weights = torch.where(there, weights.masked_fill(is_none, 0), is_none.to(weights))
        drawn: list[int] = torch.multinomial(weights, 1, generator=generator)[:, 0].tolist()
        return tuple(drawn)
