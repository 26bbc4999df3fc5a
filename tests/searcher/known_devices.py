"""Made-up devices of known physics, for tests of the transfer to a new one: prices of operations under a rule."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from searcher.cost_models.known_devices import KnownDevices
from searcher.spaces.architecture import Architecture
from searcher.spaces.cell import OPERATIONS, all_genotypes
from searcher.spaces.executed_edges import RULES, executed_edges
from searcher.spaces.nasbench201 import NasBench201
from searcher.tables.network_latencies import NetworkLatencies, NetworkLatency

SPACE = NasBench201()
NOW = "2026-11-21T00:00:00+00:00"
# Every sixth cell, in the benchmark's shuffled order: enough to judge by.
CELLS = np.array(all_genotypes())[::6]
CONNECTED = SPACE.block_counts(CELLS)[:, 1] > 0
_COUNTS = executed_edges(CELLS)
# Milliseconds of one operation: none, skip, 1x1 and 3x3 convolution, pool.
_PRICES = np.array([0.1, 0.2, 2.0, 8.0, 3.0])


def made_up_ms(seed: int, rule: str, noise: float = 0.02) -> NDArray[np.float64]:
    """Return what CELLS take on a device whose prices are drawn around those of a processor."""
    generator = np.random.default_rng(seed)
    prices = _PRICES * np.exp(generator.normal(0, 0.4, len(OPERATIONS)))
    exact = np.exp(generator.normal(0, 1)) * (4.0 + _COUNTS[RULES.index(rule)] @ prices)
    latency_ms: NDArray[np.float64] = exact * np.exp(generator.normal(0, noise, len(exact)))
    return latency_ms


def made_up_devices(count: int = 6, noise: float = 0.02) -> KnownDevices:
    """Return devices of which every third leaves edges out that lead nowhere."""
    columns = [made_up_ms(seed, "summed" if seed % 3 == 0 else "all", noise) for seed in range(count)]
    return KnownDevices(SPACE, tuple(f"device {seed}" for seed in range(count)), CELLS, np.stack(columns, axis=1))


def latencies_file(device: str, rows: NDArray[np.int64], latency_ms: NDArray[np.float64]) -> NetworkLatencies:
    """Return the latencies of some of CELLS as a document."""
    networks = {
        SPACE.format(Architecture(SPACE.name, tuple(CELLS[row].tolist()))): NetworkLatency(float(latency_ms[row]))
        for row in rows
    }
    return NetworkLatencies(SPACE.name, device, NOW, "made up", None, networks)


def rows_of(texts: list[str]) -> NDArray[np.int64]:
    """Return the rows of some of CELLS."""
    return np.array([np.equal(CELLS, SPACE.parse(text).genotype).all(axis=1).argmax() for text in texts])
