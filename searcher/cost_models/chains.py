"""What a block costs in a row of its like, where alone it pays for more.

A runtime may compute in a layout of its own, and convert at the ends of whatever it is given. A block alone then holds
conversions that a network has only where it begins and ends, and a table counts them again and again. Whether that is
so is read from the blocks' optimised graphs. Of such a block, chains of 2 and of 6 copies are measured; what one copy
more adds, the slope between them, holds neither conversions nor the call.
"""

from __future__ import annotations

from collections.abc import Mapping

from searcher.spaces.block import BlockSpec
from searcher.spaces.space import SearchSpace
from searcher.tables.lookup_table import LookupTable
from searcher.tables.network_latencies import NetworkLatency

SHORT, LONG = 2, 6

# ONNX Runtime's ReorderInput and ReorderOutput around blocked layouts, and transpositions of any runtime.
_CONVERSIONS = ("reorder", "transpose")


def chain_name(key: str, copies: int) -> str:
    """Return the name of a chain of a block's copies in jobs."""
    return f"{key}*{copies}"


def misleading_blocks(space: SearchSpace, table: LookupTable) -> tuple[BlockSpec, ...]:
    """Return the blocks whose graphs hold conversions of layout, of those that a chain can be made of.

    Raises:
        MissingBlockError: the table lacks a block.
    """
    return tuple(
        block
        for block in space.all_blocks()
        if block.repeatable and _converts(table.entry(block.in_dtype(table.key.precision).key).operations)
    )


def _converts(operations: tuple[str, ...]) -> bool:
    return any(word in operation.lower() for operation in operations for word in _CONVERSIONS)


def slopes_ms(chains: Mapping[str, NetworkLatency]) -> dict[str, float]:
    """Return what one copy more of each block adds, in ms, by the block's key.

    Args:
        chains: latencies of the chains of SHORT and LONG copies by their names.
    """
    keys = {name.rpartition("*")[0] for name in chains}
    return {
        key: (chains[chain_name(key, LONG)].median_ms - chains[chain_name(key, SHORT)].median_ms) / (LONG - SHORT)
        for key in sorted(keys)
    }
