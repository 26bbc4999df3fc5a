"""What a search needs of a search space; a new space implements this Protocol and inherits nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Protocol

import numpy as np

from searcher.spaces.architecture import Architecture
from searcher.spaces.block import BlockSpec, Shape


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

        Training it makes a score a pure function of the key, whichever architecture of the key came first.
        """

    def blocks(self, architecture: Architecture) -> Mapping[BlockSpec, int]:
        """Return how often a runtime executes each block in one pass; the call itself is not among them."""

    def all_blocks(self) -> tuple[BlockSpec, ...]:
        """Return the distinct blocks that a table of this space must hold, the call overhead among them."""

    def parameters(self, architecture: Architecture) -> int:
        """Return the trainable parameters of the network, as the space's benchmark counts them."""

    def macs(self, architecture: Architecture) -> int:
        """Return the multiply-accumulates of one image, on output sizes, as the benchmark counts them."""
