"""Integer encodings of whole populations, and what is none."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from searcher.errors import BadInputError


def require_encodings(genotypes: NDArray[np.integer[Any]], positions: int, choices: int, space: str) -> None:
    """Refuse what is no population of a space whose positions have the same choices.

    Args:
        genotypes: is to be (n, positions) integers from 0 to choices - 1.
        positions: genes of one architecture.
        choices: of each gene.
        space: its name, for the message.

    Raises:
        BadInputError: the array has another shape, is not of integers, or holds a choice that there is not.
    """
    if genotypes.ndim != 2 or genotypes.shape[1] != positions or not np.issubdtype(genotypes.dtype, np.integer):
        raise BadInputError(
            f"architectures of {space} are rows of {positions} integers, not {genotypes.dtype} of the shape "
            f"{genotypes.shape}"
        )
    if genotypes.size and not 0 <= genotypes.min() <= genotypes.max() < choices:
        raise BadInputError(f"choices of {space} are 0 to {choices - 1}, not {genotypes.min()} to {genotypes.max()}")
