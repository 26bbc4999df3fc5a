"""What the evaluator measures and what it need not, halving, and the scores of a population that grows."""

from __future__ import annotations

import math

import numpy as np
import pytest

from searcher.errors import BadInputError
from searcher.search.evaluator import DISCONNECTED, Evaluator, Rung, trained_key
from searcher.search.preference import debs, rank
from searcher.spaces.architecture import Architecture
from tests.searcher.search_parts import NOTHING, SPACE, Known, Ranks, Worth, convolutions, latency_limit

# The first edge is dead in both; only the second pays for a convolution that trains nothing.
TWINS = [SPACE.parse(f"|{dead}~0|+|none~0|none~1|+|skip_connect~0|none~1|none~2|") for dead in ("none", "nor_conv_3x3")]
COSTLY = SPACE.parse("|skip_connect~0|+|none~0|none~1|+|nor_conv_3x3~0|nor_conv_3x3~1|none~2|")


def evaluator(*measurers: Known, limit_ms: float = 100.0, keep: float = 1.0, screens: bool = True) -> Evaluator:
    rungs = [Rung(measurer, keep) for measurer in measurers]
    return Evaluator(SPACE, [latency_limit(limit_ms)], rungs, Worth(), screens)


def cells(count: int, seed: int = 0) -> list[Architecture]:
    """Connected cells, no two of which train alike."""
    generator = np.random.default_rng(seed)
    found: dict[str, Architecture] = {}
    while len(found) < count:
        one = SPACE.sample(generator)
        if SPACE.is_connected(one):
            found.setdefault(trained_key(SPACE, one), one)
    return list(found.values())


def test_one_measurement_for_a_score_key_and_one_latency_for_a_string() -> None:
    assert SPACE.score_key(TWINS[0]) == SPACE.score_key(TWINS[1])
    measurer = Known(lambda _one: 1.0)
    evaluate = evaluator(measurer)
    first, second = evaluate.evaluate(TWINS)
    assert (first.predicted_ms, second.predicted_ms) == (0.0, 1.0)
    assert first.score == second.score == 1.0
    assert evaluate.evaluate([TWINS[1], TWINS[1]]) == [second, second]
    assert measurer.asked == [[SPACE.representative(TWINS[0])]]
    assert (evaluate.measurements.measured, evaluate.measurements.shared) == ((1,), 1)
    assert evaluate.candidates == (first, second)


def test_a_generation_is_measured_at_once_without_what_need_not_be() -> None:
    measurer = Known()
    evaluate = evaluator(measurer, limit_ms=1.0)
    population = [NOTHING, COSTLY, *TWINS, TWINS[0]]
    found = evaluate.evaluate(population)
    assert [SPACE.parse(one.architecture) for one in found] == population
    assert measurer.asked == [[SPACE.representative(TWINS[0])]]
    nothing, costly = found[:2]
    assert (nothing.problem, nothing.feasible, nothing.score, nothing.rung) == (DISCONNECTED, False, None, 0)
    assert (costly.problem, costly.feasible, costly.score, costly.rung) == (None, False, None, 0)
    assert costly.violation == pytest.approx(1.0)
    counted = evaluate.measurements
    assert (counted.measured, counted.shared, counted.over_limits, counted.disconnected) == ((1,), 1, 1, 1)
    assert evaluate.violation(COSTLY) == costly.violation
    assert evaluate.violation(NOTHING) == math.inf


def test_a_penalty_measures_also_what_breaks_a_limit() -> None:
    evaluate = evaluator(Known(), limit_ms=1.0, screens=False)
    (costly,) = evaluate.evaluate([COSTLY])
    assert costly.score == convolutions(COSTLY) > 0
    assert not costly.feasible
    assert (evaluate.measurements.measured, evaluate.measurements.over_limits) == ((1,), 0)


def test_a_bound_is_held_against_the_limit_where_the_prediction_keeps_it() -> None:
    constraint = latency_limit(2.0, bound_ratio=1.1)
    evaluate = Evaluator(SPACE, [constraint], [Rung(Known())], Worth(), screens=True)
    (costly,) = evaluate.evaluate([COSTLY])
    assert (costly.costs[0].value, costly.costs[0].bound) == (2.0, 2.2)
    assert costly.violation == pytest.approx(0.1)
    assert not costly.feasible


def test_what_diverges_is_a_candidate_with_a_problem_and_not_tried_again() -> None:
    measurer = Known(problem="its training diverged")
    evaluate = evaluator(measurer)
    found = evaluate.evaluate(TWINS) + evaluate.evaluate(TWINS)
    assert [one.problem for one in found] == ["its training diverged"] * 4
    assert all(one.score is None and not one.feasible for one in found)
    assert [len(one) for one in measurer.asked] == [1]


def test_a_score_that_is_no_number_is_a_problem() -> None:
    evaluate = evaluator(Known(lambda one: math.nan if one == SPACE.representative(COSTLY) else 1.0))
    odd, fine = evaluate.evaluate([COSTLY, TWINS[0]])
    assert odd.problem == "its score worth is no finite number"
    assert (odd.score, fine.score) == (None, 1.0)


def test_halving_sends_on_the_best_of_all_so_far() -> None:
    worths = dict(zip(map(SPACE.representative, cells(12)), [5, 1, 9, 2, 8, 3, 7, 4, 6.5, 0, 10, 11], strict=True))
    low, high = Known(lambda one: worths[one]), Known(lambda one: -worths[one])
    evaluate = evaluator(low, high, keep=0.5)
    members = cells(12)
    first = evaluate.evaluate(members[:8])
    assert sorted(worths[one] for one in high.asked[0]) == [5, 7, 8, 9]
    # Of ten the best five are 9, 8, 7, 6.5 and 5: of the two that are new only one is among them.
    evaluate.evaluate(members[8:10])
    assert [worths[one] for one in high.asked[1]] == [6.5]
    evaluate.evaluate(members[10:])
    assert [worths[one] for one in high.asked[2]] == [10, 11]
    counted = evaluate.measurements
    assert (counted.measured, counted.halved) == ((12, 7), (5,))
    assert [one.rung for one in first] == [2, 1, 2, 1, 2, 1, 2, 1]
    # Its score is that of the last rung, and a higher rung is preferred whatever the scores are.
    assert first[2].score == -9
    assert [one.rung for one in rank(evaluate.candidates, debs)] == [2] * 7 + [1] * 5


def test_the_order_of_equal_scores_is_that_of_measuring() -> None:
    high = Known()
    members = cells(6)
    evaluator(Known(lambda _one: 1.0), high, keep=0.5).evaluate(members)
    assert high.asked == [[SPACE.representative(one) for one in members[:3]]]


def test_a_score_of_ranks_is_that_among_all_measured_so_far() -> None:
    worths = dict(zip(map(SPACE.representative, cells(4)), [1.0, 2.0, 3.0, 0.0], strict=True))
    evaluate = Evaluator(SPACE, [], [Rung(Known(lambda one: worths[one]))], Ranks(), screens=True)
    members = cells(4)
    assert [one.score for one in evaluate.evaluate(members[:2])] == [0.0, 0.5]
    assert [one.score for one in evaluate.evaluate(members[2:])] == [0.75, 0.0]
    assert [one.score for one in evaluate.evaluate(members[:2])] == [0.25, 0.5]
    assert [one.score for one in evaluate.candidates] == [0.25, 0.5, 0.75, 0.0]


def test_what_cannot_be_evaluated_is_refused() -> None:
    with pytest.raises(BadInputError, match="at least one rung"):
        evaluator()
    with pytest.raises(BadInputError, match="a share above 0 and at most 1, not 0"):
        Rung(Known(), keep=0.0)

    class Other(Worth):
        values = ("loss",)

    with pytest.raises(BadInputError, match="the score worth needs loss, which is not measured"):
        Evaluator(SPACE, [], [Rung(Known())], Other(), screens=True)
