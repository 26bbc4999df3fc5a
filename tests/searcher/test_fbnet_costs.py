"""What FBNet chains cost: the extremes, the edge-additive model, and public latencies that are sums of blocks."""

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

from searcher.cost_models.agreement import agreement
from searcher.cost_models.block_sum import BlockSum
from searcher.cost_models.cost_model import latency_range, linear_latencies_ms
from searcher.cost_models.edge_additive import EdgeAdditive, gap
from searcher.errors import BadInputError
from searcher.spaces.fbnet import FBNet
from searcher.spaces.fbnet_layers import CHOICES, LAYERS, SKIP
from tests.searcher.builders import table

SPACE = FBNet()
BLOCKS = len(SPACE.all_blocks())
seeds = st.integers(0, 2**32 - 1)


def drawn(generator: np.random.Generator, count: int) -> np.ndarray:
    return generator.integers(len(CHOICES), size=(count, LAYERS))


@settings(max_examples=30)
@given(seed=seeds)
def test_nothing_near_the_extremes_or_far_from_them_is_beyond(seed: int) -> None:
    generator = np.random.default_rng(seed)
    block_ms = generator.normal(size=BLOCKS)
    found = SPACE.extremes(block_ms)
    # All that differs from an extreme in three layers at most, and chains from anywhere.
    layers = generator.choice(LAYERS, size=3, replace=False)
    for extreme, sign in ((found.least, 1), (found.most, -1)):
        near = np.tile(extreme.genotype, (len(CHOICES) ** 3, 1))
        near[:, layers] = list(itertools.product(range(len(CHOICES)), repeat=3))
        others = linear_latencies_ms(SPACE, sign * block_ms, np.vstack([near, drawn(generator, 200)]))
        (own,) = linear_latencies_ms(SPACE, sign * block_ms, np.array([extreme.genotype]))
        assert own == pytest.approx(others.min())


def test_skips_are_the_fastest_where_they_are_nothing() -> None:
    model = BlockSum(SPACE, table(SPACE, lambda block: 1.0 + (block.hidden_channels or 0) / 100))
    found = latency_range(model)
    kept = [layer.keeps_shape for layer in SPACE.layers]
    chosen = SPACE.choices(found.fastest)
    # Where a skip is a convolution it has no hidden channels, and is as cheap here: the table's call is 1 ms too.
    assert [choice == SKIP for choice, keeps in zip(chosen, kept, strict=True) if keeps] == [True] * sum(kept)
    assert {choice.split("_")[1] for choice in SPACE.choices(found.slowest)} == {"e6"}
    assert found.low_ms == pytest.approx(model.latency_ms(found.fastest))
    assert found.high_ms == pytest.approx(model.latency_ms(found.slowest))


@given(seed=seeds)
def test_the_edge_additive_model_is_exact(seed: int) -> None:
    generator = np.random.default_rng(seed)
    block_ms = generator.normal(size=BLOCKS)
    genotypes = drawn(generator, 50)
    expected = linear_latencies_ms(SPACE, block_ms, genotypes)
    assert EdgeAdditive.of(SPACE, block_ms).latencies_ms(genotypes) == pytest.approx(expected, abs=1e-9)


def test_there_is_no_gap() -> None:
    model = BlockSum(SPACE, table(SPACE, lambda block: 1.0 + block.output_channels / 100))
    genotypes = drawn(np.random.default_rng(3), 500)
    found = gap(SPACE, EdgeAdditive.of(SPACE, model.block_ms), model, genotypes)
    assert found.architectures == 500
    assert abs(found.worst_pct) < 1e-9
    # Chains that cost the same differ by rounding in one model and not in the other.
    assert found.spearman is not None
    assert found.spearman > 0.999


def test_prices_of_another_space_are_refused() -> None:
    for use in (SPACE.extremes, lambda prices: EdgeAdditive.of(SPACE, prices)):
        with pytest.raises(BadInputError, match="105 blocks"):
            use(np.zeros(17))


@pytest.mark.parametrize("device", ["raspi4_ms", "pixel3_ms"])
def test_blocks_fitted_to_half_of_the_public_latencies_tell_the_other_half(
    data_file: Callable[[str], Path], device: str
) -> None:
    with gzip.open(data_file("fbnet_latency.csv.gz"), "rt", newline="") as file:
        measured = {row["architecture"]: float(row[device]) for row in csv.DictReader(file)}
    names = list(measured)
    genotypes = np.array([SPACE.parse(name).genotype for name in names])
    fitted, others = genotypes[::2], genotypes[1::2]
    latencies = np.array([measured[name] for name in names[::2]])
    block_ms, *_ = np.linalg.lstsq(SPACE.block_counts(fitted).astype(np.float64), latencies, rcond=None)
    predicted = dict(zip(names[1::2], linear_latencies_ms(SPACE, block_ms, others).tolist(), strict=True))
    found = agreement(predicted, {name: measured[name] for name in predicted}, np.random.default_rng(1), resamples=20)
    assert found.networks == 2_500
    assert found.mape_pct.value is not None
    assert found.mape_pct.value < 0.01
    assert found.within_5_share.value == 1.0
    assert found.kendall_tau.value is not None
    assert found.kendall_tau.value > 0.999
