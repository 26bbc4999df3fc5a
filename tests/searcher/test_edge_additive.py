"""The model with a gradient: where it says what the sum over blocks says, and by how much it differs elsewhere."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray

from searcher.cost_models.block_sum import BlockSum
from searcher.cost_models.cost_model import CostModel
from searcher.cost_models.edge_additive import EdgeAdditive, gap
from searcher.errors import BadInputError
from searcher.spaces.architecture import Architecture
from searcher.spaces.block import CALL_OVERHEAD, BlockSpec
from searcher.spaces.cell import NONE, OPERATIONS, all_genotypes
from searcher.spaces.nasbench201 import NasBench201
from tests.searcher.builders import table

SPACE = NasBench201(cells_per_stage=2)
every_cell = np.array(all_genotypes())
CONNECTED = np.array([SPACE.is_connected(architecture) for architecture in SPACE.architectures()])
CELLS = 3 * SPACE.cells_per_stage
CALL_MS = 0.5
# The same at all sizes, so that one operation of a cell costs CELLS times this.
OWN_MS = {"relu": 0.5, "avg_pool": 1.0, "add": 0.25, "conv_bn": 10.0, "residual_reduction": 20.0, "head": 5.0}
BASE_MS = CALL_MS + 10 + 2 * 20 + 5


def latency_ms(block: BlockSpec) -> float:
    if block == CALL_OVERHEAD:
        return CALL_MS
    own_ms = 2.0 * block.kernel if block.operation == "relu_conv_bn" else OWN_MS[block.operation]
    return CALL_MS + own_ms


BLOCK_SUM = BlockSum(SPACE, table(SPACE, latency_ms))
edge_model = EdgeAdditive.of(SPACE, BLOCK_SUM.block_ms)
positive_prices = arrays.arrays(np.float64, 20, elements=st.floats(1e-3, 100))


def test_it_is_a_cost_model() -> None:
    model: CostModel = edge_model
    assert model.latency_ms(SPACE.parse("|none~0|+|none~0|none~1|+|none~0|none~1|none~2|")) == pytest.approx(BASE_MS)


def test_prices_are_those_of_all_cells_with_a_share_of_the_adds() -> None:
    skips = CELLS * 0.25 * np.array([0, 1 / 2, 1 / 2, 2 / 3, 2 / 3, 2 / 3])
    assert edge_model.base_ms == pytest.approx(BASE_MS)
    assert edge_model.prices_ms.shape == (6, 5)
    expected = {"none": 0.0, "nor_conv_1x1": 2.0, "nor_conv_3x3": 6.0, "avg_pool_3x3": 1.0, "skip_connect": 0.0}
    for gene, operation in enumerate(OPERATIONS):
        alive = 0.0 if operation == NONE else skips
        assert edge_model.prices_ms[:, gene] == pytest.approx(CELLS * expected[operation] + alive)


@given(block_ms=arrays.arrays(np.float64, 20, elements=st.floats(-100, 100)))
def test_cells_without_dead_edges_and_merged_pools_cost_the_same(block_ms: NDArray[np.float64]) -> None:
    model = EdgeAdditive.of(SPACE, block_ms)
    blocks = SPACE.all_blocks()
    counts = SPACE.block_counts(every_cell)
    pools = counts[:, blocks.index(SPACE.cell_block("avg_pool_3x3", 0))] // SPACE.cells_per_stage
    alike = (every_cell != OPERATIONS.index(NONE)).all(axis=1) & (
        pools == (every_cell == OPERATIONS.index("avg_pool_3x3")).sum(axis=1)
    )
    # Of 4^6 cells without a dead edge, most have at most one pool of a value.
    assert alike.sum() > 2000
    assert model.latencies_ms(every_cell[alike]) == pytest.approx(counts[alike] @ block_ms, rel=1e-9, abs=1e-8)


@given(block_ms=positive_prices)
def test_elsewhere_it_says_more(block_ms: NDArray[np.float64]) -> None:
    additive = EdgeAdditive.of(SPACE, block_ms).latencies_ms(every_cell[CONNECTED])
    exact = SPACE.block_counts(every_cell[CONNECTED]) @ block_ms
    assert (additive >= exact * (1 - 1e-12)).all()
    assert (additive > exact * (1 + 1e-12)).any()


@pytest.mark.parametrize(
    ("text", "more_ms"),
    [
        # Every edge alive, no two pools of one value.
        ("|nor_conv_3x3~0|+|avg_pool_3x3~0|skip_connect~1|+|nor_conv_1x1~0|skip_connect~1|avg_pool_3x3~2|", 0.0),
        # A dead edge: node 1 leads nowhere. Node 3 has one operand and pays two thirds of an add for it.
        ("|nor_conv_3x3~0|+|none~0|none~1|+|skip_connect~0|none~1|none~2|", 6.0 + 0.25 * 2 / 3),
        # An operation on nothing.
        ("|none~0|+|none~0|none~1|+|skip_connect~0|nor_conv_1x1~1|none~2|", 2.0 + 0.25 * 4 / 3),
        # All six pools are live, of the values x, pool(x) and a sum: three are paid.
        ("|avg_pool_3x3~0|+|avg_pool_3x3~0|avg_pool_3x3~1|+|avg_pool_3x3~0|avg_pool_3x3~1|avg_pool_3x3~2|", 3.0),
        # Two operands of three, and one of two: 1 add is executed, 2 · 2/3 + 1/2 are paid.
        ("|skip_connect~0|+|none~0|nor_conv_1x1~1|+|skip_connect~0|none~1|skip_connect~2|", 0.25 * (4 / 3 + 1 / 2 - 1)),
    ],
)
def test_what_differs_from_the_sum_over_blocks(text: str, more_ms: float) -> None:
    cell = SPACE.parse(text)
    assert edge_model.latency_ms(cell) == pytest.approx(BLOCK_SUM.latency_ms(cell) + CELLS * more_ms)


def test_the_expectation_is_the_mean_over_what_is_drawn() -> None:
    generator = np.random.default_rng(2)
    probabilities = generator.dirichlet(np.ones(5), size=6)
    weights = probabilities[np.arange(6), every_cell].prod(axis=1)
    assert weights.sum() == pytest.approx(1)
    assert edge_model.expected_ms(probabilities) == pytest.approx(weights @ edge_model.latencies_ms(every_cell))
    one_hot = np.eye(5)[every_cell[:50]]
    assert edge_model.expected_ms(one_hot) == pytest.approx(edge_model.latencies_ms(every_cell[:50]))


def test_torch_multiplies_its_own_tensor_with_the_prices() -> None:
    logits = torch.zeros((6, 5), dtype=torch.float64, requires_grad=True)
    probabilities = torch.softmax(logits, dim=-1)
    probabilities.retain_grad()
    expected = edge_model.base_ms + (probabilities * torch.from_numpy(edge_model.prices_ms)).sum()
    assert expected.item() == pytest.approx(float(edge_model.expected_ms(np.full((6, 5), 0.2))))
    expected.backward()  # type: ignore[no-untyped-call]
    assert probabilities.grad is not None
    assert probabilities.grad.numpy() == pytest.approx(edge_model.prices_ms)
    assert logits.grad is not None
    # A step down the gradient makes dear convolutions less likely, and nothing at all likelier.
    assert (logits.grad[:, OPERATIONS.index("nor_conv_3x3")] > 0).all()
    assert (logits.grad[:, OPERATIONS.index(NONE)] < 0).all()


def test_a_calibration_of_blocks_is_one_of_edges() -> None:
    calibrated = EdgeAdditive.of(SPACE, 1.25 * BLOCK_SUM.block_ms)
    assert calibrated.latencies_ms(every_cell[:100]) == pytest.approx(1.25 * edge_model.latencies_ms(every_cell[:100]))


def test_the_gap_of_two_cells_by_hand() -> None:
    exact = SPACE.parse(
        "|nor_conv_3x3~0|+|avg_pool_3x3~0|skip_connect~1|+|nor_conv_1x1~0|skip_connect~1|avg_pool_3x3~2|"
    )
    dead = SPACE.parse("|nor_conv_3x3~0|+|none~0|none~1|+|skip_connect~0|none~1|none~2|")
    nothing = SPACE.parse("|none~0|+|none~0|none~1|+|none~0|none~1|none~2|")
    found = gap(SPACE, edge_model, BLOCK_SUM, np.array([exact.genotype, nothing.genotype, dead.genotype]))
    worst_pct = 100 * CELLS * (6.0 + 0.25 * 2 / 3) / BASE_MS
    assert found.architectures == 2
    assert found.worst == SPACE.format(dead)
    assert found.worst_pct == pytest.approx(worst_pct)
    assert found.median_pct == pytest.approx(worst_pct / 2)
    assert found.spearman == pytest.approx(1.0)


def test_the_gap_over_all_cells() -> None:
    found = gap(SPACE, edge_model, BLOCK_SUM, every_cell)
    assert found.architectures == 15_625 - 341
    assert 0 < found.median_pct < found.worst_pct
    assert found.spearman is not None
    assert 0.5 < found.spearman < 1
    worst = SPACE.parse(found.worst)
    error_pct = 100 * (edge_model.latency_ms(worst) / BLOCK_SUM.latency_ms(worst) - 1)
    assert error_pct == pytest.approx(found.worst_pct)


def test_a_gap_of_nothing_is_refused() -> None:
    with pytest.raises(BadInputError, match="none of the architectures is connected"):
        gap(SPACE, edge_model, BLOCK_SUM, np.zeros((3, 6), int))


@pytest.mark.parametrize(
    "genotypes",
    [np.zeros(6, int), np.zeros((2, 5), int), np.zeros((2, 6)), np.full((1, 6), 5), np.full((1, 6), -1)],
)
def test_what_is_no_population_is_refused(genotypes: NDArray[Any]) -> None:
    with pytest.raises(BadInputError, match="of nasbench201 are"):
        edge_model.latencies_ms(genotypes)


def test_strangers_are_refused() -> None:
    with pytest.raises(BadInputError, match="not an architecture of nasbench201"):
        edge_model.latency_ms(Architecture("darts", (0,) * 6))
    with pytest.raises(BadInputError, match="do not fit"):
        edge_model.expected_ms(np.zeros((5, 6)))
    with pytest.raises(BadInputError, match="20 blocks"):
        EdgeAdditive.of(SPACE, np.zeros(16))
