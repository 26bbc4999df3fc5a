"""The DARTS space: published genotypes, its cells, its blocks and what they count."""

from __future__ import annotations

import itertools
from collections import Counter

import numpy as np
import pytest
from numpy.typing import NDArray

from searcher.errors import BadInputError
from searcher.spaces.architecture import Architecture
from searcher.spaces.block import CALL_OVERHEAD, BlockSpec
from searcher.spaces.catalogue import space_named
from searcher.spaces.counts import block_parameters
from searcher.spaces.darts import DartsSpace
from searcher.spaces.darts_cell import EDGES, NODE_EDGES, OPERATIONS, POSITIONS, cells_of, two_edges_a_node
from searcher.spaces.darts_extremes import cheapest_cell

SPACE, SMALL = DartsSpace(), DartsSpace(cells=6, channels=4, image_size=8)
NORMAL = (
    "('sep_conv_3x3', 0), ('sep_conv_3x3', 1), ('sep_conv_3x3', 0), ('sep_conv_3x3', 1), ('sep_conv_3x3', 1), "
    "('skip_connect', 0), ('skip_connect', 0), ('dil_conv_3x3', 2)"
)
REDUCE = (
    "('max_pool_3x3', 0), ('max_pool_3x3', 1), ('skip_connect', 2), ('max_pool_3x3', 1), ('max_pool_3x3', 0), "
    "('skip_connect', 2), ('skip_connect', 2), ('max_pool_3x3', 1)"
)
DARTS_V2 = f"Genotype(normal=[{NORMAL}], normal_concat=[2, 3, 4, 5], reduce=[{REDUCE}], reduce_concat=[2, 3, 4, 5])"
"""The second-order genotype as the authors published it: edges into a node stand in the order of their strength."""

POOLS = [OPERATIONS.index("max_pool_3x3"), OPERATIONS.index("avg_pool_3x3")]


def text(normal: str = NORMAL, reduce: str = REDUCE) -> str:
    return f"Genotype(normal=[{normal}], normal_concat=range(2, 6), reduce=[{reduce}], reduce_concat=range(2, 6))"


def counted(space: DartsSpace, architecture: Architecture) -> Counter[str]:
    found: Counter[str] = Counter()
    for spec, count in space.blocks(architecture).items():
        found[spec.operation] += count
    return found


def test_a_published_genotype_is_read_and_its_edges_sorted() -> None:
    published = SPACE.parse(DARTS_V2)
    assert SPACE.parse(text()) == published
    assert SPACE.cell(published, reduction=False)[4:6] == (("skip_connect", 0, 4), ("sep_conv_3x3", 1, 4))
    assert SPACE.cell(published, reduction=True)[-2:] == (("max_pool_3x3", 1, 5), ("skip_connect", 2, 5))
    written = SPACE.format(published)
    swapped = NORMAL.replace("('sep_conv_3x3', 1), ('skip_connect', 0)", "('skip_connect', 0), ('sep_conv_3x3', 1)")
    assert f"normal=[{swapped}], normal_concat=range(2, 6), reduce=[" in written
    assert SPACE.parse(written) == published


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ("", "it needs normal="),
        (f" {text()}", "it needs normal="),
        (text()[:-1], "it needs normal="),
        (text(normal=NORMAL[:-21]), "it needs normal="),
        (text(normal=f"{NORMAL}, ('skip_connect', 0)"), "it needs normal="),
        (text().replace("range(2, 6)", "range(2, 5)"), "it needs normal="),
        (text().replace("', 2)", "', 5)"), "it needs normal="),
        (text().replace("', 2)", "', \uff12)"), "it needs normal="),
        (text().replace("dil_conv_3x3", "none"), "there is no operation 'none', only max_pool_3x3, avg_pool_3x3"),
        (text().replace("dil_conv_3x3", "sep_conv_7x7"), "there is no operation 'sep_conv_7x7'"),
        (text(reduce=REDUCE.replace("0)", "1)", 1)), "both edges into node 2 come from 1"),
        (text(reduce=REDUCE.replace("1)", "2)", 1)), "node 2 comes before what its edge from 2 needs"),
    ],
)
def test_what_is_no_genotype_is_refused(wrong: str, sentence: str) -> None:
    with pytest.raises(BadInputError) as caught:
        SPACE.parse(wrong)
    assert "is not a DARTS genotype: " in str(caught.value)
    assert sentence in str(caught.value)


def test_an_architecture_has_two_edges_into_each_node() -> None:
    good = SPACE.parse(DARTS_V2).genotype
    assert len(good) == POSITIONS
    first = next(place for place, gene in enumerate(good[2:5], start=2) if not gene)
    for wrong in ((0,) * 28, (1,) * 28, (*good[:first], 3, *good[first + 1 :]), (0, *good[1:])):
        with pytest.raises(BadInputError, match="is not an architecture of darts"):
            SPACE.blocks(Architecture("darts", wrong))
        with pytest.raises(BadInputError, match="exactly two edges into each node"):
            SPACE.block_counts(np.array([good, wrong]))


def test_samples_are_spread_evenly_over_pairs_and_operations() -> None:
    generator = np.random.default_rng(1)
    drawn = np.array([SPACE.sample(generator).genotype for _ in range(2000)])
    assert two_edges_a_node(drawn).all()
    for kind, edges in itertools.product((0, 14), NODE_EDGES):
        for edge in edges:
            genes = drawn[:, kind + edge]
            assert abs((genes != 0).mean() - 2 / len(edges)) < 0.05
            shares = np.bincount(genes[genes != 0], minlength=8)[1:] / (genes != 0).sum()
            assert np.abs(shares - 1 / 7).max() < 0.05
    pairs = Counter(tuple(np.flatnonzero(row)) for row in drawn[:, 9:14])
    assert len(pairs) == 10
    assert max(abs(count / 2000 - 0.1) for count in pairs.values()) < 0.04


def test_mutation_changes_each_choice_with_its_rate() -> None:
    generator = np.random.default_rng(2)
    before = SPACE.parse(DARTS_V2)
    mutants = np.array([SPACE.mutate(before, 0.3, generator).genotype for _ in range(1500)])
    assert two_edges_a_node(mutants).all()
    old = np.array(before.genotype)
    # Node 2 has one pair of edges: each of its operations changes with the rate, to any of six.
    assert np.abs((mutants[:, [0, 1, 14, 15]] != old[[0, 1, 14, 15]]).mean(axis=0) - 0.3).max() < 0.05
    changed = mutants[mutants[:, 0] != old[0], 0]
    assert set(np.unique(changed)) == {1, 2, 3, 5, 6, 7}
    of_last = (mutants[:, 9:14] != 0) != (old[9:14] != 0)
    assert of_last.any(axis=1).mean() == pytest.approx(0.3, abs=0.05)
    always = SPACE.mutate(before, 1.0, generator).genotype
    for kind, edges in itertools.product((0, 14), NODE_EDGES[1:]):
        span = slice(kind + edges[0], kind + edges[-1] + 1)
        assert {place for place, gene in enumerate(always[span]) if gene} != {
            place for place, gene in enumerate(before.genotype[span]) if gene
        }


def test_crossover_takes_whole_nodes() -> None:
    generator = np.random.default_rng(3)
    first, second = SPACE.sample(generator), SPACE.sample(generator)
    taken = []
    for _ in range(400):
        child = SPACE.crossover(first, second, generator).genotype
        spans = [slice(kind + edges[0], kind + edges[-1] + 1) for kind in (0, 14) for edges in NODE_EDGES]
        from_first = [child[span] == first.genotype[span] for span in spans]
        assert all(mine or child[span] == second.genotype[span] for mine, span in zip(from_first, spans, strict=True))
        taken.append(from_first)
    assert np.abs(np.array(taken).mean(axis=0) - 0.5).max() < 0.1


def test_architectures_that_number_their_nodes_otherwise_train_alike() -> None:
    # Nodes 2 and 3 read the inputs alone, and 5 reads 2: with 2 and 3 exchanged, it reads 3.
    nodes = ["('max_pool_3x3', 0), ('skip_connect', 1)", "('sep_conv_3x3', 0), ('sep_conv_5x5', 1)"]
    rest = "('skip_connect', 0), ('skip_connect', 1), ('dil_conv_3x3', {0}), ('dil_conv_5x5', 4)"
    one, other, third = (
        SPACE.parse(text(normal=f"{first}, {second}, {rest.format(read)}"))
        for first, second, read in ((*nodes, 2), (*nodes[::-1], 3), (*nodes, 3))
    )
    assert SPACE.score_key(one) == SPACE.score_key(other) != SPACE.score_key(third)
    assert SPACE.blocks(one) == SPACE.blocks(other)
    assert SPACE.representative(one) in (one, other) or SPACE.score_key(SPACE.representative(one)) == SPACE.score_key(
        one
    )


def test_renumbering_changes_no_cost() -> None:
    generator = np.random.default_rng(4)
    moved = 0
    for architecture in [SPACE.sample(generator) for _ in range(50)]:
        chosen = SPACE.representative(architecture)
        moved += chosen != architecture
        assert chosen.genotype <= architecture.genotype
        assert SPACE.blocks(chosen) == SPACE.blocks(architecture)
    assert moved > 5


def test_cells_stand_where_darts_has_them() -> None:
    places = SPACE.cell_places
    assert [index for index, place in enumerate(places) if place.reduction] == [6, 13]
    assert [place.output_shape[1:] for place in (places[0], places[6], places[13])] == [
        (144, 32, 32),
        (288, 16, 16),
        (576, 8, 8),
    ]
    assert places[0].before == places[0].last == (1, 108, 32, 32)
    assert SPACE.feature_cells == (5, 12, 19)
    assert [place.preprocessing[0].operation for place in places[6:9]] == [
        "relu_conv_bn",
        "factorised_reduction",
        "relu_conv_bn",
    ]
    searching = DartsSpace(cells=8, channels=16)
    assert [index for index, place in enumerate(searching.cell_places) if place.reduction] == [2, 5]


def test_blocks_have_their_real_shapes() -> None:
    first, second = SPACE.cell_places[6], SPACE.cell_places[7]
    keys = {
        (place.reduction, name, source): spec.key if (spec := place.operation(name, source)) else None
        for place in (first, second)
        for name in OPERATIONS
        for source in (1, 2)
    }
    assert keys[True, "sep_conv_5x5", 1] == "sep_conv-k5-s2-p2-g1-1x72x32x32-to72-fp32"
    assert keys[True, "sep_conv_5x5", 2] == "sep_conv-k5-s1-p2-g1-1x72x16x16-to72-fp32"
    assert keys[True, "dil_conv_5x5", 1] == "dil_conv-k5-s2-p4-g1-1x72x32x32-to72-fp32"
    assert keys[True, "skip_connect", 1] == "factorised_reduction-k1-s2-p0-g1-1x72x32x32-to72-fp32"
    assert keys[False, "max_pool_3x3", 1] == "max_pool-k3-s1-p1-g1-1x72x16x16-to72-fp32"
    nothing = {key for key, spec in keys.items() if spec is None}
    assert {name for _, name, _ in nothing} == {"none", "skip_connect"}
    assert (True, "skip_connect", 2) in nothing
    assert (True, "skip_connect", 1) not in nothing
    nodes = "+".join(["1x72x16x16"] * 4)
    assert second.concat.key == f"concat-k1-s1-p0-g1-{nodes}-to288-fp32"


@pytest.mark.parametrize("cells", [6, 7, 8, 14, 20])
def test_a_table_holds_49_blocks_whatever_the_depth(cells: int) -> None:
    blocks = DartsSpace(cells=cells).all_blocks()
    assert len(blocks) == 49
    assert set(blocks) == set(SPACE.all_blocks())


def test_every_block_but_the_calls_is_of_some_architecture() -> None:
    generator = np.random.default_rng(5)
    counts = SPACE.block_counts(np.array([SPACE.sample(generator).genotype for _ in range(300)]))
    assert (counts.max(axis=0) > 0).all()
    assert (counts.min(axis=0) >= 0).all()


def test_blocks_of_the_published_genotype() -> None:
    found = counted(SPACE, SPACE.parse(DARTS_V2))
    assert found == {
        "conv_bn": 1,
        "relu_conv_bn": 2 * 20 - 2,
        # The cells after reductions; skips of the reduction cells are of nodes, and compute nothing.
        "factorised_reduction": 2,
        "sep_conv": 5 * 18,
        "dil_conv": 18,
        # Two of input 0 and three of input 1 are one each.
        "max_pool": 2 * 2,
        "add": 4 * 20,
        "concat": 20,
        "pool_head": 1,
    }


def test_parameters_of_the_published_genotype() -> None:
    """The paper tells 3.3 M (table 1) of 20 cells with 36 channels, without the auxiliary head.

    The count by hand goes through the cells of the paper, which need no block of this project.
    """
    total = 3 * 9 * 108 + 2 * 108 + 576 * 10 + 10
    before = last = 108
    after_reduction, width = False, 36
    for cell in range(20):
        reduction = cell in (6, 13)
        width *= 2 if reduction else 1
        total += before * width + last * width + 2 * 2 * width
        if not reduction:
            separable = width * 9 + width * width + 2 * width
            total += (5 * 2 + 1) * separable
        before, last, after_reduction = last, 4 * width, reduction
    assert not after_reduction
    architecture = SPACE.parse(DARTS_V2)
    assert SPACE.parameters(architecture) == total == 3_349_342
    assert SPACE.macs(architecture) == 528_359_040


def test_counts_of_the_new_blocks_by_hand() -> None:
    reduction = BlockSpec("factorised_reduction", ((1, 6, 8, 8),), 4, stride=2)
    assert block_parameters(reduction) == 6 * 4 + 2 * 4
    separable = BlockSpec("sep_conv", ((1, 6, 8, 8),), 6, kernel=5, stride=2, padding=2)
    assert block_parameters(separable) == 2 * (6 * 25 + 6 * 6 + 2 * 6)
    dilated = BlockSpec("dil_conv", ((1, 6, 8, 8),), 6, kernel=5, padding=4)
    assert block_parameters(dilated) == 6 * 25 + 6 * 6 + 2 * 6
    assert (dilated.dilation, separable.dilation) == (2, 1)
    assert dilated.repeatable
    assert not separable.repeatable


def test_counts_are_additive_but_for_pools_of_one_value() -> None:
    generator = np.random.default_rng(6)
    genotypes = np.array([SPACE.sample(generator).genotype for _ in range(200)])
    counts, additive = SPACE.block_counts(genotypes), SPACE.additive_counts()
    assert additive.choices.shape == (28, 8, 49)
    assert not additive.choices[:, 0].any()
    summed = additive.base + additive.choices[np.arange(POSITIONS), genotypes].sum(axis=1)
    pools = np.array([spec.operation.endswith("_pool") for spec in SPACE.all_blocks()])
    assert np.array_equal(summed[:, ~pools], counts[:, ~pools])
    assert (summed[:, pools] >= counts[:, pools]).all()
    repeats = np.array([repeated_pools(tuple(row)) for row in genotypes.tolist()])
    saved = (summed - counts).sum(axis=1)
    assert np.array_equal(saved, repeats @ (18, 2))
    assert saved.any()


def repeated_pools(genes: tuple[int, ...]) -> tuple[int, int]:
    """How many edges of each cell have a pool that another edge of the same source has already."""
    found = []
    for cell in cells_of(genes):
        pools = [(source, gene) for gene, (source, _) in zip(cell, EDGES, strict=True) if gene in POOLS]
        found.append(len(pools) - len(set(pools)))
    return found[0], found[1]


def cost_of_cells(genes: NDArray[np.int64], prices: NDArray[np.float64]) -> NDArray[np.float64]:
    """What cells cost, (n, 14) genes at (14, 8) prices: every operation, and each pool of a source once."""
    costs = np.zeros(len(genes))
    pools = {pool: genes == pool for pool in POOLS}
    for edge in range(len(EDGES)):
        paid = prices[edge].copy()
        paid[POOLS] = 0.0
        costs += paid[genes[:, edge]]
    for source, pool in itertools.product(range(5), POOLS):
        edges = [edge for edge, (first, _) in enumerate(EDGES) if first == source]
        there = np.logical_or.reduce([pools[pool][:, edge] for edge in edges])
        costs += there * prices[edges[0], pool]
    return costs


@pytest.mark.parametrize("seed", range(2))
def test_the_cheapest_cell_is_that_of_all_cells(seed: int) -> None:
    """Of the six other operations only the cheapest can be part of it: all cells of three operations are looked at."""
    generator = np.random.default_rng(seed)
    prices = np.zeros((len(EDGES), len(OPERATIONS)))
    by_source = generator.standard_normal((5, len(OPERATIONS))) + (0.8 if seed % 2 else -0.2)
    for edge, (source, _) in enumerate(EDGES):
        prices[edge] = by_source[source]
    prices[:, [3, 5, 6, 7]] = 100.0
    prices[:, 0] = 0.0
    operations = np.array(list(itertools.product((1, 2, 4), repeat=8)))
    least = np.inf
    for pairs in itertools.product(*[itertools.combinations(edges, 2) for edges in NODE_EDGES]):
        genes = np.zeros((len(operations), len(EDGES)), np.int64, order="F")
        genes[:, list(itertools.chain.from_iterable(pairs))] = operations
        least = min(least, cost_of_cells(genes, prices).min())
    found = np.array([cheapest_cell(prices)])
    assert cost_of_cells(found, prices)[0] == pytest.approx(least)


@pytest.mark.parametrize("seed", range(3))
def test_nothing_is_beyond_the_extremes(seed: int) -> None:
    generator = np.random.default_rng(seed)
    block_ms = generator.standard_normal(49)
    found = SPACE.extremes(block_ms)
    drawn = [SPACE.sample(generator) for _ in range(500)]
    drawn += [SPACE.mutate(end, 0.05, generator) for end in (found.least, found.most) for _ in range(500)]
    costs = SPACE.block_counts(np.array([one.genotype for one in drawn])) @ block_ms
    least, most = (SPACE.block_counts(np.array([one.genotype]))[0] @ block_ms for one in (found.least, found.most))
    assert least <= costs.min() + 1e-9
    assert most >= costs.max() - 1e-9
    assert costs.max() - costs.min() > 1


def test_prices_of_something_else_are_refused() -> None:
    for wrong in (np.zeros(48), np.full(49, np.nan)):
        with pytest.raises(BadInputError, match="price"):
            SPACE.extremes(wrong)


@pytest.mark.parametrize(
    ("sizes", "complaint"),
    [
        ({"channels": 0}, "at least 1"),
        ({"classes": 0}, "at least 1"),
        ({"image_size": 0}, "at least 1"),
        ({"image_size": 30}, "not divisible by 4"),
        ({"cells": 5}, "at least 6 cells, not 5"),
    ],
)
def test_networks_that_cannot_be_are_refused(sizes: dict[str, int], complaint: str) -> None:
    with pytest.raises(BadInputError, match=complaint):
        DartsSpace(**sizes)


def test_the_space_by_its_name() -> None:
    assert space_named("darts") == SPACE
    assert space_named("darts", 6, image_size=8, channels=4) == SMALL
    assert space_named("darts", classes=100) == DartsSpace(classes=100)
    with pytest.raises(BadInputError, match="networks of fbnet have one width"):
        space_named("fbnet", channels=8)


def test_the_call_is_counted_once_and_is_no_block_of_a_network() -> None:
    architecture = SMALL.parse(DARTS_V2)
    assert CALL_OVERHEAD not in SMALL.blocks(architecture)
    (row,) = SMALL.block_counts(np.array([architecture.genotype]))
    assert row[SMALL.all_blocks().index(CALL_OVERHEAD)] == 1
