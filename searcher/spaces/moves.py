"""A search's moves on genotypes whose positions are independent choices of the same number of integers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from searcher.errors import BadInputError

Genotype = tuple[int, ...]


def sampled(positions: int, choices: int, generator: np.random.Generator) -> Genotype:
    """Draw a genotype uniformly: each of `positions` genes from 0 to `choices` - 1."""
    return _plain(generator.integers(choices, size=positions))


def mutated(genes: Sequence[int], choices: int, rate: float, generator: np.random.Generator) -> Genotype:
    """Replace each gene, with probability `rate`, by another of the `choices` drawn uniformly.

    Raises:
        BadInputError: `rate` is not between 0 and 1.
    """
    if not 0.0 <= rate <= 1.0:
        raise BadInputError(f"The mutation rate {rate} is not between 0 and 1.")
    # As many numbers are drawn whatever changes, so that a search's later draws do not depend on it.
    chosen = generator.random(len(genes)) < rate
    steps = generator.integers(1, choices, size=len(genes))
    before = np.array(genes)
    return _plain(np.where(chosen, (before + steps) % choices, before))


def crossed(first: Sequence[int], second: Sequence[int], generator: np.random.Generator) -> Genotype:
    """Take each gene from one of two genotypes of one length, with equal probability."""
    from_first = generator.random(len(first)) < 0.5
    return _plain(np.where(from_first, first, second))


def _plain(genes: np.ndarray) -> Genotype:
    return tuple(int(gene) for gene in genes)
