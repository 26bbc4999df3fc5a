"""Fastest and slowest architectures against all there are."""

from __future__ import annotations

import csv
import gzip
import itertools
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from searcher.cost_models.block_sum import BlockSum
from searcher.cost_models.cost_model import latency_range
from searcher.errors import BadInputError
from searcher.spaces.additive import AdditiveCounts
from searcher.spaces.architecture import Architecture
from searcher.spaces.block import CALL_OVERHEAD
from searcher.spaces.nasbench201 import NasBench201
from tests.searcher.builders import table

SPACE = NasBench201(cells_per_stage=2)
CONNECTED = tuple(one for one in SPACE.architectures() if SPACE.is_connected(one))


@pytest.fixture(scope="module")
def counts() -> np.ndarray:
    """Counts of all connected cells, by the road for one."""
    found = []
    for architecture in CONNECTED:
        blocks = {**SPACE.blocks(architecture), CALL_OVERHEAD: 1}
        found.append([blocks.get(block, 0) for block in SPACE.all_blocks()])
    return np.array(found, np.float64)


# Few different prices make many cells equal; negative ones make what is executed cheaper than what is not.
prices = arrays.arrays(np.float64, 20, elements=st.floats(-100, 100) | st.sampled_from([-1.0, 0.0, 1.0]))


@settings(max_examples=200)
@given(block_ms=prices)
def test_the_extremes_are_those_of_all_connected_cells(counts: np.ndarray, block_ms: np.ndarray) -> None:
    latencies = counts @ block_ms
    found = SPACE.extremes(block_ms)
    least, most = latencies[CONNECTED.index(found.least)], latencies[CONNECTED.index(found.most)]
    assert least == pytest.approx(latencies.min(), rel=1e-12, abs=1e-9)
    assert most == pytest.approx(latencies.max(), rel=1e-12, abs=1e-9)


def test_of_equal_cells_the_first_is_taken() -> None:
    found = SPACE.extremes(np.zeros(20))
    # Without an operation before it, 0→3 alone leads to the output.
    assert found.least == found.most == Architecture(SPACE.name, (0, 0, 0, 1, 0, 0))


def test_one_price_alone_says_what_is_avoided_and_what_is_sought() -> None:
    pool = SPACE.all_blocks().index(SPACE.cell_block("avg_pool_3x3", 1))
    block_ms = np.where(np.arange(20) == pool, 1.0, 0.0)
    found = SPACE.extremes(block_ms)
    assert "avg_pool_3x3" not in SPACE.operations(found.least)
    # Pools of one value are merged: there are three nodes to take a pool of, and no fourth.
    assert SPACE.blocks(found.most)[SPACE.cell_block("avg_pool_3x3", 1)] == 3 * SPACE.cells_per_stage


@given(
    choices=arrays.arrays(np.float64, (3, 4, 5), elements=st.sampled_from([0.0, 0.5, 1.0])),
    block_ms=arrays.arrays(np.float64, 5, elements=st.floats(-10, 10)),
)
def test_a_chain_goes_on_with_the_cheapest_choice(choices: np.ndarray, block_ms: np.ndarray) -> None:
    found = AdditiveCounts(np.zeros(5), choices).cheapest(block_ms)
    costs = choices @ block_ms
    everything = {
        genes: sum(costs[layer, gene] for layer, gene in enumerate(genes))
        for genes in itertools.product(range(4), repeat=3)
    }
    assert everything[found] == pytest.approx(min(everything.values()))


@pytest.mark.parametrize("column", ["raspi4_ms", "eyeriss_ms"])
def test_prices_that_were_fitted_to_published_latencies(data_file: Callable[[str], Path], column: str) -> None:
    with gzip.open(data_file("nasbench201_latency.csv.gz"), "rt", newline="") as file:
        published = {SPACE.parse(row["architecture"]): float(row[column]) for row in csv.DictReader(file)}
    by_blocks = SPACE.block_counts(np.array([one.genotype for one in CONNECTED])).astype(np.float64)
    fitted, *_ = np.linalg.lstsq(by_blocks, np.array([published[one] for one in CONNECTED]), rcond=None)
    # No device gives time back: the fit pays for what it overlooks with negative prices.
    assert (fitted < 0).any()
    latencies = by_blocks @ fitted
    found = SPACE.extremes(fitted)
    assert latencies[CONNECTED.index(found.least)] == pytest.approx(latencies.min())
    assert latencies[CONNECTED.index(found.most)] == pytest.approx(latencies.max())


@pytest.mark.parametrize("wrong", [np.zeros(19), np.zeros((20, 1)), np.full(20, np.nan), np.full(20, np.inf)])
def test_what_prices_no_blocks_is_refused(wrong: np.ndarray) -> None:
    with pytest.raises(BadInputError, match="price"):
        SPACE.extremes(wrong)


def test_the_range_of_a_table_names_who_has_it() -> None:
    # A 1x1 convolution that takes less than the call alone: its own cost is negative.
    model = BlockSum(
        SPACE, table(SPACE, lambda block: 0.4 if block.operation == "relu_conv_bn" and block.kernel == 1 else 0.5)
    )
    found = latency_range(model)
    latencies = {architecture: model.latency_ms(architecture) for architecture in CONNECTED}
    assert found.low_ms == pytest.approx(min(latencies.values())) == pytest.approx(latencies[found.fastest])
    assert found.high_ms == pytest.approx(max(latencies.values())) == pytest.approx(latencies[found.slowest])
    assert set(SPACE.operations(found.fastest)) == {"nor_conv_1x1"}
    assert found.low_ms < 0 < found.high_ms
