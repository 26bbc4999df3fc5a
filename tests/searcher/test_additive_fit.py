"""Edge-additive prices that are fitted to whole networks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks.published_cells import Cells
from searcher.cost_models.additive_fit import fit_edge_additive
from searcher.cost_models.agreement import spearman
from searcher.errors import BadInputError
from searcher.spaces.cell import NONE, OPERATIONS
from searcher.spaces.nasbench201 import NasBench201

SPACE = NasBench201()


def drawn(count: int, seed: int) -> np.ndarray[tuple[int, int], np.dtype[np.int64]]:
    return np.random.default_rng(seed).integers(0, len(OPERATIONS), (count, 6))


def test_prices_that_are_additive_are_found_again() -> None:
    prices = np.array([0.0, 0.1, 0.5, 2.0, 0.7])
    genotypes = drawn(150, 3)
    fitted = fit_edge_additive(SPACE, genotypes, 4.0 + prices[genotypes].sum(axis=1))
    assert fitted.base_ms == pytest.approx(4.0, abs=0.05)
    assert fitted.prices_ms == pytest.approx(np.tile(prices, (6, 1)), abs=0.05)
    assert (fitted.prices_ms[:, OPERATIONS.index(NONE)] == 0).all()


def test_an_edge_that_costs_more_than_others_is_told_from_them() -> None:
    prices = np.tile([0.0, 0.1, 0.5, 2.0, 0.7], (6, 1))
    prices[3] *= 3
    genotypes = drawn(300, 4)
    fitted = fit_edge_additive(SPACE, genotypes, 4.0 + prices[np.arange(6), genotypes].sum(axis=1))
    assert fitted.prices_ms == pytest.approx(prices, abs=0.15)


@pytest.mark.parametrize(("device", "least"), [("raspi4", 0.9), ("silver_4114", 0.9)])
def test_a_hundred_published_networks_order_all_others(data_dir: Path, device: str, least: float) -> None:
    cells = Cells.read(data_dir, [device])
    rows = np.random.default_rng(5).choice(len(cells.genotypes), 100, replace=False)
    fitted = fit_edge_additive(SPACE, cells.genotypes[rows], cells.latency_ms[device][rows])
    others = np.setdiff1d(np.flatnonzero(cells.connected), rows)
    found = spearman(fitted.latencies_ms(cells.genotypes[others]), cells.latency_ms[device][others])
    assert found is not None
    assert found > least


def test_a_few_networks_are_not_enough() -> None:
    with pytest.raises(BadInputError, match="30 connected networks"):
        fit_edge_additive(SPACE, drawn(10, 1), np.ones(10))
