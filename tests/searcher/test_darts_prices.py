"""What prices architectures for a differentiable search: tables, calibrations, and published latencies of networks."""

from __future__ import annotations

import csv
import gzip
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from searcher.cost_models.cost_model import ImpossibleLimitError
from searcher.errors import BadInputError
from searcher.spaces.darts import DartsSpace
from searcher.spaces.nasbench201 import NasBench201
from searcher.tables.lookup_table import TABLE_DOCUMENT
from searcher.tables.network_latencies import NETWORKS_DOCUMENT, NetworkLatencies, NetworkLatency
from searcher.workflows.darts_prices import conditions, priced_device, read_prices
from tests.searcher.builders import KEY, table
from tests.searcher.searched import random_cells

SPACE = NasBench201()


def published(path: Path, count: int = 150) -> NetworkLatencies:
    """Latencies of random cells on a Raspberry Pi 4, as HW-NAS-Bench has them."""
    with gzip.open(path, "rt") as file:
        rows = {row["architecture"]: float(row["raspi4_ms"]) for row in csv.DictReader(file)}
    networks = {text: NetworkLatency(rows[text]) for text in map(SPACE.format, random_cells(SPACE, count))}
    return NetworkLatencies("nasbench201", "pi", "2026-11-21T00:00:00+00:00", "a test", None, networks)


def test_a_table_prices_exactly_and_knows_no_bound() -> None:
    made = table(SPACE, lambda block: 0.1 + len(block.key) / 1000)
    prices = read_prices(TABLE_DOCUMENT.text(made).encode(), "lut.json")
    device = priced_device(SPACE, "pi", prices, 0.95, limit_ms=None)
    assert conditions(prices) == (KEY, None)
    assert device.confidence is None
    # All edges live, nothing merged: what each position says by itself is what a runtime executes.
    whole = SPACE.parse(
        "|nor_conv_3x3~0|+|nor_conv_1x1~0|nor_conv_3x3~1|+|skip_connect~0|nor_conv_1x1~1|avg_pool_3x3~2|"
    )
    latency = device.latency(whole)
    assert latency.expected_ms == pytest.approx(latency.predicted_ms)
    assert (latency.bound_ms, latency.within_limit) == (None, None)
    low_ms, high_ms = device.range.low_ms, device.range.high_ms
    assert priced_device(SPACE, "pi", prices, 0.95, limit_ms=(low_ms + high_ms) / 2).target_ms == (low_ms + high_ms) / 2
    with pytest.raises(ImpossibleLimitError, match=r"^pi: no architecture can keep the limit"):
        priced_device(SPACE, "pi", prices, 0.95, limit_ms=0.9 * low_ms).require_possible()


def test_published_latencies_of_networks_price_cells_and_bound_them(data_file: Callable[[str], Path]) -> None:
    latencies = published(data_file("nasbench201_latency.csv.gz"))
    prices = read_prices(NETWORKS_DOCUMENT.text(latencies).encode(), "pi.json")
    assert conditions(prices) == (None, None)
    device = priced_device(SPACE, "pi", prices, 0.9, limit_ms=20.0)
    assert device.confidence == 0.9
    assert device.target_ms is not None
    assert device.target_ms < 20.0
    cells = random_cells(SPACE, 60, seed=1)
    found = [device.latency(one) for one in cells]
    for one in found:
        assert one.bound_ms is not None
        assert one.bound_ms >= one.predicted_ms
        assert one.within_limit == (one.bound_ms <= 20.0)
        assert device.range.low_ms <= one.bound_ms <= device.range.high_ms
    # Both models are fitted to the same networks.
    predicted, expected = ([getattr(one, name) for one in found] for name in ("predicted_ms", "expected_ms"))
    assert np.corrcoef(predicted, expected)[0, 1] > 0.9


def test_prices_of_other_networks_are_refused(data_file: Callable[[str], Path]) -> None:
    latencies = published(data_file("nasbench201_latency.csv.gz"), 40)
    with pytest.raises(BadInputError, match="price cells of nasbench201 alone, not darts"):
        priced_device(DartsSpace(), "pi", latencies, 0.9, None)
    with pytest.raises(BadInputError, match="is no lookup table"):
        read_prices(b"{}", "nothing.json")
