"""ReLUs that networks execute by themselves: counted by a rule, and the rule read from graphs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from profiler_agent.records import Settings
from profiler_agent.runtimes import load_runtime
from profiler_agent.runtimes.placement import operation_texts
from searcher.cost_models.fusing import Seen, read_fusion, relu_operators
from searcher.export.exporter import exporter_for
from searcher.spaces.architecture import Architecture
from searcher.spaces.drawn_networks import drawn_networks
from searcher.spaces.fusion import PRODUCERS, UNFUSED, CellRelus, Fusion, cell_relus
from searcher.spaces.nasbench201 import NasBench201

SPACE = NasBench201(cells_per_stage=2, channels=4, image_size=8)
MERGED, INTO_CONVOLUTIONS = Fusion(True, frozenset()), Fusion(True, frozenset({"conv"}))
EVERYWHERE = Fusion(True, frozenset(PRODUCERS))


def cell(*operations: str) -> tuple[int, ...]:
    one, two, three, four, five, six = operations
    return SPACE.parse(f"|{one}~0|+|{two}~0|{three}~1|+|{four}~0|{five}~1|{six}~2|").genotype


CONV, POOL, SKIP, NONE = "nor_conv_3x3", "avg_pool_3x3", "skip_connect", "none"
CHAIN = cell(CONV, NONE, CONV, NONE, NONE, CONV)  # three convolutions in a row
FAN = cell(CONV, NONE, SKIP, CONV, NONE, SKIP)  # two read the input, and a sum reads both
BESIDE_A_POOL = cell(NONE, CONV, NONE, POOL, NONE, SKIP)  # a convolution and a pool read the input


def test_a_chain_keeps_a_relu_only_where_its_producer_takes_none() -> None:
    assert cell_relus(CHAIN, UNFUSED) == CellRelus(2, {"conv": 1, "avg_pool": 1, "add": 1}, "conv")
    assert cell_relus(CHAIN, INTO_CONVOLUTIONS) == CellRelus(0, {"conv": 0, "avg_pool": 1, "add": 1}, "conv")
    # The first cells of the later stages come after a sum.
    blocks = replace(SPACE, fusion=INTO_CONVOLUTIONS).blocks(Architecture(SPACE.name, CHAIN))
    assert [blocks[SPACE.relu_block(stage)] for stage in range(3)] == [-6, -5, -5]


def test_convolutions_on_one_value_share_its_relu() -> None:
    assert cell_relus(FAN, UNFUSED).on_input["add"] == 2
    assert cell_relus(FAN, MERGED).on_input["add"] == 1
    assert cell_relus(FAN, EVERYWHERE) == CellRelus(0, {"conv": 0, "avg_pool": 0, "add": 0}, "add")


def test_a_value_that_something_else_reads_keeps_its_relu() -> None:
    counted = cell_relus(BESIDE_A_POOL, EVERYWHERE)
    assert counted.on_input == {"conv": 1, "avg_pool": 1, "add": 1}
    assert counted.inside == 0


def test_without_merging_only_a_single_reader_is_fused() -> None:
    alone = Fusion(False, frozenset({"add"}))
    assert cell_relus(FAN, alone).on_input == {"conv": 2, "avg_pool": 2, "add": 2}
    assert cell_relus(CHAIN, alone).on_input == {"conv": 1, "avg_pool": 1, "add": 0}


@pytest.mark.parametrize("rule", [UNFUSED, MERGED, INTO_CONVOLUTIONS, EVERYWHERE, Fusion(False, frozenset({"add"}))])
def test_a_rule_is_read_from_what_it_leaves(rule: Fusion) -> None:
    drawn = drawn_networks(SPACE, 30, np.random.default_rng(3))
    under = replace(SPACE, fusion=rule)
    seen = [Seen(one, ("Conv",) + ("RELU@XNNPACK",) * (under.relus(one) + 4)) for one in drawn]
    found = read_fusion(SPACE, seen)
    assert (found.fusion, found.explained, found.networks, found.holds) == (rule, 30, 30, True)


def test_graphs_that_no_rule_explains_are_told() -> None:
    drawn = drawn_networks(SPACE, 30, np.random.default_rng(3))
    generator = np.random.default_rng(4)
    found = read_fusion(SPACE, [Seen(one, ("Relu",) * int(generator.integers(50))) for one in drawn])
    assert not found.holds


def test_unknown_graphs_say_nothing() -> None:
    drawn = drawn_networks(SPACE, 30, np.random.default_rng(3))
    under = replace(SPACE, fusion=EVERYWHERE)
    seen = [Seen(one, ("Relu",) * (under.relus(one) + 4)) for one in drawn[:20]]
    found = read_fusion(SPACE, [*seen, *(Seen(one, ()) for one in drawn[20:])])
    assert (found.fusion, found.explained, found.networks, found.holds) == (EVERYWHERE, 20, 20, True)
    assert not read_fusion(SPACE, [Seen(one, ()) for one in drawn]).holds


def test_sums_and_pools_that_are_fused_away_are_told() -> None:
    drawn = drawn_networks(SPACE, 30, np.random.default_rng(3))

    def graph(index: int) -> tuple[str, ...]:
        counts = dict(SPACE.computation(drawn[index]).operations)
        cells = 3 * SPACE.cells_per_stage
        fused = 1 if index < 7 and counts["add"] else 0
        sums, pools = cells * counts["add"] + 2 - fused, cells * counts["avg_pool_3x3"] + 3
        return ("Conv",) + ("Add",) * sums + ("AVERAGE_POOL_2D@XNNPACK",) * pools

    found = read_fusion(SPACE, [Seen(one, graph(index)) for index, one in enumerate(drawn)])
    assert (found.pools, 22 < found.adds < 30) == (30, True)


def test_relus_inside_other_operators_do_not_count() -> None:
    assert relu_operators(["Relu", "RELU@XNNPACK", "com.microsoft:FusedConv", "Conv", "Relu6", "Relu@CUDA"]) == 3


@pytest.mark.parametrize(
    ("runtime", "expected"),
    [("onnxruntime", INTO_CONVOLUTIONS), pytest.param("litert", EVERYWHERE, marks=pytest.mark.slow)],
)
def test_the_runtimes_own_graphs_show_their_rules(tmp_path: Path, runtime: str, expected: Fusion) -> None:
    exporter, loaded = exporter_for(runtime), load_runtime(runtime)
    # Cells of which each shows something: shared and single readers of the input, of a convolution, a pool and a sum.
    chosen = [
        CHAIN,
        FAN,
        BESIDE_A_POOL,
        cell(POOL, NONE, NONE, NONE, CONV, NONE),
        cell(CONV, CONV, NONE, NONE, NONE, CONV),
    ]
    seen = []
    for genotype in chosen:
        one = Architecture(SPACE.name, genotype)
        model = exporter.export_network(SPACE, one, tmp_path)
        placed = loaded.placement(model.path, Settings(runtime=runtime), {})
        seen.append(Seen(one, operation_texts(placed, loaded.own_provider)))
    explained = {
        fusion
        for fusion in (UNFUSED, MERGED, INTO_CONVOLUTIONS, EVERYWHERE)
        if len({relu_operators(one.operations) - replace(SPACE, fusion=fusion).relus(one.architecture) for one in seen})
        == 1
    }
    assert explained == {expected}
    assert read_fusion(SPACE, seen).holds
