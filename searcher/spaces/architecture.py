"""One architecture of a search space, as the integers that a search works on."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Architecture:
    """A point of a search space; equal architectures are equal values, so it can be a dictionary's key.

    Attributes:
        space: name of the search space that can read the genotype, such as `nasbench201`.
        genotype: the choices, one integer a position; what they mean is the space's business.
    """

    space: str
    genotype: tuple[int, ...]
