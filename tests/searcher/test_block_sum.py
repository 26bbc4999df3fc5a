"""Sums of blocks against sums written out by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest

from searcher.cost_models.block_sum import BlockSum
from searcher.cost_models.cost_model import ImpossibleLimitError, latency_range
from searcher.errors import BadInputError
from searcher.spaces.block import CALL_OVERHEAD, BlockSpec
from searcher.spaces.nasbench201 import NasBench201
from searcher.tables.lookup_table import MissingBlockError
from tests.searcher.builders import KEY, table

SPACE = NasBench201(cells_per_stage=2)
CALL_MS = 0.5
OWN_MS = {"relu": 0.25, "conv_bn": 10.0, "avg_pool": 1.0, "add": 0.25, "residual_reduction": 20.0, "head": 5.0}


def own_ms(block: BlockSpec) -> float:
    if block.operation == "relu_conv_bn":
        return (2.0 if block.kernel == 1 else 8.0) * block.output_channels / 16
    return OWN_MS[block.operation]


def latency_ms(block: BlockSpec) -> float:
    return CALL_MS if block == CALL_OVERHEAD else CALL_MS + own_ms(block)


@pytest.fixture
def model() -> BlockSum:
    return BlockSum(SPACE, table(SPACE, latency_ms))


SKELETON_MS = 10 + 2 * 20 + 5
WIDTHS = 1 + 2 + 4  # the three stages together, in multiples of the first


@pytest.mark.parametrize(
    ("text", "cell_ms"),
    [
        ("|skip_connect~0|+|none~0|none~1|+|none~0|skip_connect~1|none~2|", 0.0),
        ("|none~0|+|none~0|none~1|+|nor_conv_3x3~0|none~1|none~2|", 2 * 8 * WIDTHS),
        ("|nor_conv_1x1~0|+|none~0|none~1|+|skip_connect~0|skip_connect~1|none~2|", 2 * (2 * WIDTHS + 3 * 0.25)),
        # Two pools of one value are one pool; both go into the sum.
        ("|avg_pool_3x3~0|+|none~0|none~1|+|avg_pool_3x3~0|skip_connect~1|none~2|", 2 * 3 * (1 + 0.25)),
        # An edge into a node that leads nowhere costs nothing.
        ("|nor_conv_3x3~0|+|none~0|none~1|+|nor_conv_1x1~0|none~1|none~2|", 2 * 2 * WIDTHS),
    ],
)
def test_the_call_is_paid_once_and_blocks_as_executed(model: BlockSum, text: str, cell_ms: float) -> None:
    predicted = model.latency_ms(SPACE.parse(text))
    assert predicted == pytest.approx(CALL_MS + SKELETON_MS + cell_ms)


def test_a_disconnected_network_costs_the_call_alone(model: BlockSum) -> None:
    cell = "|none~0|+|none~0|none~1|+|none~0|none~1|none~2|"
    assert model.latency_ms(SPACE.parse(cell)) == pytest.approx(CALL_MS)


def test_a_table_that_lacks_a_block_is_refused() -> None:
    whole = table(SPACE, latency_ms)
    lost = SPACE.stem.key
    entries = {key: entry for key, entry in whole.entries.items() if key != lost}
    with pytest.raises(MissingBlockError, match=f"the table lacks {lost} of the space nasbench201"):
        BlockSum(SPACE, replace(whole, entries=entries))


def test_a_table_of_another_space_is_refused() -> None:
    with pytest.raises(BadInputError, match="of the space 'darts', not of 'nasbench201'"):
        BlockSum(SPACE, replace(table(SPACE, latency_ms), space="darts"))


def test_the_range_is_that_of_connected_architectures(model: BlockSum) -> None:
    found = latency_range(model)
    assert found.low_ms == pytest.approx(CALL_MS + SKELETON_MS)
    assert found.high_ms == pytest.approx(CALL_MS + SKELETON_MS + 2 * (6 * 8 * WIDTHS + 3 * 3 * 0.25))
    assert found.middle_ms == pytest.approx((found.low_ms + found.high_ms) / 2)
    found.require_possible(found.low_ms)
    with pytest.raises(ImpossibleLimitError, match=r"the least possible is 55\.5000 ms"):
        found.require_possible(55.0)


def test_blocks_are_looked_up_in_the_tables_number_type(model: BlockSum) -> None:
    whole = table(SPACE, latency_ms)
    integers = {
        block.in_dtype("int8").key: replace(whole.entry(block.key), median_ms=latency_ms(block) / 2)
        for block in SPACE.all_blocks()
    }
    eight_bits = replace(whole, key=replace(KEY, precision="int8"), entries=integers)
    cell = SPACE.parse("|nor_conv_1x1~0|+|none~0|none~1|+|skip_connect~0|skip_connect~1|none~2|")
    assert BlockSum(SPACE, eight_bits).latency_ms(cell) == pytest.approx(model.latency_ms(cell) / 2)


def test_entries_of_another_number_type_are_no_entries() -> None:
    whole = table(SPACE, latency_ms)
    complaint = f"the table lacks {CALL_OVERHEAD.in_dtype('int8').key} and 16 more blocks"
    with pytest.raises(MissingBlockError, match=complaint):
        BlockSum(SPACE, replace(whole, key=replace(KEY, precision="int8")))
