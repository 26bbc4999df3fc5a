"""The NAS-Bench-201 space: strings, keys, counts, blocks and moves."""

from __future__ import annotations

import csv
import gzip
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from searcher.errors import BadInputError
from searcher.spaces.architecture import Architecture
from searcher.spaces.block import CALL_OVERHEAD
from searcher.spaces.cell import OPERATIONS
from searcher.spaces.nasbench201 import NasBench201
from searcher.spaces.space import SearchSpace
from searcher.spaces.survey_formulas import (
    conv_flops,
    conv_parameters,
    linear_flops,
    linear_parameters,
    survey_flops,
    survey_parameters,
)

SPACE = NasBench201()
ALL = tuple(SPACE.architectures())
EXAMPLE = "|nor_conv_3x3~0|+|nor_conv_3x3~0|avg_pool_3x3~1|+|skip_connect~0|nor_conv_3x3~1|skip_connect~2|"
seeds = st.integers(0, 2**32 - 1)
genotypes = st.tuples(*[st.integers(0, 4)] * 6)


def cell_of(operation: str) -> Architecture:
    """Return the cell that has one operation on every edge."""
    return Architecture(SPACE.name, (OPERATIONS.index(operation),) * 6)


def cell(genotype: tuple[int, ...]) -> Architecture:
    return Architecture(SPACE.name, genotype)


def test_it_is_a_search_space() -> None:
    space: SearchSpace = SPACE
    assert space.name == "nasbench201"


def test_all_strings_parse_and_round_trip() -> None:
    texts = [SPACE.format(architecture) for architecture in ALL]
    assert len(set(texts)) == 15_625
    assert [SPACE.parse(text) for text in texts] == list(ALL)


def test_the_genotype_is_in_the_order_of_the_text() -> None:
    assert SPACE.parse(EXAMPLE) == Architecture("nasbench201", (3, 3, 4, 1, 3, 1))
    assert SPACE.format(Architecture("nasbench201", (3, 3, 4, 1, 3, 1))) == EXAMPLE


def test_the_first_cells_are_those_of_the_benchmark() -> None:
    first = "|avg_pool_3x3~0|+|nor_conv_1x1~0|skip_connect~1|+|nor_conv_1x1~0|skip_connect~1|skip_connect~2|"
    assert [SPACE.format(architecture) for architecture in ALL[:2]] == [first, EXAMPLE]


def test_the_order_is_that_of_the_benchmark(data_dir: Path) -> None:
    with gzip.open(data_dir / "nasbench201_accuracy.csv.gz", "rt", newline="") as file:
        written = [row["architecture"] for row in csv.DictReader(file)]
    assert [SPACE.format(architecture) for architecture in ALL] == written


def test_disconnected_cells_are_those_that_the_benchmark_could_not_train(data_dir: Path) -> None:
    with gzip.open(data_dir / "nasbench201_accuracy.csv.gz", "rt", newline="") as file:
        accuracies = [float(row["cifar10_test_200"]) for row in csv.DictReader(file)]
    connected = [SPACE.is_connected(architecture) for architecture in ALL]
    assert connected.count(False) == 341
    assert connected == [accuracy > 11 for accuracy in accuracies]


def test_score_keys_are_as_many_as_the_benchmark_has() -> None:
    assert len({SPACE.score_key(architecture) for architecture in ALL}) == 6_466


def test_a_score_key_as_the_benchmark_writes_it() -> None:
    assert SPACE.score_key(SPACE.parse(EXAMPLE)) == (
        "((0)@nor_conv_3x3)@avg_pool_3x3+(0)@nor_conv_3x3+((0)@nor_conv_3x3)@nor_conv_3x3+0"
    )
    zeros = "|none~0|+|skip_connect~0|nor_conv_3x3~1|+|none~0|none~1|nor_conv_1x1~2|"
    assert SPACE.score_key(SPACE.parse(zeros)) == "#+#+(#+0)@nor_conv_1x1"


def test_a_representative_stands_for_all_that_train_alike() -> None:
    by_key: dict[str, Architecture] = {}
    by_computation: dict[str, Architecture] = {}
    for architecture in ALL:
        representative = SPACE.representative(architecture)
        assert SPACE.representative(representative) == representative
        assert SPACE.is_connected(representative) == SPACE.is_connected(architecture)
        assert by_key.setdefault(SPACE.score_key(architecture), representative) == representative
        assert by_computation.setdefault(SPACE.computation(architecture).text, representative) == representative
    # A few keys stand for several computations, such as those of one pool and of two equal ones.
    assert len(set(by_key.values())) == 4930


@pytest.mark.parametrize(
    "text",
    [
        "",
        "|",
        "+",
        "none",
        EXAMPLE + "\n",
        " " + EXAMPLE,
        EXAMPLE[:-1],
        EXAMPLE + "+",
        EXAMPLE.replace("avg_pool", "max_pool"),
        EXAMPLE.replace("~2", "~1"),
        EXAMPLE.replace("~2", "~²"),
        EXAMPLE.replace("~0", "~00"),
        EXAMPLE.replace("|+|", "||+|"),
        EXAMPLE.replace("+", ""),
        EXAMPLE.upper(),
    ],
)
def test_a_broken_string_is_refused_with_its_text(text: str) -> None:
    with pytest.raises(BadInputError) as error:
        SPACE.parse(text)
    message = str(error.value)
    assert message.startswith(repr(text))
    assert "\n" not in message
    assert message.endswith(".")


def test_a_long_broken_string_is_quoted_in_part() -> None:
    with pytest.raises(BadInputError) as error:
        SPACE.parse("|none~0|+" * 100_000)
    assert len(str(error.value)) < 400


pieces = st.sampled_from([*"|+~012", "none", "skip_connect", "nor_conv_3x3", "avg_pool_3x3"])
damaged = st.builds(
    lambda at, length, piece: EXAMPLE[:at] + piece + EXAMPLE[at + length :],
    st.integers(0, len(EXAMPLE)),
    st.integers(0, 12),
    pieces,
)


@settings(deadline=None)  # a shared machine can stall any example
@given(st.text() | st.lists(pieces).map("".join) | damaged)
def test_any_text_is_a_cell_or_bad_input(text: str) -> None:
    try:
        architecture = SPACE.parse(text)
    except BadInputError:
        return
    assert SPACE.format(architecture) == text


@pytest.mark.parametrize(
    "stranger",
    [
        Architecture("darts", (0, 0, 0, 0, 0, 0)),
        Architecture("nasbench201", (0, 0, 0, 0, 0)),
        Architecture("nasbench201", (0, 0, 0, 0, 0, 5)),
        Architecture("nasbench201", (0, 0, 0, 0, 0, -1)),
    ],
)
def test_an_architecture_of_another_space_is_refused(stranger: Architecture) -> None:
    generator = np.random.default_rng(0)
    for use in (SPACE.format, SPACE.blocks, SPACE.score_key, SPACE.parameters, SPACE.is_connected):
        with pytest.raises(BadInputError):
            use(stranger)
    with pytest.raises(BadInputError):
        SPACE.mutate(stranger, 0.5, generator)
    with pytest.raises(BadInputError):
        SPACE.crossover(ALL[0], stranger, generator)


@settings(deadline=None)  # a shared machine can stall any example
@given(genotypes, genotypes, st.floats(0, 1), seeds)
def test_the_same_seed_moves_the_same_way(
    first: tuple[int, ...], second: tuple[int, ...], rate: float, seed: int
) -> None:
    def moves() -> list[Architecture]:
        generator = np.random.default_rng(seed)
        child = SPACE.crossover(cell(first), cell(second), generator)
        return [SPACE.sample(generator), SPACE.mutate(cell(first), rate, generator), child]

    once = moves()
    assert once == moves()
    for architecture in once:
        assert SPACE.parse(SPACE.format(architecture)) == architecture
        assert all(type(gene) is int for gene in architecture.genotype)
    assert all(gene in pair for gene, pair in zip(once[2].genotype, zip(first, second, strict=True), strict=True))


@settings(deadline=None)  # a shared machine can stall any example
@given(genotypes, seeds)
def test_mutation_at_its_extremes(genotype: tuple[int, ...], seed: int) -> None:
    generator = np.random.default_rng(seed)
    assert SPACE.mutate(cell(genotype), 0.0, generator) == cell(genotype)
    mutant = SPACE.mutate(cell(genotype), 1.0, generator)
    assert all(new != old for new, old in zip(mutant.genotype, genotype, strict=True))
    for rate in (-0.1, 1.1, float("nan")):
        with pytest.raises(BadInputError, match="mutation rate"):
            SPACE.mutate(cell(genotype), rate, generator)


def test_moves_are_spread_evenly() -> None:
    generator = np.random.default_rng(1)
    samples = np.array([SPACE.sample(generator).genotype for _ in range(3000)])
    assert np.abs((samples[..., None] == np.arange(5)).mean(axis=0) - 0.2).max() < 0.04
    old = (0, 1, 2, 3, 4, 0)
    mutants = np.array([SPACE.mutate(cell(old), 0.4, generator).genotype for _ in range(3000)])
    shares = (mutants[..., None] == np.arange(5)).mean(axis=0)
    for edge, gene in enumerate(old):
        expected = np.full(5, 0.1)
        expected[gene] = 0.6
        assert np.abs(shares[edge] - expected).max() < 0.04
    zeros, fours = cell((0,) * 6), cell((4,) * 6)
    children = np.array([SPACE.crossover(zeros, fours, generator).genotype for _ in range(3000)])
    assert np.abs((children == 4).mean(axis=0) - 0.5).max() < 0.04


@pytest.mark.parametrize(
    ("operation", "parameters", "macs"),
    [
        ("none", 73_306, 7_783_040),
        ("skip_connect", 73_306, 7_783_040),
        ("avg_pool_3x3", 73_306, 7_783_040),
        ("nor_conv_3x3", 1_531_546, 220_119_680),
    ],
)
def test_counts_are_those_of_the_benchmark(operation: str, parameters: int, macs: int) -> None:
    architecture = cell_of(operation)
    assert SPACE.parameters(architecture) == parameters
    assert SPACE.macs(architecture) == macs


def test_dead_edges_are_counted_but_not_executed() -> None:
    dead = SPACE.parse("|nor_conv_3x3~0|+|none~0|none~1|+|skip_connect~0|none~1|none~2|")
    alive = SPACE.parse("|nor_conv_3x3~0|+|none~0|none~1|+|skip_connect~0|skip_connect~1|none~2|")
    assert SPACE.parameters(dead) == SPACE.parameters(alive) > SPACE.parameters(cell_of("none"))
    assert SPACE.macs(dead) == SPACE.macs(alive)
    assert sum(SPACE.blocks(dead).values()) == 4
    assert sum(SPACE.blocks(alive).values()) == 4 + 3 * 5 * 2


def test_all_blocks_are_seventeen() -> None:
    blocks = SPACE.all_blocks()
    assert len(blocks) == len({spec.key for spec in blocks}) == 20
    assert blocks[0] == CALL_OVERHEAD
    assert [spec.input_shapes[0] for spec in blocks if spec.operation == "add"] == [
        (1, 16, 32, 32),
        (1, 32, 16, 16),
        (1, 64, 8, 8),
    ]


def test_blocks_are_the_skeleton_and_the_executed_operations() -> None:
    blocks = {spec.key: count for spec, count in SPACE.blocks(SPACE.parse(EXAMPLE)).items()}
    assert blocks == {
        "conv_bn-k3-s1-p1-g1-1x3x32x32-to16-fp32": 1,
        "residual_reduction-k3-s2-p1-g1-1x16x32x32-to32-fp32": 1,
        "residual_reduction-k3-s2-p1-g1-1x32x16x16-to64-fp32": 1,
        "head-k1-s1-p0-g1-1x64x8x8-to10-fp32": 1,
        "relu_conv_bn-k3-s1-p1-g1-1x16x32x32-to16-fp32": 15,
        "avg_pool-k3-s1-p1-g1-1x16x32x32-to16-fp32": 5,
        "add-k1-s1-p0-g1-1x16x32x32+1x16x32x32-to16-fp32": 15,
        "relu_conv_bn-k3-s1-p1-g1-1x32x16x16-to32-fp32": 15,
        "avg_pool-k3-s1-p1-g1-1x32x16x16-to32-fp32": 5,
        "add-k1-s1-p0-g1-1x32x16x16+1x32x16x16-to32-fp32": 15,
        "relu_conv_bn-k3-s1-p1-g1-1x64x8x8-to64-fp32": 15,
        "avg_pool-k3-s1-p1-g1-1x64x8x8-to64-fp32": 5,
        "add-k1-s1-p0-g1-1x64x8x8+1x64x8x8-to64-fp32": 15,
    }


def test_a_table_of_all_blocks_lacks_no_cell_and_holds_no_call_twice() -> None:
    measured = set(SPACE.all_blocks()) - {CALL_OVERHEAD}
    for architecture in ALL[::7]:
        blocks = SPACE.blocks(architecture)
        assert set(blocks) <= measured
        assert bool(blocks) == SPACE.is_connected(architecture)
        assert all(count > 0 for count in blocks.values())


def test_the_skeleton_has_other_sizes() -> None:
    small = NasBench201(cells_per_stage=1, channels=4, classes=3, image_size=8)
    assert small.stage_shape(2) == (1, 16, 2, 2)
    assert len(small.all_blocks()) == 20
    assert sum(small.blocks(cell_of("nor_conv_3x3")).values()) == 4 + 3 * (6 + 3)


@pytest.mark.parametrize("wrong", [(0, 16, 10, 32), (5, 0, 10, 32), (5, 16, -1, 32), (5, 16, 10, 30)])
def test_a_skeleton_that_cannot_be_is_refused(wrong: tuple[int, int, int, int]) -> None:
    with pytest.raises(BadInputError, match="NAS-Bench-201"):
        NasBench201(*wrong)


def test_the_formulas_of_the_survey_are_as_printed() -> None:
    assert conv_flops(height=32, width=32, in_channels=3, kernel=3, out_channels=16) == 2 * 1024 * 28 * 16
    assert linear_flops(64, 10) == 2 * 63 * 10
    assert conv_parameters(3, 3, 16) == 448
    assert linear_parameters(64, 10) == 650


def test_the_survey_counts_input_sizes_biases_and_no_batch_norm() -> None:
    empty = cell_of("none")
    stem = 2 * 1024 * 28 * 16
    first = 2 * 1024 * 145 * 32 + 2 * 256 * 289 * 32 + 2 * 256 * 17 * 32
    second = 2 * 256 * 289 * 64 + 2 * 64 * 577 * 64 + 2 * 64 * 33 * 64
    assert survey_flops(SPACE, empty) == stem + first + second + 2 * 63 * 10
    assert survey_parameters(SPACE, empty) == 448 + (4640 + 9248 + 544) + (18496 + 36928 + 2112) + 650
    edges = 6 * 5 * sum(2 * size**2 * (width * 9 + 1) * width for size, width in ((32, 16), (16, 32), (8, 64)))
    assert survey_flops(SPACE, cell_of("nor_conv_3x3")) == survey_flops(SPACE, empty) + edges
