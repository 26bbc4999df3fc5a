"""More kernels are drawn where predictions fail, and predictions are of kernels that no model had seen."""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from searcher.cost_models.adaptive_drawing import Region, dealt, draw_round, mean_error_pct
from searcher.cost_models.dataset_rounds import Rounds, next_round
from searcher.cost_models.quick_kernel_model import FEWEST_POINTS, QuickModel
from searcher.errors import BadInputError
from searcher.spaces.block import BlockSpec
from searcher.spaces.kernel_domain import Limits
from searcher.spaces.kernel_sampling import draw_kernels
from searcher.tables.dataset import ENDS, NEAR_ERROR, RANDOM, SPACE, KernelRow
from searcher.tables.dataset_errors import fresh_errors
from tests.searcher.kernel_rows import keys_of, measured_rows, relu, roofline_ms

LIMITS = Limits()


def restless_ms(spec: BlockSpec) -> float:
    """Known but for flat pools of many channels, whose latencies jump from one kernel to the next."""
    jump = 1 + 7 * (zlib.crc32(spec.key.encode()) % 1000) / 1000
    return roofline_ms(spec) * (jump if in_unrest(spec) else 1)


def in_unrest(spec: BlockSpec) -> bool:
    return spec.operation == "max_pool" and spec.input_shapes[0][1] > 300


def grown(rounds: Rounds, latency_ms: Callable[[BlockSpec], float], seed: int) -> list[KernelRow]:
    """A dataset of a device whose latencies are known."""
    rows: list[KernelRow] = []
    while True:
        drawn = rounds.drawn(rows, np.random.default_rng([seed, next_round(rows)]))
        if not drawn:
            return rows
        rows += measured_rows(drawn, latency_ms, next_round(rows))


@pytest.fixture(scope="module")
def adaptive() -> list[KernelRow]:
    rows = []
    for seed in (1, 2):
        rows += grown(Rounds(("max_pool",), 120, LIMITS, None, {}), restless_ms, seed)
    return rows


def test_most_of_what_is_drawn_near_errors_lies_where_the_device_is_restless(adaptive: list[KernelRow]) -> None:
    def share(origin: str) -> float:
        chosen = [row for row in adaptive if row.origin == origin]
        return sum(in_unrest(row.spec) for row in chosen) / len(chosen)

    # About a fifth of the domain is restless, and no random draw knows of it.
    assert share(RANDOM) < 0.4
    assert share(NEAR_ERROR) > 1.5 * share(RANDOM)


def test_most_points_stay_random_and_no_kernel_comes_twice(adaptive: list[KernelRow]) -> None:
    first = [row for row in adaptive if row.drawing_round == 0]
    later = [row for row in adaptive if row.drawing_round > 0]
    assert {row.origin for row in first} == {RANDOM, ENDS}
    assert sum(row.origin == ENDS for row in first) < 0.25 * len(first)
    assert all(row.predicted_ms is None for row in first)
    assert all(row.predicted_ms is not None for row in later)
    origins = Counter(row.origin for row in later)
    assert origins[RANDOM] >= 0.6 * len(later)
    assert origins[NEAR_ERROR] >= 0.25 * len(later)
    assert len(adaptive) == 240
    assert all(len(set(keys_of(row.spec for row in rows))) == 120 for rows in (adaptive[:120], adaptive[120:]))


def test_the_type_of_larger_errors_gets_its_points_earlier() -> None:
    types = ("max_pool", "relu")
    rows = grown(Rounds(types, 100, LIMITS, None, {}), restless_ms, 3)
    assert Counter(row.kernel_type for row in rows) == {"max_pool": 100, "relu": 100}
    second = Counter(row.kernel_type for row in rows if row.drawing_round == 1)
    assert second["max_pool"] == 40 - second["relu"] == 20
    third = Counter(row.kernel_type for row in rows if row.drawing_round == 2)
    assert third["max_pool"] > 1.3 * third["relu"] > 0


def test_a_type_that_is_predicted_well_enough_gets_no_more() -> None:
    rows = grown(Rounds(("max_pool", "relu"), 100, LIMITS, 40.0, {}), restless_ms, 4)
    counts = Counter(row.kernel_type for row in rows)
    told = [one for one in fresh_errors(rows) if one.kernel_type == "relu"]
    assert counts["relu"] < 100
    assert told[-1].mean_pct <= 40
    assert told[-1].points >= 10


def test_kernels_of_a_space_are_drawn_at_and_near() -> None:
    of_space = [relu(16, 32), relu(32, 16), relu(64, 8)]
    rows = grown(Rounds(("relu",), 100, LIMITS, None, {"relu": of_space}), roofline_ms, 5)
    near = [row.spec for row in rows if row.origin == SPACE]
    assert set(of_space) <= set(near)
    assert 10 <= len(near) <= 25
    numbers = [spec.output_channels * spec.input_shapes[0][2] * spec.input_shapes[0][3] for spec in near]
    assert min(numbers) > 600 and max(numbers) < 80_000  # noqa: PT018 - of one range


def test_the_same_rows_draw_the_same_round() -> None:
    rounds = Rounds(("relu", "add"), 50, LIMITS, None, {})
    rows = measured_rows(rounds.drawn([], np.random.default_rng(1)), roofline_ms, 0)
    first, again = (rounds.drawn(rows, np.random.default_rng(2)) for _ in range(2))
    assert first == again
    assert not {one.spec for one in first} & {row.spec for row in rows}


def test_a_round_that_broke_off_is_made_up_for() -> None:
    rounds = Rounds(("relu", "add"), 50, LIMITS, None, {})
    drawn = rounds.drawn([], np.random.default_rng(1))
    some = measured_rows([one for one in drawn if one.spec.operation == "relu"], roofline_ms, 0)
    missing = rounds.drawn(some, np.random.default_rng(2))
    assert Counter(one.spec.operation for one in missing) == {"add": 10, "relu": 10}
    assert {one.spec.operation for one in missing if one.predicted_ms is None} == {"add"}


def test_rows_in_other_numbers_are_kernels_of_that_type() -> None:
    rounds = Rounds(("relu",), 20, LIMITS, None, {}, dtype="fp16")
    drawn = rounds.drawn([], np.random.default_rng(1))
    assert {one.spec.dtype for one in drawn} == {"fp16"}


@given(
    st.integers(0, 300),
    st.dictionaries(st.sampled_from("abcde"), st.floats(0, 100), max_size=5),
    st.dictionaries(st.sampled_from("abcde"), st.integers(0, 100), min_size=1, max_size=5),
)
def test_points_are_dealt_wholly_and_never_beyond_the_room(
    count: int, errors_pct: dict[str, float], room: dict[str, int]
) -> None:
    given_points = dealt(count, errors_pct, room)
    assert set(given_points) == set(room)
    assert sum(given_points.values()) == min(count, sum(room.values()))
    assert all(0 <= given_points[name] <= room[name] for name in room)


def test_points_follow_errors_but_no_type_is_left_alone() -> None:
    room = dict.fromkeys("abc", 1000)
    assert dealt(60, {"a": 30.0, "b": 15.0, "c": 15.0}, room) == {"a": 30, "b": 15, "c": 15}
    assert dealt(90, {}, room) == {"a": 30, "b": 30, "c": 30}
    assert dealt(90, {"a": 0.0, "b": 30.0, "c": 30.0}, room)["a"] == 7
    assert dealt(90, {"a": 0.0, "b": 0.0, "c": 0.0}, room) == {"a": 30, "b": 30, "c": 30}
    # One that was not judged yet gets an even share.
    assert dealt(60, {"a": 10.0, "b": 30.0}, room) == {"a": 10, "b": 30, "c": 20}


def test_single_accidents_do_not_draw_all_points() -> None:
    assert mean_error_pct([Region(relu(8, 8), 10.0), Region(relu(8, 9), 5000.0)]) == 55
    with pytest.raises(BadInputError, match="no errors"):
        mean_error_pct([])
    regions = [Region(relu(8, 8), 1e9), *(Region(relu(256, 60 + step), 50.0) for step in range(10))]
    drawn = draw_round("relu", 100, np.random.default_rng(0), LIMITS, set(), regions)
    near = [one.spec for one in drawn if one.origin == NEAR_ERROR]
    assert sum(spec.output_channels > 50 for spec in near) > 10


def test_the_quick_model_predicts_what_it_was_not_fitted_to() -> None:
    specs = draw_kernels("pointwise", 260, np.random.default_rng(0), LIMITS)
    latency_ms = [roofline_ms(spec) for spec in specs]
    model = QuickModel.of(specs[:200], latency_ms[:200], np.random.default_rng(1))
    errors = np.abs(model.predict_ms(specs[200:]) / latency_ms[200:] - 1)
    assert np.median(errors) < 0.25
    with pytest.raises(BadInputError, match=f"takes {FEWEST_POINTS} of them at least, not 7"):
        QuickModel.of(specs[:7], latency_ms[:7], np.random.default_rng(1))


def test_in_integers_gates_are_sigmoids() -> None:
    """Quantisers leave a hard sigmoid in real numbers, and a kernel in integers would have no file."""
    real, integer = (
        {
            one.spec.activation
            for one in Rounds(("pointwise",), 300, LIMITS, None, {}, dtype).drawn([], np.random.default_rng(6))
        }
        for dtype in ("fp32", "int8")
    )
    assert real == {None, "relu", "relu6", "sigmoid", "hard_sigmoid"}
    assert integer == real - {"hard_sigmoid"}
