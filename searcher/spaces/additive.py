"""A space's blocks as a sum over its positions: what every architecture executes, and what each choice adds."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class AdditiveCounts:
    """How often each block is executed, as far as one position's choice can tell without the others.

    A space says whether the sum is exact. Counts may be fractions where positions share a block.

    Attributes:
        base: (B,) executions of each of the space's `all_blocks()` that no choice changes, the call among them.
        choices: (positions, choices, B) executions that a choice adds at a position.
    """

    base: NDArray[np.float64]
    choices: NDArray[np.float64]

    def cheapest(self, block_ms: NDArray[np.float64]) -> tuple[int, ...]:
        """Return the choices whose sum costs least; of equal ones the first in lexicographic order.

        In a chain whose layers' shapes do not depend on each other's choices, dynamic programming from layer to layer
        has one state a layer: what is cheapest up to a layer goes on with the cheapest choice there.

        Args:
            block_ms: (B,) what one execution of each block costs, in ms; may be negative.
        """
        return tuple(int(choice) for choice in (self.choices @ block_ms).argmin(axis=1))
