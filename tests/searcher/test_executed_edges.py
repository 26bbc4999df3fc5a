"""What runtimes may execute of a cell: counts under each rule, by hand and against what the space knows."""

from __future__ import annotations

import numpy as np
import pytest

from searcher.errors import BadInputError
from searcher.spaces.cell import CONV_1X1, CONV_3X3, OPERATIONS, all_genotypes, parse_cell
from searcher.spaces.computation import computation
from searcher.spaces.executed_edges import RULES, executed_edges

EVERY_CELL = np.array(all_genotypes())
SOME = slice(0, 3000)


def counts_of(text: str) -> dict[str, dict[str, int]]:
    counted = executed_edges(np.array([parse_cell(text)]))[:, 0]
    return {
        rule: {name: int(count) for name, count in zip(OPERATIONS, row, strict=True) if count}
        for rule, row in zip(RULES, counted, strict=True)
    }


def test_a_cell_without_none_is_executed_wholly_by_all_rules() -> None:
    counted = counts_of(
        "|nor_conv_3x3~0|+|nor_conv_3x3~0|avg_pool_3x3~1|+|skip_connect~0|nor_conv_3x3~1|skip_connect~2|"
    )
    assert all(one == {"nor_conv_3x3": 3, "avg_pool_3x3": 1, "skip_connect": 2} for one in counted.values())


def test_what_is_fed_by_zeros_leads_but_does_not_live() -> None:
    counted = counts_of("|none~0|+|skip_connect~0|nor_conv_3x3~1|+|nor_conv_1x1~0|skip_connect~1|skip_connect~2|")
    leading = {"skip_connect": 3, "nor_conv_3x3": 1, "nor_conv_1x1": 1}
    assert counted["all"] == {"none": 1, **leading}
    assert counted["leading"] == counted["summed"] == leading
    assert counted["live"] == {"skip_connect": 2, "nor_conv_1x1": 1}


def test_what_leads_nowhere_counts_where_it_is_added_to_a_zero() -> None:
    beside_a_zero = counts_of("|skip_connect~0|+|nor_conv_3x3~0|none~1|+|none~0|nor_conv_3x3~1|none~2|")
    assert beside_a_zero["leading"] == beside_a_zero["live"] == {"skip_connect": 1, "nor_conv_3x3": 1}
    assert beside_a_zero["summed"] == {"skip_connect": 1, "nor_conv_3x3": 2}
    beside_another = counts_of("|skip_connect~0|+|nor_conv_3x3~0|avg_pool_3x3~1|+|none~0|nor_conv_3x3~1|none~2|")
    assert beside_another["summed"] == beside_another["leading"] == {"skip_connect": 1, "nor_conv_3x3": 1}


def test_what_feeds_such_an_addend_counts_too() -> None:
    counted = counts_of("|nor_conv_1x1~0|+|none~0|nor_conv_3x3~1|+|avg_pool_3x3~0|none~1|none~2|")
    assert counted["leading"] == {"avg_pool_3x3": 1}
    assert counted["summed"] == {"avg_pool_3x3": 1, "nor_conv_3x3": 1, "nor_conv_1x1": 1}


def test_live_convolutions_are_those_that_are_computed() -> None:
    live = executed_edges(EVERY_CELL[SOME])[RULES.index("live")]
    computed = [dict(computation(tuple(one.tolist())).operations) for one in EVERY_CELL[SOME]]
    for name in (CONV_1X1, CONV_3X3):
        assert live[:, OPERATIONS.index(name)].tolist() == [one.get(name, 0) for one in computed]


def test_each_rule_executes_no_more_than_a_more_generous_one() -> None:
    everything, leading, summed, live = executed_edges(EVERY_CELL)
    assert (everything.sum(axis=1) == 6).all()
    assert (live <= leading).all()
    assert (leading <= summed).all()
    assert (summed <= everything).all()
    assert not np.array_equal(leading, summed)


def test_what_is_no_cell_is_refused() -> None:
    with pytest.raises(BadInputError, match="rows of 6 integers"):
        executed_edges(np.zeros((2, 5), np.int64))
