"""Agreement of predictions with measurements: by hand, by definition, and what holds for any numbers."""

from __future__ import annotations

import dataclasses
import itertools
import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from searcher.cost_models.agreement import Agreement, Estimate, agreement, error_pct, kendall_tau, spearman
from searcher.errors import BadInputError

MEASURED = {"a": 1.0, "b": 2.0, "c": 3.0, "d": 4.0, "e": 5.0}
# Errors of +4, +7.5, -30, 0 and +12%; c and b change places.
PREDICTED = {"a": 1.04, "b": 2.15, "c": 2.1, "d": 4.0, "e": 5.6}


def compare(predicted: dict[str, float], measured: dict[str, float], resamples: int = 50, seed: int = 1) -> Agreement:
    return agreement(predicted, measured, np.random.default_rng(seed), resamples)


def test_figures_computed_by_hand() -> None:
    found = compare(PREDICTED, MEASURED)
    assert found.networks == 5
    assert found.mape_pct.value == pytest.approx((4 + 7.5 + 30 + 0 + 12) / 5)
    assert found.rmse_ms.value == pytest.approx(math.sqrt((0.04**2 + 0.15**2 + 0.9**2 + 0.6**2) / 5))
    assert found.within_5_share.value == pytest.approx(2 / 5)
    assert found.within_10_share.value == pytest.approx(3 / 5)
    # One of ten pairs is the other way round; ranks 1, 3, 2, 4, 5: 1 - 6 · 2 / (5 · 24).
    assert found.kendall_tau.value == pytest.approx((9 - 1) / 10)
    assert found.spearman.value == pytest.approx(0.9)


def test_the_worst_cases_are_named_worst_first() -> None:
    found = agreement(PREDICTED, MEASURED, np.random.default_rng(0), 10, worst=2)
    assert [case.name for case in found.worst] == ["c", "e"]
    assert dataclasses.astuple(found.worst[0]) == ("c", 2.1, 3.0, pytest.approx(-30.0))
    assert agreement(PREDICTED, MEASURED, np.random.default_rng(0), 10, worst=0).worst == ()


def test_errors_are_relative_to_what_was_measured() -> None:
    assert error_pct(np.array([1.5, 1.0]), np.array([1.0, 1.5])) == pytest.approx([50.0, -100 / 3])


def test_correlations_with_ties_by_hand() -> None:
    first, second = np.array([1.0, 1.0, 2.0, 3.0]), np.array([1.0, 2.0, 2.0, 3.0])
    # Six pairs: four agree, one ties on either side: 4 / √(5 · 5).
    assert kendall_tau(first, second) == pytest.approx(4 / 5)
    # Ranks 1.5, 1.5, 3, 4 and 1, 2.5, 2.5, 4: 3.75 / √(4.5 · 4.5).
    assert spearman(first, second) == pytest.approx(3.75 / 4.5)


def test_a_constant_side_has_no_correlation_and_no_nan() -> None:
    constant, rising = np.full(4, 2.0), np.arange(4.0)
    for correlation in (spearman, kendall_tau):
        assert correlation(constant, rising) is None
        assert correlation(rising, constant) is None
        assert correlation(np.ones(1), np.ones(1)) is None
    found = compare(dict.fromkeys(MEASURED, 3.0), MEASURED)
    assert found.spearman == found.kendall_tau == Estimate(None, None)
    assert found.mape_pct.value is not None
    assert found.mape_pct.interval is not None


def test_one_network_has_errors_but_no_ranks() -> None:
    found = compare({"a": 1.1}, {"a": 1.0})
    assert found.mape_pct.value == pytest.approx(10.0)
    assert found.mape_pct.interval == pytest.approx((10.0, 10.0))
    assert found.spearman == Estimate(None, None)


def test_a_correlation_that_many_resamples_lack_has_no_interval() -> None:
    # One of two drawn resamples of two networks is twice the same network.
    found = compare({"a": 1.0, "b": 2.0}, {"a": 1.5, "b": 2.5})
    assert found.kendall_tau.value == pytest.approx(1.0)
    assert found.kendall_tau.interval is None


def test_intervals_cover_what_they_should() -> None:
    # Errors of known spread: the mean of |error| has a known standard error, and the bootstrap's interval its width.
    generator = np.random.default_rng(11)
    truth = generator.uniform(1, 10, size=400)
    errors = generator.normal(0, 6, size=400)
    measured = {str(index): ms for index, ms in enumerate(truth.tolist())}
    predicted = {str(index): ms for index, ms in enumerate((truth * (1 + errors / 100)).tolist())}
    found = agreement(predicted, measured, generator, 600)
    half_width = 1.96 * np.abs(errors).std() / 20
    assert found.mape_pct.value is not None
    assert found.mape_pct.interval == pytest.approx(
        (found.mape_pct.value - half_width, found.mape_pct.value + half_width), abs=0.15 * half_width
    )
    assert found.within_5_share.value == pytest.approx(
        0.595, abs=0.08
    )  # of a normal distribution within 5/6 of its deviation
    narrower = agreement(predicted, measured, generator, 600, confidence=0.5)
    assert narrower.mape_pct.interval is not None
    assert narrower.mape_pct.interval[1] - narrower.mape_pct.interval[0] < half_width


def test_the_seed_alone_decides_and_the_order_of_names_does_not() -> None:
    backwards = dict(reversed(MEASURED.items()))
    assert compare(PREDICTED, MEASURED) == compare(PREDICTED, backwards)
    assert compare(PREDICTED, MEASURED, seed=1) != compare(PREDICTED, MEASURED, seed=2)


@pytest.mark.parametrize(
    ("predicted", "measured", "complaint"),
    [
        ({}, {}, "no networks"),
        ({"a": 1.0}, {"b": 1.0}, "not of the same networks: a and 1 more"),
        (PREDICTED, MEASURED | {"f": 1.0}, "not of the same networks: f$"),
        (PREDICTED, MEASURED | {"a": 0.0}, "is positive, not 0 ms"),
        (PREDICTED, MEASURED | {"a": -1.5}, "is positive, not -1.5 ms"),
        (PREDICTED | {"a": math.nan}, MEASURED, "not a finite number"),
        (PREDICTED, MEASURED | {"a": math.inf}, "not a finite number"),
    ],
)
def test_what_cannot_be_compared_is_refused(
    predicted: dict[str, float], measured: dict[str, float], complaint: str
) -> None:
    with pytest.raises(BadInputError, match=complaint):
        compare(predicted, measured)


@pytest.mark.parametrize("wrong", [{"resamples": 0}, {"confidence": 0.0}, {"confidence": 1.0}, {"worst": -1}])
def test_arguments_out_of_range_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(BadInputError, match="agreement takes"):
        agreement(PREDICTED, MEASURED, np.random.default_rng(0), **wrong)  # type: ignore[arg-type]


latencies = st.floats(0.01, 1000) | st.sampled_from([1.0, 2.0, 5.0])  # the latter make ties
pairs = st.lists(st.tuples(latencies, latencies), min_size=1, max_size=25)


@given(pairs)
def test_tau_is_that_of_the_definition(drawn: list[tuple[float, float]]) -> None:
    first, second = (np.array(side) for side in zip(*drawn, strict=True))
    both = alone_first = alone_second = 0
    for (one, one_more), (other, other_more) in itertools.combinations(drawn, 2):
        signs = (one > other) - (one < other), (one_more > other_more) - (one_more < other_more)
        both += signs[0] * signs[1]
        alone_first += abs(signs[0])
        alone_second += abs(signs[1])
    expected = both / math.sqrt(alone_first * alone_second) if alone_first and alone_second else None
    assert kendall_tau(first, second) == (None if expected is None else pytest.approx(expected))


@settings(max_examples=50)
@given(pairs, st.floats(0.1, 10))
def test_what_holds_for_any_latencies(drawn: list[tuple[float, float]], factor: float) -> None:
    names = [str(index) for index in range(len(drawn))]
    predicted, measured = ({name: pair[side] for name, pair in zip(names, drawn, strict=True)} for side in (0, 1))
    found = compare(predicted, measured, resamples=8)
    told = dataclasses.asdict(found)
    assert json.loads(json.dumps(told, allow_nan=False))["networks"] == len(drawn)
    for figure in ("mape_pct", "rmse_ms", "within_5_share", "within_10_share"):
        low, high = told[figure]["interval"]
        assert 0 <= low <= high
        assert told[figure]["value"] is not None
    assert told["within_5_share"]["value"] <= told["within_10_share"]["value"] <= 1
    for figure in ("spearman", "kendall_tau"):
        assert told[figure]["value"] is None or -1 <= told[figure]["value"] <= 1
    sizes = [abs(case.error_pct) for case in found.worst]
    assert sizes == sorted(sizes, reverse=True)

    in_other_units = [{name: factor * ms for name, ms in one.items()} for one in (predicted, measured)]
    scaled = compare(in_other_units[0], in_other_units[1], resamples=8)
    assert scaled.mape_pct.value == pytest.approx(found.mape_pct.value, rel=1e-9, abs=1e-9)
    assert found.rmse_ms.value is not None
    assert scaled.rmse_ms.value == pytest.approx(factor * found.rmse_ms.value, rel=1e-9, abs=1e-9)

    perfect = compare(measured, measured, resamples=8)
    assert (perfect.mape_pct.value, perfect.rmse_ms.value, perfect.within_5_share.value) == (0.0, 0.0, 1.0)
    assert perfect.kendall_tau.value in (None, pytest.approx(1.0))
