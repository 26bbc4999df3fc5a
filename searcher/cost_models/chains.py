"""What a block costs in a row of its like, where alone it pays for more.

A runtime may compute in a layout of its own, and convert at the ends of whatever it is given. A block alone then holds
conversions that a network has only where it begins and ends, and a table counts them again and again. Whether that is
so is read from the blocks' optimised graphs. Of such a block, chains of 2 and of 6 copies are measured; what one copy
more adds, the slope between them, holds neither conversions nor the call.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from searcher.spaces.block import BlockSpec
from searcher.spaces.fusion import CONV, Fusion
from searcher.spaces.space import SearchSpace
from searcher.tables.lookup_table import LookupTable
from searcher.tables.network_latencies import NetworkLatency

SHORT, LONG = 2, 6


def misleading_blocks(space: SearchSpace, table: LookupTable) -> tuple[BlockSpec, ...]:
    """Return the blocks whose graphs hold conversions of layout, of those that a chain can be made of.

    Raises:
        MissingBlockError: the table lacks a block.
    """
    return tuple(
        block
        for block in space.all_blocks()
        if block.repeatable and _converts(block, table.entry(block.in_dtype(table.key.precision).key).operations)
    )


def _converts(block: BlockSpec, operations: Sequence[str]) -> bool:
    names = [operation.lower() for operation in operations]
    # ONNX Runtime's ReorderInput and ReorderOutput; a block with groups transposes to shuffle its channels.
    return any("reorder" in name or ("transpose" in name and block.groups == 1) for name in names)


def slopes_ms(blocks: Sequence[BlockSpec], chains: Mapping[str, NetworkLatency]) -> dict[str, float]:
    """Return what one copy more of each block adds, in ms, by the block's key.

    Args:
        blocks: in the number type that was measured; those without chains are left out.
        chains: latencies of the chains of SHORT and LONG copies by their names.
    """
    return {
        block.key: (chains[block.chain_key(LONG)].median_ms - chains[block.chain_key(SHORT)].median_ms) / (LONG - SHORT)
        for block in blocks
        if block.chain_key(LONG) in chains and block.chain_key(SHORT) in chains
    }


def lost_relus(block: BlockSpec, fusion: Fusion) -> bool:
    """Say whether a chain's slope lacks the ReLU that the block begins with.

    In a row of convolutions, each but the first has its ReLU fused into the one before; networks are charged for that.
    """
    return block.operation == "relu_conv_bn" and CONV in fusion.into
