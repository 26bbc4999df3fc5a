"""Scales of groups of blocks, and the networks that tell the most of them."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from searcher.cost_models.fitting import NETWORK_DEVIATION, SCALE_DEVIATION, fit_scales, informative


def test_exact_networks_give_nearly_the_exact_scales() -> None:
    generator = np.random.default_rng(1)
    parts = generator.uniform(0.1, 1, (200, 4))
    scales = np.array([1.1, 0.9, 1.05, 1.0])
    assert fit_scales(parts, parts @ scales) == pytest.approx(scales, abs=0.01)


def test_what_no_network_shows_stays_as_the_table_has_it() -> None:
    parts = np.array([[1.0, 0.0, 2.0], [2.0, 0.0, 1.0]])
    assert fit_scales(parts, np.array([3.3, 3.3]))[1] == pytest.approx(1.0)


def test_one_network_moves_scales_as_far_as_both_deviations_say() -> None:
    # One group, one network: the mean of 1 and of the network's ratio, weighted by the inverse variances.
    of_table, of_network = SCALE_DEVIATION**-2, (1.2 * NETWORK_DEVIATION) ** -2
    expected = (of_table * 1 + of_network * 1.2) / (of_table + of_network)
    assert fit_scales(np.array([[1.0]]), np.array([1.2]))[0] == pytest.approx(expected)


def test_the_most_informative_networks_are_chosen_one_by_one() -> None:
    generator = np.random.default_rng(2)
    parts = generator.uniform(0, 1, (30, 3)) * generator.uniform(0.1, 10, (30, 1))
    rows = parts / parts.sum(axis=1, keepdims=True) / NETWORK_DEVIATION

    def information(chosen: list[int]) -> float:
        return float(np.linalg.slogdet(np.eye(3) / SCALE_DEVIATION**2 + rows[chosen].T @ rows[chosen])[1])

    chosen: list[int] = []
    for _ in range(6):
        chosen.append(max((row for row in range(30) if row not in chosen), key=lambda row: information([*chosen, row])))
    assert informative(parts, 6) == chosen
    by_chance = [information(list(generator.choice(30, 6, replace=False))) for _ in range(200)]
    assert information(chosen) > max(by_chance)


def test_no_network_is_chosen_twice() -> None:
    parts = np.array(list(itertools.product([0.1, 1.0], repeat=3)))
    assert sorted(informative(parts, 8)) == list(range(8))
    assert sorted(informative(parts, 100)) == list(range(8))
