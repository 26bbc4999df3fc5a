"""Whole populations at once against one architecture at a time."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from searcher.cost_models.block_sum import BlockSum
from searcher.errors import BadInputError
from searcher.spaces.architecture import Architecture
from searcher.spaces.block import CALL_OVERHEAD
from searcher.spaces.cell import all_genotypes
from searcher.spaces.computation import computation
from searcher.spaces.fusion import PRODUCERS, UNFUSED, Fusion
from searcher.spaces.nasbench201 import NasBench201
from tests.searcher.builders import table

SPACE = NasBench201(cells_per_stage=3)
ALL = np.array(all_genotypes())


def row_of(space: NasBench201, genotype: tuple[int, ...]) -> list[int]:
    """Count one architecture's blocks by the road for one."""
    blocks = {**space.blocks(Architecture(space.name, genotype)), CALL_OVERHEAD: 1}
    return [blocks.get(block, 0) for block in space.all_blocks()]


FUSIONS = [
    Fusion(merges, frozenset(into))
    for merges in (False, True)
    for size in range(len(PRODUCERS) + 1)
    for into in itertools.combinations(PRODUCERS, size)
]


@pytest.mark.parametrize("fusion", FUSIONS, ids=lambda one: "+".join(["merged"] * one.merges + sorted(one.into)))
def test_every_cell_has_the_counts_of_its_blocks(fusion: Fusion) -> None:
    space = replace(SPACE, fusion=fusion)
    # Every cell under the rules that change nothing and that change most, a tenth of them under those between.
    chosen = all_genotypes()[:: 1 if fusion in (FUSIONS[0], FUSIONS[-1]) else 10]
    expected = np.array([row_of(space, genotype) for genotype in chosen])
    assert (space.block_counts(np.array(chosen)) == expected).all()
    relus = expected[:, -3:].sum()
    assert relus == 0 if fusion == UNFUSED else relus < 0


def test_a_row_depends_on_its_own_encoding_alone() -> None:
    whole = SPACE.block_counts(ALL)
    chosen = np.random.default_rng(5).integers(len(ALL), size=10_000)
    assert (SPACE.block_counts(ALL[chosen]) == whole[chosen]).all()
    for index in chosen[:20]:
        assert (SPACE.block_counts(ALL[index : index + 1])[0] == whole[index]).all()


def test_nothing_is_kept_for_single_architectures() -> None:
    before = computation.cache_info()
    SPACE.block_counts(ALL)
    assert computation.cache_info() == before


@pytest.mark.parametrize("kind", [np.int8, np.uint8, np.int32, np.uint64])
def test_any_integers_will_do(kind: type[np.integer[Any]]) -> None:
    assert (SPACE.block_counts(ALL[:100].astype(kind)) == SPACE.block_counts(ALL[:100])).all()


def test_the_skeletons_sizes_count_and_do_not_overflow() -> None:
    deep = NasBench201(cells_per_stage=100_000, channels=4, image_size=8)
    all_convolutions = (3,) * 6
    assert deep.block_counts(np.array([all_convolutions])).tolist() == [row_of(deep, all_convolutions)]
    assert deep.block_counts(np.array([all_convolutions])).max() == 600_000


def test_no_architectures_have_no_counts() -> None:
    model = BlockSum(SPACE, table(SPACE, lambda block: 1.0))
    assert SPACE.block_counts(np.empty((0, 6), int)).shape == (0, 20)
    assert model.latencies_ms(np.empty((0, 6), int)).shape == (0,)


@pytest.mark.parametrize(
    ("genotypes", "complaint"),
    [
        (np.zeros(6, int), r"rows of 6 integers, not int64 of the shape \(6,\)"),
        (np.zeros((2, 5), int), r"rows of 6 integers, not int64 of the shape \(2, 5\)"),
        (np.zeros((0, 5), int), "rows of 6 integers"),
        (np.zeros((2, 6)), "rows of 6 integers, not float64"),
        (np.array([[0, 0, 0, 0, 0, 5]]), "are 0 to 4, not 0 to 5"),
        (np.array([[0, 0, 0, 0, 0, -1]]), "are 0 to 4, not -1 to 0"),
        (np.array([[256, 0, 0, 0, 0, 0]]), "are 0 to 4, not 0 to 256"),
    ],
)
def test_what_is_no_population_is_refused(genotypes: NDArray[Any], complaint: str) -> None:
    model = BlockSum(SPACE, table(SPACE, lambda block: 1.0))
    for use in (SPACE.block_counts, model.latencies_ms):
        with pytest.raises(BadInputError, match=complaint):
            use(genotypes)


@given(
    entries=st.lists(st.floats(1e-3, 1e3), min_size=20, max_size=20),
    chosen=st.lists(st.integers(0, len(ALL) - 1), min_size=1, max_size=30),
)
def test_a_population_costs_what_its_members_cost(entries: list[float], chosen: list[int]) -> None:
    costs = dict(zip(SPACE.all_blocks(), entries, strict=True))
    model = BlockSum(SPACE, table(SPACE, costs.__getitem__))
    singly = [model.latency_ms(Architecture(SPACE.name, tuple(ALL[index].tolist()))) for index in chosen]
    # An entry may cost less than the call: sums of both signs are exact only as far as their largest parts are.
    assert model.latencies_ms(ALL[chosen]) == pytest.approx(singly, rel=1e-9, abs=1e-9 * max(entries))


def test_a_population_longer_than_what_is_priced_at_once() -> None:
    model = BlockSum(SPACE, table(SPACE, lambda block: 1.0 + block.output_channels / 7))
    by_genotype = {tuple(one): ms for one, ms in zip(ALL.tolist(), model.latencies_ms(ALL), strict=True)}
    for index in (0, 4095, 4096, 15_624):
        genotype = all_genotypes()[index]
        assert by_genotype[genotype] == pytest.approx(model.latency_ms(Architecture(SPACE.name, genotype)))
