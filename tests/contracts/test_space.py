"""What every search space must do."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from searcher.errors import BadInputError
from searcher.spaces.architecture import Architecture
from searcher.spaces.block import CALL_OVERHEAD
from searcher.spaces.counts import block_macs, block_parameters
from searcher.spaces.darts import DartsSpace
from searcher.spaces.fbnet import FBNet
from searcher.spaces.nasbench201 import NasBench201
from searcher.spaces.space import SearchSpace


@dataclass(frozen=True)
class Case:
    """A space, and what of its genotypes the Protocol does not tell.

    Where positions depend on each other (`free` is False) genotypes are drawn by the space, and how they move is tested
    beside it.
    """

    space: SearchSpace
    positions: int
    choices: int
    free: bool = True

    @property
    def genotypes(self) -> st.SearchStrategy[tuple[int, ...]]:
        if self.free:
            return st.tuples(*[st.integers(0, self.choices - 1)] * self.positions)
        return SEEDS.map(lambda seed: self.space.sample(np.random.default_rng(seed)).genotype)

    @property
    def first(self) -> tuple[int, ...]:
        return next(self.space.architectures()).genotype if not self.free else (0,) * self.positions

    def architecture(self, genotype: tuple[int, ...]) -> Architecture:
        return Architecture(self.space.name, genotype)


SEEDS = st.integers(0, 2**32 - 1)
FREE = [
    pytest.param(Case(NasBench201(), 6, 5), id="nasbench201"),
    pytest.param(Case(FBNet(), 22, 9), id="fbnet"),
    pytest.param(Case(FBNet(image_size=224, classes=1000), 22, 9), id="fbnet for ImageNet"),
]
CASES = [*FREE, pytest.param(Case(DartsSpace(), 28, 8, free=False), id="darts")]


@pytest.mark.parametrize("case", CASES)
class TestSpace:
    @given(data=st.data())
    def test_every_architecture_has_a_text_of_its_own(self, case: Case, data: st.DataObject) -> None:
        first, second = (case.architecture(data.draw(case.genotypes)) for _ in range(2))
        assert case.space.parse(case.space.format(first)) == first
        assert (case.space.format(first) == case.space.format(second)) == (first == second)

    @given(data=st.data())
    def test_a_damaged_text_is_refused_or_an_architecture_of_its_own(self, case: Case, data: st.DataObject) -> None:
        architecture = case.architecture(data.draw(case.genotypes))
        whole = case.space.format(architecture)
        place, sign = data.draw(st.integers(0, len(whole))), data.draw(st.characters())
        for damaged in (whole[:place] + sign + whole[place:], whole[:place] + sign + whole[place + 1 :], whole[:place]):
            try:
                parsed = case.space.parse(damaged)
            except BadInputError:
                continue
            assert damaged == whole or parsed != architecture
            # Edges of a node have no order of their own where a text tells where each comes from.
            assert case.space.format(parsed) == damaged or not case.free

    def test_a_megabyte_that_is_no_architecture_is_refused_in_one_line(self, case: Case) -> None:
        with pytest.raises(BadInputError) as caught:
            case.space.parse("7-" * 500_000)
        assert len(str(caught.value)) < 400

    @given(data=st.data(), seed=SEEDS, rate=st.floats(0, 1))
    def test_the_same_seed_moves_the_same_way(self, case: Case, data: st.DataObject, seed: int, rate: float) -> None:
        first, second = (case.architecture(data.draw(case.genotypes)) for _ in range(2))

        def moves() -> list[Architecture]:
            generator = np.random.default_rng(seed)
            mutant = case.space.mutate(first, rate, generator)
            return [case.space.sample(generator), mutant, case.space.crossover(first, second, generator)]

        once = moves()
        assert once == moves()
        assert all(type(gene) is int for architecture in once for gene in architecture.genotype)
        assert all(case.space.parse(case.space.format(architecture)) == architecture for architecture in once)
        parents = zip(first.genotype, second.genotype, strict=True)
        assert all(gene in pair for gene, pair in zip(once[2].genotype, parents, strict=True))

    @given(data=st.data(), seed=SEEDS)
    def test_mutation_at_its_extremes(self, case: Case, data: st.DataObject, seed: int) -> None:
        before, generator = case.architecture(data.draw(case.genotypes)), np.random.default_rng(seed)
        assert case.space.mutate(before, 0.0, generator) == before
        mutant = case.space.mutate(before, 1.0, generator)
        changed = [new != old for new, old in zip(mutant.genotype, before.genotype, strict=True)]
        assert all(changed) if case.free else any(changed)
        for rate in (-0.1, 1.1, float("nan")):
            with pytest.raises(BadInputError, match="mutation rate"):
                case.space.mutate(before, rate, generator)

    def test_architectures_come_lazily_and_once(self, case: Case) -> None:
        first = list(islice(case.space.architectures(), 1000))
        assert len(set(first)) == 1000
        assert all(case.space.parse(case.space.format(one)) == one for one in first)

    @given(data=st.data())
    def test_a_representative_stands_for_itself(self, case: Case, data: st.DataObject) -> None:
        architecture = case.architecture(data.draw(case.genotypes))
        chosen = case.space.representative(architecture)
        assert case.space.representative(chosen) == chosen
        assert case.space.is_connected(chosen) == case.space.is_connected(architecture)

    def test_all_blocks_differ_and_the_call_is_among_them(self, case: Case) -> None:
        blocks = case.space.all_blocks()
        assert len({block.key for block in blocks}) == len(set(blocks)) == len(blocks)
        assert CALL_OVERHEAD in blocks
        assert case.space.image_shape in {shape for block in blocks for shape in block.input_shapes}

    @given(data=st.data())
    def test_a_table_of_all_blocks_lacks_none(self, case: Case, data: st.DataObject) -> None:
        blocks = case.space.blocks(case.architecture(data.draw(case.genotypes)))
        assert set(blocks) <= set(case.space.all_blocks()) - {CALL_OVERHEAD}
        assert all(count > 0 for count in blocks.values())

    @given(data=st.data())
    def test_counts_are_at_least_those_of_the_executed_blocks(self, case: Case, data: st.DataObject) -> None:
        architecture = case.architecture(data.draw(case.genotypes))
        blocks = case.space.blocks(architecture).items()
        assert case.space.parameters(architecture) >= sum(count * block_parameters(block) for block, count in blocks)
        assert case.space.macs(architecture) >= sum(count * block_macs(block) for block, count in blocks)

    def test_an_architecture_of_another_space_is_refused(self, case: Case) -> None:
        space, generator = case.space, np.random.default_rng(0)
        genes = case.first
        good = case.architecture(genes)
        strangers = [Architecture("elsewhere", genes), case.architecture(genes[1:]), case.architecture((*genes, 0))]
        strangers += [case.architecture((*genes[1:], wrong)) for wrong in (-1, case.choices)]
        for stranger in strangers:
            uses = (space.format, space.blocks, space.score_key, space.representative, space.parameters, space.macs)
            for use in uses:
                with pytest.raises(BadInputError):
                    use(stranger)
            with pytest.raises(BadInputError):
                space.is_connected(stranger)
            with pytest.raises(BadInputError):
                space.mutate(stranger, 0.5, generator)
            with pytest.raises(BadInputError):
                space.crossover(good, stranger, generator)
            with pytest.raises(BadInputError):
                space.crossover(stranger, good, generator)


@pytest.mark.parametrize("case", FREE)
class TestFreeChoices:
    def test_moves_are_spread_evenly(self, case: Case) -> None:
        generator = np.random.default_rng(1)
        each = np.arange(case.choices)
        drawn = np.array([case.space.sample(generator).genotype for _ in range(3000)])
        assert np.abs((drawn[..., None] == each).mean(axis=0) - 1 / case.choices).max() < 0.04
        old = np.arange(case.positions) % case.choices
        parent = case.architecture(tuple(old.tolist()))
        mutants = np.array([case.space.mutate(parent, 0.4, generator).genotype for _ in range(3000)])
        expected = np.where(old[:, None] == each, 0.6, 0.4 / (case.choices - 1))
        assert np.abs((mutants[..., None] == each).mean(axis=0) - expected).max() < 0.04
        lowest, highest = (case.architecture((gene,) * case.positions) for gene in (0, case.choices - 1))
        children = np.array([case.space.crossover(lowest, highest, generator).genotype for _ in range(3000)])
        assert np.abs((children == case.choices - 1).mean(axis=0) - 0.5).max() < 0.04


@pytest.mark.parametrize("case", CASES)
class TestBlockCounts:
    @given(data=st.data())
    def test_a_row_is_what_blocks_says(self, case: Case, data: st.DataObject) -> None:
        space = case.space
        genotypes = data.draw(st.lists(case.genotypes, min_size=1, max_size=5))
        counts = space.block_counts(np.array(genotypes))
        for genotype, row in zip(genotypes, counts, strict=True):
            expected = {CALL_OVERHEAD: 1, **space.blocks(case.architecture(genotype))}
            found = {block: int(count) for block, count in zip(space.all_blocks(), row, strict=True) if count}
            assert found == expected

    def test_no_architectures_are_no_rows(self, case: Case) -> None:
        counts = case.space.block_counts(np.zeros((0, case.positions), int))
        assert counts.shape == (0, len(case.space.all_blocks()))

    @pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int16, np.uint64, np.int64])
    def test_any_integers_will_do(self, case: Case, dtype: type) -> None:
        generator = np.random.default_rng(0)
        genotypes = np.array([case.space.sample(generator).genotype for _ in range(50)])
        expected = case.space.block_counts(genotypes)
        converted: NDArray[Any] = genotypes.astype(dtype)
        assert np.array_equal(case.space.block_counts(converted), expected)
        assert np.array_equal(case.space.block_counts(np.asfortranarray(converted)), expected)

    def test_what_is_no_population_is_refused(self, case: Case) -> None:
        good = np.array([case.first] * 3)
        for wrong in (good[0], good[:, 1:], good[None], good.astype(float), good.astype(bool)):
            with pytest.raises(BadInputError, match=f"are rows of {case.positions} integers"):
                case.space.block_counts(wrong)
        for gene in (-1, case.choices, 256):
            outside = good.copy()
            outside[2, 1] = gene
            with pytest.raises(BadInputError, match=f"are 0 to {case.choices - 1}, not"):
                case.space.block_counts(outside)
