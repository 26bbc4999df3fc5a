"""Sharing a latency among operators."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from profiler_agent.attribution import attribute, fused_times, profiler_cost

TIMES = st.floats(0, 1e6) | st.none()


@given(st.lists(TIMES, max_size=20), st.floats(0, 1e5), st.floats(1e-3, 1e6))
def test_call_operators_and_the_rest_sum_to_the_wall(times: list[float | None], call: float, wall: float) -> None:
    shared = attribute(times, call, wall)
    assert [one is None for one in shared.estimates] == [one is None for one in times]
    known = [one for one in shared.estimates if one is not None]
    assert all(one >= 0 for one in (*known, shared.call, shared.unattributed))
    assert shared.call + math.fsum(known) + shared.unattributed == pytest.approx(wall, rel=1e-9)


def test_estimates_are_in_proportion_to_the_times() -> None:
    shared = attribute([1.0, 3.0], 2.0, 10.0)
    assert (shared.call, shared.estimates, shared.unattributed) == (2.0, (2.0, 6.0), 0.0)
    assert shared.additivity == pytest.approx(0.6)


def test_what_is_not_known_is_left_over_and_never_shared_out() -> None:
    shared = attribute([1.0, None], 2.0, 10.0)
    assert (shared.estimates, shared.unattributed, shared.additivity) == ((1.0, None), 7.0, None)
    assert attribute([20.0, None], 2.0, 10.0).estimates == (8.0, None)
    assert attribute([None], 1.0, 4.0).unattributed == 3.0


def test_operators_that_cannot_be_told_apart_share_alike() -> None:
    assert attribute([0.0, 0.0], 1.0, 2.0).estimates == (0.5, 0.5)


def test_what_the_profiler_adds_is_what_a_chain_shows() -> None:
    assert profiler_cost(profiled=2.0, chain=12.0, call=4.0, nodes=40) == pytest.approx(1.8)
    assert profiler_cost(profiled=0.1, chain=12.0, call=4.0, nodes=40) == 0


def test_a_fused_operator_costs_what_both_take_more_than_its_partner() -> None:
    assert fused_times(main=5.0, group=7.0, satellites=2) == (5.0, 1.0)
    assert fused_times(main=5.0, group=4.0, satellites=1) == (4.0, 0.0)
