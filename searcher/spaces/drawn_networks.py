"""Networks of a space, drawn at random."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from searcher.errors import BadInputError
from searcher.spaces.architecture import Architecture
from searcher.spaces.space import SearchSpace

_DRAWS_FOR_EACH = 1000


def drawn_networks(
    space: SearchSpace, count: int, generator: np.random.Generator, without: Sequence[Architecture] = ()
) -> list[Architecture]:
    """Draw connected architectures, each at most once.

    Raises:
        BadInputError: the space has not so many.
    """
    chosen: dict[Architecture, None] = {}
    for _ in range(_DRAWS_FOR_EACH * count):
        one = space.sample(generator)
        if one not in without and space.is_connected(one):
            chosen[one] = None
        if len(chosen) == count:
            return list(chosen)
    raise BadInputError(f"the space {space.name} has not {count} more architectures")
