"""The sum over blocks, of energy: one call of the runtime, and what blocks take beside theirs, as in `block_sum`."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from searcher.cost_models.block_sum import BlockSum
from searcher.cost_models.cost_model import linear_latencies_ms
from searcher.cost_models.prices import ENERGY, UNITS
from searcher.errors import BadInputError
from searcher.spaces.architecture import Architecture
from searcher.spaces.block import CALL_OVERHEAD
from searcher.spaces.space import SearchSpace
from searcher.tables.lookup_table import LookupTable


class EnergyPrice:
    """Energy of one inference above the idle machine, in mJ, from one table; fits `Priced`."""

    quantity = ENERGY
    unit = UNITS[ENERGY]

    def __init__(self, space: SearchSpace, table: LookupTable, name: str) -> None:
        """Take a table that tells the energy of every block of the space.

        Raises:
            BadInputError: the table is of another space or tells no energy of some block.
            MissingBlockError: it lacks a block.
        """
        BlockSum(space, table)  # refuses a table that does not fit
        self.name = name
        self._space = space
        energies = []
        for block in space.all_blocks():
            key = block.in_dtype(table.key.precision).key
            energy_mj = table.entries[key].energy_mj if key in table.entries else None
            if energy_mj is None and not block.is_part:
                raise BadInputError(
                    f"{name} tells no energy of {key}: its device, or its job, measured no power, or it was predicted"
                )
            energies.append(energy_mj)
        blocks = space.all_blocks()
        call_mj = energies[blocks.index(CALL_OVERHEAD)] or 0.0
        self._block_mj = np.array(
            [
                # Parts that have no energy are counted by nothing that is predicted from a plain table.
                0.0 if energy_mj is None else energy_mj - (call_mj if block != CALL_OVERHEAD else 0.0)
                for block, energy_mj in zip(blocks, energies, strict=True)
            ]
        )

    def cost(self, architecture: Architecture) -> float:
        """Return the predicted energy of one inference, in mJ."""
        return float(self.costs(np.array([architecture.genotype]))[0])

    def costs(self, genotypes: NDArray[np.integer[Any]]) -> NDArray[np.float64]:
        """Return (n,) predicted energies of (n, genes) encodings, in mJ."""
        return linear_latencies_ms(self._space, self._block_mj, genotypes)  # counts times prices, whatever the unit
