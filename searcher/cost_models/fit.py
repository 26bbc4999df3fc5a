"""A table fitted to some networks and judged by others."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from searcher.cost_models.agreement import figures
from searcher.cost_models.block_sum import BlockSum
from searcher.cost_models.calibrated import Floats, Prices
from searcher.cost_models.calibration import HeldOut, ReluRule
from searcher.cost_models.chains import slopes_ms
from searcher.cost_models.cost_model import linear_latencies_ms
from searcher.cost_models.fusing import Seen, read_fusion
from searcher.spaces.fusion import UNFUSED
from searcher.spaces.nasbench201 import NasBench201
from searcher.spaces.space import SearchSpace
from searcher.tables.lookup_table import LookupTable
from searcher.tables.network_latencies import NetworkLatency

# A model that misses more held-out networks, or orders them worse, misleads a search more than it helps.
LEAST_WITHIN_10, LEAST_TAU = 0.8, 0.7
NO_CHAINS: Mapping[str, NetworkLatency] = MappingProxyType({})


@dataclass(frozen=True)
class Fit:
    """What a fit gives a calibration; the fields are those of `Calibration`."""

    relus: ReluRule | None
    scales: Mapping[str, float]
    slopes: Mapping[str, float]
    block_ms: Mapping[str, float]
    held_out: HeldOut
    refused: str | None


def fit_table(
    space: SearchSpace,
    table: LookupTable,
    fitted: Mapping[str, NetworkLatency],
    held_out: Mapping[str, NetworkLatency],
    chains: Mapping[str, NetworkLatency] = NO_CHAINS,
) -> Fit:
    """Fit a table to networks, and hold the fit against others.

    Args:
        space: of the table, with the depth of the networks.
        table: of the space's blocks.
        fitted: networks to fit to, by the architecture's text.
        held_out: networks that the fit does not see.
        chains: rows of copies of blocks that mislead alone, by their names.

    Raises:
        BadInputError: the table is of another space, or a text is no architecture of the space.
        MissingBlockError: the table lacks a block.
    """
    relus = _relu_rule(space, {**fitted, **held_out})
    blocks = [block.in_dtype(table.key.precision) for block in space.all_blocks()]
    slopes = slopes_ms(blocks, chains)
    prices = Prices.of(space, table, UNFUSED if relus is None else relus.fusion, slopes)
    scales = prices.fit(_genotypes(space, fitted), _latencies(fitted))
    block_ms = prices.scaled(scales)
    predicted_ms = linear_latencies_ms(prices.space, block_ms, _genotypes(space, held_out))
    raw_ms = BlockSum(space, table).latencies_ms(_genotypes(space, held_out))
    judged = _judged(held_out, predicted_ms, raw_ms)
    return Fit(
        relus=relus,
        scales=dict(zip(prices.groups, map(float, scales), strict=True)),
        slopes=slopes,
        block_ms=dict(zip((block.key for block in blocks), map(float, block_ms), strict=True)),
        held_out=judged,
        refused=_reason_to_refuse(judged, slopes, _least_ms(prices.space, block_ms)),
    )


def _relu_rule(space: SearchSpace, networks: Mapping[str, NetworkLatency]) -> ReluRule | None:
    """Read what the runtime does with ReLUs; a rule that leaves graphs unexplained is not used."""
    if not isinstance(space, NasBench201):
        return None
    read = read_fusion(space, [Seen(space.parse(text), one.operations) for text, one in networks.items()])
    into = tuple(sorted(read.fusion.into))
    return ReluRule(read.fusion.merges, into, read.explained, read.networks, read.adds, read.pools)


def _least_ms(space: SearchSpace, block_ms: Floats) -> float:
    """Return the least latency that the prices make of any network of the space."""
    least = space.extremes(block_ms).least
    return float(linear_latencies_ms(space, block_ms, np.array([least.genotype]))[0])


def _genotypes(space: SearchSpace, networks: Mapping[str, NetworkLatency]) -> NDArray[np.int64]:
    return np.array([space.parse(text).genotype for text in networks], dtype=np.int64)


def _latencies(networks: Mapping[str, NetworkLatency]) -> Floats:
    return np.array([one.median_ms for one in networks.values()])


def _judged(networks: Mapping[str, NetworkLatency], predicted_ms: Floats, raw_ms: Floats) -> HeldOut:
    measured_ms = _latencies(networks)
    # What is not positive predicts nothing; the fit is refused for it, and a ratio is still a number.
    ratios = measured_ms / np.maximum(predicted_ms, np.finfo(float).tiny)
    told = figures(predicted_ms, measured_ms)
    return HeldOut(
        networks=networks,
        ratios=tuple(sorted(map(float, np.minimum(ratios, np.finfo(float).max)))),
        mape=told.mape_pct,
        within_5=told.within_5_share,
        within_10=told.within_10_share,
        tau=told.kendall_tau,
        raw_mape=figures(raw_ms, measured_ms).mape_pct,
    )


def _reason_to_refuse(judged: HeldOut, slopes: Mapping[str, float], least_ms: float) -> str | None:
    count = len(judged.networks)
    backwards = min(slopes, key=slopes.__getitem__, default=None)
    if backwards is not None and slopes[backwards] <= 0:
        return f"a longer row of {backwards} was measured to be no slower than a shorter one"
    if least_ms <= 0:
        return f"the fit predicts {least_ms:.4f} ms for a network of the space"
    if judged.within_10 < LEAST_WITHIN_10:
        return (
            f"only {100 * judged.within_10:.0f}% of {count} held-out networks are predicted within 10% "
            f"(mean error {judged.mape:.1f}%): what blocks cost alone does not add up to what networks cost"
        )
    if judged.tau is None or judged.tau < LEAST_TAU:
        tau = "none" if judged.tau is None else f"{judged.tau:.2f}"
        return f"the rank correlation of {count} held-out networks with their predictions is {tau}"
    return None
