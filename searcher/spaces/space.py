"""What a search needs of a search space; a new space implements this Protocol and inherits nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from searcher.spaces.additive import AdditiveCounts
from searcher.spaces.architecture import Architecture
from searcher.spaces.block import BlockSpec, Shape
from searcher.spaces.extremes import Extremes


class SearchSpace(Protocol):
    """A set of architectures, how to move in it, and how its networks are cut into blocks.

    Every method that takes an architecture raises BadInputError for one that is not of this space.
    """

    @property
    def name(self) -> str:
        """The name that its architectures carry."""

    @property
    def image_shape(self) -> Shape:
        """(1, 3, H, W) of an image that its networks take."""

    def parse(self, text: str) -> Architecture:
        """Read an architecture from the text that people and benchmarks write.

        Raises:
            BadInputError: the text is no architecture of this space; the message quotes it.
        """

    def format(self, architecture: Architecture) -> str:
        """Write an architecture as text; `parse` reads it back."""

    def sample(self, generator: np.random.Generator) -> Architecture:
        """Draw an architecture uniformly."""

    def mutate(self, architecture: Architecture, rate: float, generator: np.random.Generator) -> Architecture:
        """Replace each choice, with probability `rate`, by another one drawn uniformly.

        Raises:
            BadInputError: `rate` is not between 0 and 1.
        """

    def crossover(self, first: Architecture, second: Architecture, generator: np.random.Generator) -> Architecture:
        """Take each choice from one parent or the other with equal probability (uniform crossover)."""

    def architectures(self) -> Iterator[Architecture]:
        """Yield every architecture once, in the benchmark's order where there is one.

        Lazily: a space may be too large to come to its end.
        """

    def is_connected(self, architecture: Architecture) -> bool:
        """Tell whether the output depends on the input."""

    def score_key(self, architecture: Architecture) -> str:
        """Return a text that is equal for architectures which train alike; never use it for latency."""

    def representative(self, architecture: Architecture) -> Architecture:
        """Return the one architecture that is trained for all of the same `score_key`.

        Training it makes a score a pure function of the key, whichever architecture of the key came first. Keys of
        architectures that a training cannot tell apart may share one.
        """

    def blocks(self, architecture: Architecture) -> Mapping[BlockSpec, int]:
        """Return how often a runtime executes each block in one pass; the call itself is not among them.

        Where a space knows that a runtime saves a part of its blocks, that part is a block of a negative number.
        """

    def all_blocks(self) -> tuple[BlockSpec, ...]:
        """Return the distinct blocks that a table of this space must hold, the call overhead among them."""

    def block_counts(self, genotypes: NDArray[np.integer[Any]]) -> NDArray[np.integer[Any]]:
        """Return how often a runtime executes each block of a whole population.

        Nothing is kept or looked up for single architectures: the counts are worked out from the encodings.

        Args:
            genotypes: (n, genes) integer encodings.

        Returns:
            (n, B) counts, a column for each of `all_blocks()` in their order. That of the call is 1 in every row, the
            others are those of `blocks`.

        Raises:
            BadInputError: these are no encodings of this space.
        """

    def extremes(self, block_ms: NDArray[np.float64]) -> Extremes:
        """Return the connected architectures that cost least and most, exactly, by the structure of the space.

        Args:
            block_ms: (B,) what one execution of each of `all_blocks()` costs, in ms; may be negative.

        Raises:
            BadInputError: `block_ms` has another shape or holds what is not finite.
        """

    def additive_counts(self) -> AdditiveCounts:
        """Return the blocks as a sum over positions, each of which knows its own choice alone.

        Where positions depend on each other the sum is an approximation, and the space says when it is exact.
        """

    def parameters(self, architecture: Architecture) -> int:
        """Return the trainable parameters of the network, as the space's benchmark counts them."""

    def macs(self, architecture: Architecture) -> int:
        """Return the multiply-accumulates of one image, on output sizes, as the benchmark counts them."""
