"""A latency model from whole networks alone: devices that execute by different rules, bounds, and published columns."""

from __future__ import annotations

import csv
import gzip
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from searcher.cost_models.agreement import spearman
from searcher.cost_models.cell_model import doubtful
from searcher.cost_models.cost_model import BoundedCostModel, ImpossibleLimitError
from searcher.cost_models.network_fit import NetworkFit
from searcher.errors import BadInputError
from searcher.spaces.cell import OPERATIONS, all_genotypes
from searcher.spaces.executed_edges import RULES, executed_edges
from searcher.spaces.nasbench201 import NasBench201
from searcher.tables.network_latencies import NetworkLatencies, NetworkLatency

SPACE = NasBench201()
EVERY_CELL = np.array(all_genotypes())
CONNECTED = SPACE.block_counts(EVERY_CELL)[:, 1] > 0
PRICES = {"nor_conv_1x1": 2.0, "nor_conv_3x3": 8.0, "avg_pool_3x3": 3.0, "skip_connect": 0.2, "none": 0.1}


def device_ms(rule: str, noise: float = 0.0, seed: int = 0) -> NDArray[np.float64]:
    """What all cells cost on a device that executes by one rule."""
    counts = executed_edges(EVERY_CELL)[RULES.index(rule)]
    exact = 4.0 + counts @ np.array([PRICES[name] for name in OPERATIONS])
    latencies: NDArray[np.float64] = exact * np.exp(np.random.default_rng(seed).normal(0, noise, len(exact)))
    return latencies


def drawn(seed: int, count: int = 100) -> NDArray[np.int64]:
    return np.random.default_rng(seed).choice(len(EVERY_CELL), count, replace=False)


@pytest.mark.parametrize("rule", RULES)
def test_the_rule_of_a_device_is_learnt(rule: str) -> None:
    latency_ms = device_ms(rule, noise=0.01)
    rows = drawn(1)
    model: BoundedCostModel = NetworkFit(SPACE, EVERY_CELL[rows], latency_ms[rows])
    predicted = model.latencies_ms(EVERY_CELL[CONNECTED])
    assert np.median(np.abs(predicted / latency_ms[CONNECTED] - 1)) < 0.015
    assert np.mean(np.abs(predicted / latency_ms[CONNECTED] - 1)) < 0.03


def test_one_architecture_is_answered_as_the_population_is() -> None:
    rows = drawn(2)
    model = NetworkFit(SPACE, EVERY_CELL[rows], device_ms("leading", 0.05)[rows])
    cell = next(iter(SPACE.architectures()))
    assert model.latency_ms(cell) == pytest.approx(model.latencies_ms(EVERY_CELL)[0])
    assert model.upper_ms(cell, 0.9) == pytest.approx(model.uppers_ms(EVERY_CELL, 0.9)[0])
    assert model.upper_ms(cell, 0.9) > model.latency_ms(cell)


def test_bounds_hold_as_often_as_they_say_for_both_kinds_of_cells() -> None:
    latency_ms = device_ms("leading", 0.08)
    # A device that errs more where rules disagree.
    odd = doubtful(EVERY_CELL)
    latency_ms = latency_ms * np.where(odd, np.exp(np.random.default_rng(9).normal(0, 0.2, len(odd))), 1.0)
    held = []
    for seed in range(6):
        rows = drawn(seed)
        model = NetworkFit(SPACE, EVERY_CELL[rows], latency_ms[rows])
        below = latency_ms <= model.uppers_ms(EVERY_CELL, 0.95)
        held.append([below[CONNECTED & ~odd].mean(), below[CONNECTED & odd].mean()])
    sure, unsure = np.mean(held, axis=0)
    assert sure == pytest.approx(0.96, abs=0.03)
    assert unsure > 0.94


def test_a_higher_confidence_bounds_higher() -> None:
    rows = drawn(3)
    model = NetworkFit(SPACE, EVERY_CELL[rows], device_ms("all", 0.1)[rows])
    half, most = model.uppers_ms(EVERY_CELL, 0.5), model.uppers_ms(EVERY_CELL, 0.95)
    assert (model.latencies_ms(EVERY_CELL) <= half).all()
    assert (half <= most).all()
    assert (half < most)[~doubtful(EVERY_CELL)].all()


def test_cells_on_which_the_rules_disagree_are_bounded_as_if_all_was_executed() -> None:
    rows = drawn(3)
    latency_ms, whole_ms = device_ms("live", 0.01), device_ms("all")
    model = NetworkFit(SPACE, EVERY_CELL[rows], latency_ms[rows])
    unsure = doubtful(EVERY_CELL) & CONNECTED
    bounds = model.uppers_ms(EVERY_CELL, 0.95)
    assert np.mean(bounds[unsure] / whole_ms[unsure]) > 0.95
    assert np.median(bounds[unsure] / latency_ms[unsure]) > 1.2 > np.median(bounds[~unsure] / latency_ms[~unsure])


def test_disconnected_cells_tell_nothing() -> None:
    latency_ms = device_ms("live", 0.02)
    rows = np.concatenate([drawn(4, 60), np.flatnonzero(~CONNECTED)[:40]])
    floored = np.where(CONNECTED, latency_ms, 0.01)
    with_constants = NetworkFit(SPACE, EVERY_CELL[rows], floored[rows])
    connected = rows[CONNECTED[rows]]
    without = NetworkFit(SPACE, EVERY_CELL[connected], latency_ms[connected])
    assert np.array_equal(with_constants.latencies_ms(EVERY_CELL), without.latencies_ms(EVERY_CELL))


def test_the_range_is_of_connected_cells() -> None:
    rows = drawn(5)
    model = NetworkFit(SPACE, EVERY_CELL[rows], device_ms("all", 0.05)[rows])
    found = model.latency_range()
    predicted = model.latencies_ms(EVERY_CELL[CONNECTED])
    assert (found.low_ms, found.high_ms) == pytest.approx((predicted.min(), predicted.max()))
    assert model.latency_ms(found.slowest) == pytest.approx(found.high_ms)
    assert SPACE.is_connected(found.fastest)
    bounded = model.latency_range(0.9)
    assert bounded.low_ms > found.low_ms
    with pytest.raises(ImpossibleLimitError, match="the least possible"):
        bounded.require_possible(found.low_ms / 2)


def test_what_cannot_be_fitted_is_told() -> None:
    latency_ms, rows = device_ms("all"), drawn(6)
    with pytest.raises(BadInputError, match="30 connected networks at least, not 20"):
        NetworkFit(SPACE, EVERY_CELL[rows[:20]], latency_ms[rows[:20]])
    with pytest.raises(BadInputError, match="one positive latency"):
        NetworkFit(SPACE, EVERY_CELL[rows], np.where(np.arange(100) == 3, 0.0, latency_ms[rows]))
    with pytest.raises(BadInputError, match="one positive latency"):
        NetworkFit(SPACE, EVERY_CELL[rows], latency_ms[rows[:50]])
    model = NetworkFit(SPACE, EVERY_CELL[rows], latency_ms[rows])
    with pytest.raises(BadInputError, match=r"a bound of 99\.5% takes 199"):
        model.uppers_ms(EVERY_CELL, 0.995)


def test_a_file_of_latencies_is_fitted() -> None:
    latency_ms, rows = device_ms("all", 0.02), drawn(7)
    texts = [SPACE.format(one) for one in SPACE.architectures()]
    networks = {texts[row]: NetworkLatency(float(latency_ms[row])) for row in rows}
    file = NetworkLatencies("nasbench201", "a device", "2026-01-01T00:00:00Z", "a column", None, networks)
    from_file, from_arrays = NetworkFit.of(SPACE, file), NetworkFit(SPACE, EVERY_CELL[rows], latency_ms[rows])
    assert np.array_equal(from_file.latencies_ms(EVERY_CELL), from_arrays.latencies_ms(EVERY_CELL))
    other = NetworkLatencies("fbnet", "a device", "2026-01-01T00:00:00Z", "a column", None, networks)
    with pytest.raises(BadInputError, match="of the space 'fbnet'"):
        NetworkFit.of(SPACE, other)


@pytest.fixture(scope="module")
def published(data_dir: Path) -> list[dict[str, str]]:
    with gzip.open(data_dir / "nasbench201_latency.csv.gz", "rt", newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize(("column", "least"), [("raspi4_ms", 0.955), ("pixel3_ms", 0.955), ("eyeriss_ms", 0.98)])
def test_a_hundred_cells_of_a_published_column_tell_the_rest(
    published: list[dict[str, str]], column: str, least: float
) -> None:
    # The published order is the benchmark's, and so the cells'.
    assert published[1]["architecture"] == SPACE.format(list(SPACE.architectures())[1])
    measured_ms = np.array([float(row[column]) for row in published])
    correlations, held = [], []
    for seed in range(3):
        chosen = drawn(seed)
        model = NetworkFit(SPACE, EVERY_CELL[chosen], measured_ms[chosen])
        rest = CONNECTED.copy()
        rest[chosen] = False
        correlations.append(spearman(model.latencies_ms(EVERY_CELL[rest]), measured_ms[rest]) or 0.0)
        held.append(np.mean(measured_ms[rest] <= model.uppers_ms(EVERY_CELL[rest], 0.95)))
    assert min(correlations) > least
    assert np.mean(held) > 0.93
