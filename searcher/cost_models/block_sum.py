"""The sum over blocks: what a network costs is one call of the runtime and what its blocks cost beside theirs.

Every entry of a table holds one call of the runtime; a network pays it once. The blocks counted are those of the
space's computation form: dead edges pruned, identical pools merged, as the runtime executes them.
"""

from __future__ import annotations

from searcher.errors import BadInputError
from searcher.spaces.architecture import Architecture
from searcher.spaces.block import CALL_OVERHEAD
from searcher.spaces.space import SearchSpace
from searcher.tables.lookup_table import LookupTable, MissingBlockError


class BlockSum:
    """Predicts latency from one table; fits `CostModel`."""

    def __init__(self, space: SearchSpace, table: LookupTable) -> None:
        """Take a table that holds every block of the space.

        Raises:
            BadInputError: the table is of another space.
            MissingBlockError: the table lacks blocks; the message names the first.
        """
        if table.space != space.name:
            raise BadInputError(f"the table is of the space {table.space!r}, not of {space.name!r}")
        missing = [block.key for block in space.all_blocks() if block.key not in table.entries]
        if missing:
            others = f" and {len(missing) - 1} more blocks" if len(missing) > 1 else ""
            raise MissingBlockError(f"the table lacks {missing[0]}{others} of the space {space.name}")
        self._space = space
        self._call_ms = table.entry(CALL_OVERHEAD.key).median_ms
        self._own_ms = {
            block: table.entry(block.key).median_ms - self._call_ms
            for block in space.all_blocks()
            if block != CALL_OVERHEAD
        }

    def latency_ms(self, architecture: Architecture) -> float:
        """Return the predicted median latency of one inference, in ms."""
        blocks = self._space.blocks(architecture)
        return self._call_ms + sum(count * self._own_ms[block] for block, count in blocks.items())
