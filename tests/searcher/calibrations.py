"""A table, and whole networks that cost what a known rule makes of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from searcher.cost_models.calibrated import Prices
from searcher.cost_models.calibration import Calibration
from searcher.cost_models.fit import Fit, fit_table
from searcher.spaces.architecture import Architecture
from searcher.spaces.block import CALL_OVERHEAD, BlockSpec
from searcher.spaces.drawn_networks import drawn_networks
from searcher.spaces.fusion import Fusion
from searcher.spaces.nasbench201 import NasBench201
from searcher.tables.network_latencies import NetworkLatency
from tests.searcher.builders import KEY, table

SPACE = NasBench201(cells_per_stage=2, channels=4, image_size=8)
RULE = Fusion(merges=True, into=frozenset({"conv"}))
SCALES = {"fixed": 1.05, "relu_conv_bn-k1": 0.9, "relu_conv_bn-k3": 1.1, "avg_pool-k3": 1.2, "add": 1.15, "relu": 1.0}
_OWN_MS = {"conv_bn": 0.02, "residual_reduction": 0.1, "head": 0.01, "relu": 0.004, "avg_pool": 0.02, "add": 0.006}
# Of the two reductions and of what else no cell has a part in.
_OTHER_RELUS = 2


def block_ms(block: BlockSpec) -> float:
    """What a block costs alone."""
    if block == CALL_OVERHEAD:
        return 0.002
    if block.operation == "relu_conv_bn":
        return 0.002 + 0.03 * block.kernel
    return 0.002 + _OWN_MS[block.operation]


TABLE = table(SPACE, block_ms)


def network_ms(noise_pct: float = 0.0, seed: int = 0) -> Callable[[Architecture], float]:
    """What a network costs: what its blocks cost, scaled, without the ReLUs that the rule saves."""
    prices = Prices.of(SPACE, TABLE, RULE)
    assert set(prices.groups) == set(SCALES)
    priced = prices.scaled(np.array([SCALES[group] for group in prices.groups]))
    generator = np.random.default_rng(seed)

    def latency_ms(architecture: Architecture) -> float:
        exact = float(prices.space.block_counts(np.array([architecture.genotype]))[0] @ priced)
        return exact * float(np.exp(generator.normal(0, noise_pct / 100)))

    return latency_ms


def network(architecture: Architecture, ms: float, fusion: Fusion = RULE) -> NetworkLatency:
    """A network's measurement, with the operators that a runtime of this rule leaves."""
    relus = replace(SPACE, fusion=fusion).relus(architecture) + _OTHER_RELUS
    return NetworkLatency(ms, (0.99 * ms, 1.01 * ms), True, ("Conv", "Relu") + ("Relu",) * (relus - 1))


def networks(
    count: int, seed: int, latency_ms: Callable[[Architecture], float], fusion: Fusion = RULE
) -> dict[str, NetworkLatency]:
    """Measurements of random networks by their texts."""
    drawn = drawn_networks(SPACE, count, np.random.default_rng(seed))
    return {SPACE.format(one): network(one, latency_ms(one), fusion) for one in drawn}


def fitted(latency_ms: Callable[[Architecture], float], fusion: Fusion = RULE, held_out: int = 20) -> Fit:
    """The table fitted to ten networks, and judged by others."""
    return fit_table(SPACE, TABLE, networks(10, 1, latency_ms, fusion), networks(held_out, 2, latency_ms, fusion))


def calibration(fit: Fit) -> Calibration:
    """The file of a fit."""
    return Calibration(
        space=SPACE.name,
        export_cells=SPACE.cells_per_stage,
        device="local",
        created="2026-11-21T00:00:00+00:00",
        table_key=KEY,
        table_sha256="00",
        sentinel_ms=0.08,
        relus=fit.relus,
        scales=fit.scales,
        slopes=fit.slopes,
        block_ms=fit.block_ms,
        chains={},
        fitted=networks(10, 1, network_ms()),
        held_out=fit.held_out,
        edge_gap=None,
        refused=fit.refused,
    )
