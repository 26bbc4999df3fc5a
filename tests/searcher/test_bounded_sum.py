"""Bounds of sums in which measured and predicted entries stand beside each other."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from searcher.cost_models.block_sum import BlockSum
from searcher.cost_models.bounded_sum import BoundedSum
from searcher.cost_models.cost_model import BoundedCostModel, LinearCostModel
from searcher.cost_models.prices import LatencyBound, LatencyPrice
from searcher.errors import BadInputError
from searcher.search.limits import Constraint, Limit
from searcher.search.possible import connected_encodings, require_possible
from searcher.spaces.block import CALL_OVERHEAD
from searcher.spaces.nasbench201 import NasBench201
from searcher.tables.lookup_table import Entry, LookupTable, MissingBlockError
from searcher.workflows.price_limits import WantedLimit, constraints_of
from tests.searcher.builders import table
from tests.searcher.searched import random_cells

SPACE = NasBench201()
CELLS = random_cells(SPACE, 50)


def mixed() -> LookupTable:
    """A table whose convolutions are predicted, with intervals five times as wide as those of the others."""
    made = table(SPACE, lambda block: 0.5 if block == CALL_OVERHEAD else 1.0 + len(block.key) / 100)
    entries = {}
    for key, entry in made.entries.items():
        ends = (0.98 * entry.median_ms, 1.02 * entry.median_ms)
        entries[key] = replace(entry, interval_ms=ends)
        if key.startswith("relu_conv_bn"):
            wide = (0.9 * entry.median_ms, 1.1 * entry.median_ms)
            entries[key] = Entry(entry.median_ms, wide, 0.9, 0, 0, False, (), "00", predicted_by="aa")
    return replace(made, entries=entries, provenance=replace(made.provenance, predictors={"p.json": "aa"}))


TABLE = mixed()
MODEL = BoundedSum(SPACE, TABLE)


def test_a_bound_is_the_sum_of_the_upper_ends_of_what_is_executed() -> None:
    bounded: BoundedCostModel = MODEL
    linear: LinearCostModel = MODEL
    call = TABLE.entries[CALL_OVERHEAD.key]
    for cell in CELLS:
        highs = ((TABLE.entries[block.key].interval_ms[1], count) for block, count in SPACE.blocks(cell).items())
        expected = call.interval_ms[1] + sum(count * (high - call.median_ms) for high, count in highs)
        assert bounded.upper_ms(cell, 0.9) == pytest.approx(expected)
        assert linear.latency_ms(cell) == BlockSum(SPACE, TABLE).latency_ms(cell) < expected
    genotypes = np.array([cell.genotype for cell in CELLS])
    assert np.allclose(bounded.uppers_ms(genotypes, 0.8), [MODEL.upper_ms(cell, 0.8) for cell in CELLS])
    assert np.array_equal(linear.latencies_ms(genotypes), BlockSum(SPACE, TABLE).latencies_ms(genotypes))


def test_the_range_of_bounds_is_that_of_all_connected_cells() -> None:
    found = MODEL.latency_range(0.9)
    uppers = MODEL.uppers_ms(connected_encodings(SPACE), 0.9)
    assert (found.low_ms, found.high_ms) == pytest.approx((uppers.min(), uppers.max()))
    assert MODEL.upper_ms(found.slowest, 0.9) == found.high_ms


def test_no_bound_is_surer_than_the_entries_that_it_is_made_of() -> None:
    with pytest.raises(
        BadInputError, match=r"relu_conv_bn.* is predicted with a confidence of 90% only: no bound of 95%"
    ):
        MODEL.upper_ms(CELLS[0], 0.95)
    with pytest.raises(BadInputError, match="between 0 and 1, not at 1"):
        MODEL.upper_ms(CELLS[0], 1.0)
    stem = next(key for key in TABLE.entries if key.startswith("conv_bn"))
    unsure = {**TABLE.entries, stem: replace(TABLE.entries[stem], confidence=0.75)}
    with pytest.raises(BadInputError, match=r"^conv_bn.* is measured with a confidence of 75% only"):
        BoundedSum(SPACE, replace(TABLE, entries=unsure)).upper_ms(CELLS[0], 0.9)


def test_a_table_of_measured_blocks_alone_has_no_bounds() -> None:
    measured = table(SPACE, lambda block: 1.0)
    with pytest.raises(BadInputError, match="a table alone cannot tell how wrong it may be"):
        BoundedSum(SPACE, measured)
    lacking = {key: entry for key, entry in TABLE.entries.items() if not key.startswith("add")}
    with pytest.raises(MissingBlockError):
        BoundedSum(SPACE, replace(TABLE, entries=lacking))
    assert not WantedLimit("latency", 1.0, measured).bounded
    assert WantedLimit("latency", 1.0, TABLE).bounded


def test_a_limit_is_held_against_the_bounds() -> None:
    genotypes = connected_encodings(SPACE)
    wanted = [WantedLimit("latency", None, TABLE, "t.json"), WantedLimit("parameters", 1.0)]
    (plain, _), (bounded, parameters) = (constraints_of(SPACE, wanted, one, genotypes) for one in (None, 0.9))
    assert (plain.limit.confidence, plain.upper) == (None, None)
    assert (bounded.limit.confidence, parameters.limit.confidence) == (0.9, None)
    low, high = (end(MODEL.uppers_ms(genotypes, 0.9)) for end in (np.min, np.max))
    assert bounded.limit.at_most == pytest.approx((low + high) / 2)
    for cell in CELLS:
        cost = bounded.cost(cell)
        assert (cost.value, cost.bound) == (MODEL.latency_ms(cell), MODEL.upper_ms(cell, 0.9))
    assert np.array_equal(bounded.bounds(genotypes), MODEL.uppers_ms(genotypes, 0.9))
    (found, _) = require_possible(SPACE, (bounded, parameters), genotypes)
    assert (found.low, found.high) == pytest.approx((low, high))


def test_bounds_are_a_price_of_their_own() -> None:
    price, bound = LatencyPrice("t", MODEL), LatencyBound("t", MODEL, 0.9)
    constraint = Constraint(Limit("latency", 100.0, 0.9), price, upper=bound)
    (cell, *_) = CELLS
    assert constraint.cost(cell).bound == bound.cost(cell) > constraint.cost(cell).value


@pytest.mark.parametrize(("known", "advice"), [(0.8984376, "ask for --confidence 0.8984 or less"), (0, "more rounds")])
def test_a_measured_entry_of_less_confidence_says_what_can_be_had(known: float, advice: str) -> None:
    entries = {**TABLE.entries, CALL_OVERHEAD.key: replace(TABLE.entries[CALL_OVERHEAD.key], confidence=known)}
    model = BoundedSum(SPACE, replace(TABLE, entries=entries))
    with pytest.raises(BadInputError, match=f"is measured with a confidence of .* only.*{advice}"):
        model.upper_ms(CELLS[0], 0.9)
    if known:
        assert model.upper_ms(CELLS[0], 0.8984) > 0
