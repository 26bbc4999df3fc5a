"""Scores by name, what they need, and how several become one."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from searcher.errors import BadInputError
from searcher.search.scores.counted import COUNTED_NAMES, Counted
from searcher.search.scores.joined import Joined, measurer_of
from searcher.search.scores.measuring import Measured
from searcher.search.scores.named_scores import (
    FUSED,
    LIVE_PARAMETERS,
    NAMED_SCORES,
    RMI,
    RMI_LOSS,
    FusedScore,
    score_named,
)
from searcher.spaces.nasbench201 import NasBench201
from tests.searcher.measurers import FakeMeasurer

SPACE = NasBench201()
CELLS = [
    SPACE.representative(SPACE.parse(text))
    for text in (
        "|nor_conv_3x3~0|+|none~0|skip_connect~1|+|avg_pool_3x3~0|none~1|nor_conv_1x1~2|",
        "|skip_connect~0|+|none~0|skip_connect~1|+|none~0|none~1|nor_conv_1x1~2|",
    )
]
MEASURED = [
    {"rmi": 2.0, "loss": 0.9, "live_parameters": 70.0, "parameters": 90.0, "macs": 5.0, "synflow": 3.0, "naswot": 1.0},
    {"rmi": 2.5, "loss": 0.5, "live_parameters": 50.0, "parameters": 95.0, "macs": 4.0, "synflow": 3.5, "naswot": 1.5},
    {"rmi": 2.2, "loss": 0.5, "live_parameters": 80.0, "parameters": 80.0, "macs": 6.0, "synflow": 2.0, "naswot": 1.2},
]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("rmi", [2.0, 2.5, 2.2]),
        ("rmi-loss", [-0.9, -0.5, -0.5]),
        # Ranks by φ 1, 3, 2; by living parameters 2, 1, 3.
        ("fused", [3 / 6, 4 / 6, 5 / 6]),
        ("synflow", [3.0, 3.5, 2.0]),
        ("naswot", [1.0, 1.5, 1.2]),
        ("parameters", [90.0, 95.0, 80.0]),
        ("flops", [5.0, 4.0, 6.0]),
    ],
)
def test_each_score_by_hand(name: str, expected: list[float]) -> None:
    assert score_named(name).scores(MEASURED) == pytest.approx(expected)


def test_names_are_those_of_the_scores_and_each_is_there_once() -> None:
    names = [score.name for score in NAMED_SCORES]
    assert sorted(names) == ["flops", "fused", "naswot", "parameters", "rmi", "rmi-loss", "synflow"]
    assert [score_named(name) for name in names] == list(NAMED_SCORES)


def test_an_unknown_name_is_answered_with_all() -> None:
    with pytest.raises(BadInputError, match=r"^there is no score 'RMI', only rmi, rmi-loss, fused, .*flops$"):
        score_named("RMI")


def test_counts_need_no_training() -> None:
    assert {score.name for score in NAMED_SCORES if set(score.values) <= set(COUNTED_NAMES)} == {"parameters", "flops"}


def test_a_fused_score_needs_what_its_parts_need_once() -> None:
    assert FUSED.values == ("rmi", "live_parameters")
    assert FusedScore((RMI_LOSS, RMI, RMI_LOSS)).values == ("loss", "rmi")
    with pytest.raises(BadInputError, match="needs at least one part"):
        FusedScore(())
    for weights in ((1.0,), (1.0, 0.0), (1.0, float("nan"))):
        with pytest.raises(BadInputError, match="a positive weight for each part"):
            FusedScore((RMI, RMI_LOSS), weights=weights)


def test_parts_weigh_as_they_are_told() -> None:
    # Ranks by φ 1, 3, 2; by living parameters 2, 1, 3.
    weighed = FusedScore((RMI, LIVE_PARAMETERS), weights=(3.0, 1.0))
    assert weighed.scores(MEASURED) == pytest.approx([5 / 12, 10 / 12, 9 / 12])


@pytest.mark.parametrize("score", NAMED_SCORES, ids=lambda score: score.name)
def test_no_architectures_have_no_scores(score: FusedScore) -> None:
    assert score.scores([]).shape == (0,)


measured = st.fixed_dictionaries({"rmi": st.floats(-5, 5), "live_parameters": st.integers(1, 4).map(float)})


@given(st.lists(measured, min_size=1, max_size=12))
def test_a_fused_score_goes_by_order_alone(population: list[dict[str, float]]) -> None:
    scores = FUSED.scores(population)
    assert ((scores > 0) & (scores <= 1)).all()
    assert scores.mean() == pytest.approx((len(population) + 1) / (2 * len(population)))
    # Any rising function of a value that keeps different numbers different leaves the ranks as they are.
    stretched = [{"rmi": 8 * one["rmi"], "live_parameters": one["live_parameters"] ** 3} for one in population]
    assert np.array_equal(FUSED.scores(stretched), scores)
    for index, one in enumerate(population):
        beaten = [
            one["rmi"] > other["rmi"] and one["live_parameters"] > other["live_parameters"] for other in population
        ]
        assert all(scores[index] > score for score, is_beaten in zip(scores, beaten, strict=True) if is_beaten)


def test_joined_measurers_give_all_values() -> None:
    fake = FakeMeasurer(SPACE)
    joined = Joined([Counted(SPACE), fake])
    assert joined.names == (*COUNTED_NAMES, "rmi", "loss")
    for answer, counted, trained in zip(
        joined.measure(CELLS), Counted(SPACE).measure(CELLS), fake.measure(CELLS), strict=True
    ):
        assert answer == Measured({**counted.values, **trained.values})
    assert len(FUSED.scores([answer.values for answer in joined.measure(CELLS)])) == 2


def test_a_problem_with_one_spares_the_others() -> None:
    keys = [SPACE.score_key(cell) for cell in CELLS]
    first, last = FakeMeasurer(SPACE, ("a",), problems={keys[0]: "it diverged"}), FakeMeasurer(SPACE, ("b",))
    answers = Joined([first, last]).measure(CELLS)
    assert answers[0] == Measured({}, "it diverged")
    assert set(answers[1].values) == {"a", "b"}
    assert last.asked == [keys[1]]


def test_two_measurers_of_one_value_are_not_joined() -> None:
    with pytest.raises(BadInputError, match="two measurers give the value 'loss'"):
        Joined([FakeMeasurer(SPACE), FakeMeasurer(SPACE, ("loss",))])


def test_a_score_takes_no_measurer_that_it_does_not_need() -> None:
    counted, trained, other = Counted(SPACE), FakeMeasurer(SPACE), FakeMeasurer(SPACE, ("naswot", "synflow"))
    offered = (counted, other, trained)
    assert measurer_of(score_named("flops").values, offered) is counted
    assert measurer_of(LIVE_PARAMETERS.values, offered) is counted
    assert measurer_of(score_named("naswot").values, offered) is other
    assert measurer_of(score_named("rmi").values, offered) is trained
    assert measurer_of(FUSED.values, offered).names == (*COUNTED_NAMES, "rmi", "loss")
    with pytest.raises(BadInputError, match="nothing measures the value 'naswot' here"):
        measurer_of(("naswot",), (counted, trained))
