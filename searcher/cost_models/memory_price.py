"""What networks need of memory, as a price to hold against a limit."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from searcher.cost_models.prices import MEMORY, UNITS
from searcher.errors import BadInputError
from searcher.spaces.architecture import Architecture
from searcher.spaces.counts import block_parameters
from searcher.spaces.memory import BYTES_PER_NUMBER, activation_bytes, memory_bytes, peak_tensors
from searcher.spaces.nasbench201 import NasBench201
from searcher.spaces.space import SearchSpace

_BYTES_PER_MB = 1e6


class MemoryPrice:
    """Weights and the tensors that live at once, in MB, as `searcher.spaces.memory` defines them; fits `Priced`."""

    quantity = MEMORY
    unit = UNITS[MEMORY]

    def __init__(self, space: SearchSpace) -> None:
        """Take a space whose tensors are known.

        Raises:
            BadInputError: it is not known of the space which tensors live at once.
        """
        if not isinstance(space, NasBench201):
            raise BadInputError(f"memory is worked out for nasbench201 alone, not for {space.name}")
        self.name = space.name
        self._space = space
        self._parameters = np.array([block_parameters(block) for block in space.all_blocks()], np.int64)

    def cost(self, architecture: Architecture) -> float:
        """Return the memory of one architecture's network, in MB (1,000,000 bytes)."""
        return memory_bytes(self._space, architecture) / _BYTES_PER_MB

    def costs(self, genotypes: NDArray[np.integer[Any]]) -> NDArray[np.float64]:
        """Return (n,) the memory of (n, 6) encodings, in MB."""
        weights = self._space.block_counts(genotypes).astype(np.int64) @ self._parameters
        tensors = np.array([peak_tensors(tuple(genotype)) for genotype in genotypes.tolist()], np.int64)
        activations = np.array(
            [activation_bytes(self._space, count) for count in range(int(tensors.max(initial=0)) + 1)]
        )
        return np.asarray((BYTES_PER_NUMBER * weights + activations[tensors]) / _BYTES_PER_MB, np.float64)
