"""Typed limits: what architectures cost, by how much they break limits, and what no architecture can keep."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from searcher.cost_models.cost_model import ImpossibleLimitError
from searcher.cost_models.energy_sum import EnergyPrice
from searcher.cost_models.memory_price import MemoryPrice
from searcher.cost_models.prices import CountPrice, LatencyPrice
from searcher.errors import BadInputError
from searcher.search.limits import Constraint, Cost, Limit, violation, violations
from searcher.search.possible import connected_encodings, require_possible
from searcher.spaces.architecture import Architecture
from searcher.spaces.block import CALL_OVERHEAD
from searcher.spaces.fbnet import FBNet
from searcher.spaces.memory import peak_tensors
from searcher.spaces.nasbench201 import NasBench201
from searcher.spaces.space import SearchSpace
from searcher.tables.lookup_table import LookupTable
from searcher.workflows.price_limits import WantedLimit, constraints_of
from tests.searcher.builders import table
from tests.searcher.search_parts import CountingCost

SPACE = NasBench201()
GENOTYPES = connected_encodings(SPACE)
LUT = table(SPACE, lambda block: 0.01 + len(block.key) / 100)


def powered(lut: LookupTable, energy_mj: float = 3.0) -> LookupTable:
    """A table whose call takes 1 mJ and whose other blocks take as much as is said."""
    entries = {
        key: replace(entry, energy_mj=1.0 if key == CALL_OVERHEAD.key else energy_mj)
        for key, entry in lut.entries.items()
    }
    return replace(lut, entries=entries)


def constraints(*wanted: WantedLimit) -> tuple[Constraint, ...]:
    return constraints_of(SPACE, wanted, None, GENOTYPES)


def architectures(genotypes: Sequence[Sequence[int]]) -> list[Architecture]:
    return [Architecture(SPACE.name, tuple(int(gene) for gene in genotype)) for genotype in genotypes]


def test_a_violation_has_no_unit_and_adds_up() -> None:
    limits = (Limit("latency", 10.0), Limit("parameters", 0.5))
    assert violation([Cost("latency", 9.0, 10.0), Cost("parameters", 0.5, 0.5)], limits) == 0
    # Predicted within the limit, but bounded above it: the bound counts.
    assert violation([Cost("latency", 9.0, 12.0), Cost("parameters", 1.0, 1.0)], limits) == pytest.approx(1.2)


def test_what_is_connected_is_all_that_is_counted() -> None:
    connected = {one.genotype for one in SPACE.architectures() if SPACE.is_connected(one)}
    assert {tuple(row) for row in GENOTYPES.tolist()} == connected
    assert len(GENOTYPES) == len(connected) == 15_625 - 341
    with pytest.raises(BadInputError, match="fbnet is too large to be priced whole"):
        connected_encodings(FBNet())


def test_prices_of_many_are_those_of_one() -> None:
    wanted = [WantedLimit(quantity, 1.0) for quantity in ("memory", "flops", "parameters")]
    wanted += [WantedLimit("latency", 1.0, LUT, "lut.json"), WantedLimit("energy", 1.0, powered(LUT), "lut.json")]
    rows = GENOTYPES[np.random.default_rng(0).integers(len(GENOTYPES), size=40)]
    for constraint in constraints(*wanted):
        expected = [constraint.cost(one).bound for one in architectures(rows.tolist())]
        assert constraint.bounds(rows).tolist() == pytest.approx(expected, rel=1e-12)
        assert min(expected) > 0


@pytest.mark.parametrize("space", [SPACE, FBNet()])
def test_counts_are_those_of_the_space(space: SearchSpace) -> None:
    generator = np.random.default_rng(1)
    drawn = [space.sample(generator) for _ in range(20)]
    genotypes = np.array([one.genotype for one in drawn])
    flops, parameters = CountPrice(space, "flops"), CountPrice(space, "parameters")
    assert flops.costs(genotypes).tolist() == [space.macs(one) / 1e6 for one in drawn]
    assert parameters.costs(genotypes).tolist() == [space.parameters(one) / 1e6 for one in drawn]


def test_the_greatest_cell_counts_what_the_benchmark_says() -> None:
    greatest = np.full((1, 6), 3)  # nor_conv_3x3 everywhere
    assert CountPrice(SPACE, "flops").costs(greatest)[0] == pytest.approx(220.12, abs=0.005)
    assert CountPrice(SPACE, "parameters").costs(greatest)[0] == pytest.approx(1.5315, abs=5e-5)


def test_energy_is_one_call_and_what_blocks_take_beside_theirs() -> None:
    price = EnergyPrice(SPACE, powered(LUT), "lut.json")
    # Stem, two reductions and head, then one convolution in each of 15 cells: 2 mJ beside each call.
    cell = SPACE.parse("|none~0|+|none~0|none~1|+|nor_conv_3x3~0|none~1|none~2|")
    assert price.cost(cell) == pytest.approx(1 + 2 * (4 + 15))
    with pytest.raises(BadInputError, match=r"lut.json tells no energy of identity-k1"):
        EnergyPrice(SPACE, LUT, "lut.json")


@pytest.mark.parametrize(
    ("cell", "tensors"),
    [
        ("|none~0|+|none~0|none~1|+|none~0|none~1|none~2|", 0),
        ("|none~0|+|none~0|none~1|+|skip_connect~0|none~1|none~2|", 1),
        ("|none~0|+|none~0|none~1|+|nor_conv_3x3~0|none~1|none~2|", 2),
        # A chain: each value is gone when the next one is there.
        ("|nor_conv_3x3~0|+|none~0|nor_conv_3x3~1|+|none~0|none~1|nor_conv_3x3~2|", 2),
        # A residual: the input is kept for the sum; and x + x takes the input and the sum.
        ("|none~0|+|nor_conv_1x1~0|none~1|+|skip_connect~0|none~1|nor_conv_3x3~2|", 3),
        ("|skip_connect~0|+|none~0|none~1|+|skip_connect~0|skip_connect~1|none~2|", 2),
        # Three branches of the input: the third is computed beside the input and the first two.
        ("|nor_conv_3x3~0|+|nor_conv_3x3~0|none~1|+|nor_conv_3x3~0|skip_connect~1|skip_connect~2|", 4),
    ],
)
def test_tensors_that_live_at_once(cell: str, tensors: int) -> None:
    assert peak_tensors(SPACE.parse(cell).genotype) == tensors


def test_memory_is_weights_and_the_worst_moment() -> None:
    space = NasBench201(cells_per_stage=1)
    price, stage = MemoryPrice(space), 16 * 32 * 32
    plain = space.parse("|none~0|+|none~0|none~1|+|skip_connect~0|none~1|none~2|")
    # Copies alone: the reduction is the worst moment, its input and two results of half its size.
    assert price.cost(plain) == pytest.approx(4 * (space.parameters(plain) + 2 * stage) / 1e6)
    branches = space.parse("|nor_conv_3x3~0|+|nor_conv_3x3~0|none~1|+|nor_conv_3x3~0|skip_connect~1|skip_connect~2|")
    assert price.cost(branches) == pytest.approx(4 * (space.parameters(branches) + 4 * stage) / 1e6)
    # An edge that nothing uses has parameters, but no memory.
    dead = space.parse("|nor_conv_3x3~0|+|none~0|none~1|+|skip_connect~0|none~1|none~2|")
    assert space.parameters(dead) > space.parameters(plain)
    assert price.cost(dead) == price.cost(plain)
    with pytest.raises(BadInputError, match="for nasbench201 alone, not for fbnet"):
        MemoryPrice(FBNet())


@pytest.mark.parametrize("quantity", ["latency", "energy", "memory", "flops", "parameters"])
def test_a_limit_is_possible_down_to_the_least_and_no_further(quantity: str) -> None:
    prices = powered(LUT) if quantity in ("latency", "energy") else None

    def limited(at_most: float) -> tuple[Constraint, ...]:
        return constraints(WantedLimit(quantity, at_most, prices))

    (found,) = require_possible(SPACE, limited(1e6), GENOTYPES)
    (price,) = (one.price for one in limited(1.0))
    rng = np.random.default_rng(2)
    drawn = architectures(GENOTYPES[rng.integers(len(GENOTYPES), size=100)].tolist())
    assert all(found.low <= price.cost(one) <= found.high for one in drawn)
    require_possible(SPACE, limited(found.low), GENOTYPES)
    with pytest.raises(ImpossibleLimitError, match=f"the least possible is {found.low:.4f} "):
        require_possible(SPACE, limited(found.low * 0.999), GENOTYPES)
    middle = constraints(WantedLimit(quantity, None, prices))[0].limit.at_most
    assert middle == pytest.approx((found.low + found.high) / 2)


class FewConvolutionsAreSlow(CountingCost):
    """Latency in ms: seven less the number of 3×3 convolutions."""

    def latency_ms(self, architecture: Architecture) -> float:
        return 7 - super().latency_ms(architecture)

    def latencies_ms(self, genotypes: NDArray[np.integer[Any]]) -> NDArray[np.float64]:
        return 7 - super().latencies_ms(genotypes)


def test_limits_that_exclude_each_other_are_named_with_the_least_violation() -> None:
    slow = Constraint(Limit("latency", 3.0, source="odd.json"), LatencyPrice("odd.json", FewConvolutionsAreSlow()))
    flops, parameters = constraints(WantedLimit("flops", 200.0), WantedLimit("parameters", 0.5))
    together = (flops, slow, parameters)
    for one in together:
        require_possible(SPACE, [one], GENOTYPES)
    require_possible(SPACE, together[:2], GENOTYPES)
    with pytest.raises(ImpossibleLimitError) as caught:
        require_possible(SPACE, together, GENOTYPES)
    said = str(caught.value)
    assert said.startswith(
        "no architecture can keep the limits on latency (odd.json) of 3 ms and parameters of 0.5 M at once: "
    )
    # One convolution less is 1 ms of 3 more.
    two = together[1:]
    least = violations(two, GENOTYPES).sum(axis=1).min()
    assert 0 < least < 1
    found = re.search(r"the least violation is (\S+), of (\|\S+\|) with", said)
    assert found is not None
    assert float(found[1]) == pytest.approx(least, abs=5e-5)
    nearest = SPACE.parse(found[2])
    costs = [one.cost(nearest) for one in two]
    assert violation(costs, [one.limit for one in two]) == pytest.approx(least)
    assert said.endswith(f" with {costs[0].bound:.4f} ms, {costs[1].bound:.4f} M")


def test_limits_that_can_be_kept_one_by_one_and_together_are_let_pass() -> None:
    kept = constraints(WantedLimit("flops", 60.0), WantedLimit("latency", None, LUT), WantedLimit("parameters", 0.4))
    ranges = require_possible(SPACE, kept, GENOTYPES)
    assert len(ranges) == 3
    assert (violations(kept, GENOTYPES).sum(axis=1) == 0).any()
    assert violations([], GENOTYPES[:3]).shape == (3, 0)


@pytest.mark.parametrize(
    ("asked", "part"),
    [
        ({"quantity": "price", "at_most": 1.0}, "limits on latency, energy, memory, flops, parameters, not on 'price'"),
        ({"quantity": "flops", "at_most": float("nan")}, "a positive number of MFLOPs, not nan"),
        ({"quantity": "latency", "at_most": 1.0}, "a limit on latency takes the file that prices it"),
        ({"quantity": "memory", "at_most": 1.0, "prices": LUT}, "is of the space alone: it takes no file"),
    ],
)
def test_limits_that_cannot_be_priced_are_refused(asked: dict[str, Any], part: str) -> None:
    with pytest.raises(BadInputError, match=part):
        WantedLimit(**asked)


def test_texts_and_units() -> None:
    assert Limit("latency", 12.5, 0.95, "pi.json").text == "latency (pi.json) of 12.5 ms"
    assert [Limit(one, 1.0).unit for one in ("energy", "memory", "flops", "parameters")] == ["mJ", "MB", "MFLOPs", "M"]
