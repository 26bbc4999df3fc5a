"""The architectures of a space that cost least and most, when each execution of a block has its price."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from searcher.errors import BadInputError
from searcher.spaces.architecture import Architecture


@dataclass(frozen=True)
class Extremes:
    """Connected architectures at both ends of a space.

    Attributes:
        least: costs no more than any other.
        most: costs no less than any other.
    """

    least: Architecture
    most: Architecture


def require_prices(block_ms: NDArray[np.float64], blocks: int) -> None:
    """Refuse what is no price for each of a space's blocks.

    Raises:
        BadInputError: the array is not of the shape (blocks,) or holds what is not finite.
    """
    if block_ms.shape != (blocks,):
        raise BadInputError(
            f"the space has {blocks} blocks: an array of the shape {block_ms.shape} does not price them"
        )
    if not np.isfinite(block_ms).all():
        raise BadInputError("the price of a block is not a finite number")
