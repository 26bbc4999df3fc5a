"""The sum over blocks: what a network costs is one call of the runtime and what its blocks cost beside theirs.

Every entry of a table holds one call of the runtime; a network pays it once. The blocks counted are those of the
space's computation form: dead edges pruned, identical pools merged, as the runtime executes them. A space knows no
number type: its blocks are looked up in that of the table's key, and entries of another are as good as missing.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from searcher.cost_models.cost_model import linear_latencies_ms
from searcher.errors import BadInputError
from searcher.spaces.architecture import Architecture
from searcher.spaces.block import CALL_OVERHEAD
from searcher.spaces.space import SearchSpace
from searcher.tables.lookup_table import LookupTable, MissingBlockError


class BlockSum:
    """Predicts latency from one table; fits `LinearCostModel`."""

    def __init__(self, space: SearchSpace, table: LookupTable) -> None:
        """Take a table that holds every block of the space; parts of other blocks it may lack.

        Raises:
            BadInputError: the table is of another space.
            MissingBlockError: the table lacks blocks; the message names the first.
        """
        if table.space != space.name:
            raise BadInputError(f"the table is of the space {table.space!r}, not of {space.name!r}")
        keys = {block: block.in_dtype(table.key.precision).key for block in space.all_blocks()}
        missing = [key for block, key in keys.items() if key not in table.entries and not block.is_part]
        if missing:
            others = f" and {len(missing) - 1} more blocks" if len(missing) > 1 else ""
            raise MissingBlockError(f"the table lacks {missing[0]}{others} of the space {space.name}")
        self._space = space
        self._call_ms = table.entry(keys[CALL_OVERHEAD]).median_ms
        # Parts that a table lacks are counted by nothing that is predicted from it.
        self._own_ms = {
            block: table.entry(key).median_ms - self._call_ms if key in table.entries else 0.0
            for block, key in keys.items()
            if block != CALL_OVERHEAD
        }
        self._block_ms = np.array([self._own_ms.get(block, self._call_ms) for block in keys])

    @property
    def space(self) -> SearchSpace:
        """The space whose blocks are priced."""
        return self._space

    @property
    def block_ms(self) -> NDArray[np.float64]:
        """(B,) what one execution of each of the space's `all_blocks()` adds, in ms; the call stands for itself."""
        return self._block_ms.copy()

    def latency_ms(self, architecture: Architecture) -> float:
        """Return the predicted median latency of one inference, in ms."""
        blocks = self._space.blocks(architecture)
        return self._call_ms + sum(count * self._own_ms[block] for block, count in blocks.items())

    def latencies_ms(self, genotypes: NDArray[np.integer[Any]]) -> NDArray[np.float64]:
        """Return (n,) predicted median latencies in ms, of (n, genes) integer encodings.

        Raises:
            BadInputError: these are no encodings of the space.
        """
        return linear_latencies_ms(self._space, self._block_ms, genotypes)
