"""Counts: the benchmark's, and those of what is alive."""

from __future__ import annotations

import pytest

from searcher.search.scores.counted import Counted
from searcher.spaces.fbnet import FBNet
from searcher.spaces.nasbench201 import NasBench201

SPACE = NasBench201()
FULL = "|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|+|nor_conv_3x3~0|nor_conv_3x3~1|nor_conv_3x3~2|"
# Nothing comes into node 1, and so nothing alive leaves it.
DEAD_BEHIND_NOTHING = "|none~0|+|nor_conv_1x1~0|nor_conv_3x3~1|+|none~0|nor_conv_3x3~1|skip_connect~2|"


def counts(text: str) -> dict[str, float]:
    (answer,) = Counted(SPACE).measure([SPACE.parse(text)])
    assert answer.problem is None
    return dict(answer.values)


def test_where_all_edges_live_both_counts_are_the_benchmarks() -> None:
    found = counts(FULL)
    assert found["parameters"] == found["live_parameters"] == SPACE.parameters(SPACE.parse(FULL)) == 1_531_546
    assert found["macs"] == found["live_macs"] == SPACE.macs(SPACE.parse(FULL)) == 220_119_680


def test_dead_edges_are_in_no_count_of_what_lives() -> None:
    found = counts(DEAD_BEHIND_NOTHING)
    alone = counts("|none~0|+|nor_conv_1x1~0|none~1|+|none~0|none~1|skip_connect~2|")
    assert found["live_parameters"] == alone["live_parameters"] == alone["parameters"]
    assert found["live_macs"] == alone["live_macs"]


def test_all_lives_of_what_is_trained_for_others() -> None:
    every = [SPACE.representative(one) for one in SPACE.architectures()][::25]
    answers = [one.values for one in Counted(SPACE).measure([one for one in every if SPACE.is_connected(one)])]
    for values in answers:
        assert 0 < values["live_parameters"] == values["parameters"]
        assert 0 < values["live_macs"] == values["macs"]


def test_another_space_is_counted_as_its_blocks_say() -> None:
    space = FBNet()
    one = next(iter(space.architectures()))
    (answer,) = Counted(space).measure([one])
    assert answer.values["parameters"] == space.parameters(one)
    assert answer.values["live_macs"] == pytest.approx(space.macs(one), rel=0.2)
