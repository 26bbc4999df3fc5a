"""What prices architectures for a differentiable search: tables, calibrations, latencies of networks, their models."""

from __future__ import annotations

from pathlib import Path

from profiler_agent.records import TableKey
from searcher.cost_models.additive_fit import fit_edge_additive
from searcher.cost_models.block_sum import BlockSum
from searcher.cost_models.bounded_sum import BoundedSum
from searcher.cost_models.calibrated import CalibratedModel
from searcher.cost_models.calibration import CALIBRATION_DOCUMENT, Calibration
from searcher.cost_models.cost_model import LinearCostModel, latency_range
from searcher.cost_models.edge_additive import EdgeAdditive
from searcher.cost_models.network_fit import NetworkFit, encoded
from searcher.cost_models.network_model import NETWORK_MODEL_DOCUMENT, NetworkModel
from searcher.documents import field_names
from searcher.errors import BadInputError
from searcher.search.differentiable.family import PricedDevice
from searcher.spaces.nasbench201 import NasBench201
from searcher.spaces.space import SearchSpace
from searcher.tables.lookup_table import TABLE_DOCUMENT, LookupTable
from searcher.tables.network_latencies import NETWORKS_DOCUMENT, NetworkLatencies

DevicePrices = LookupTable | Calibration | NetworkLatencies | NetworkModel


def read_prices(content: bytes, name: str) -> DevicePrices:
    """Read a lookup table, a calibration, a file of network latencies, or a model of them, whichever it is.

    Args:
        content: of the file.
        name: says in messages where it is from.

    Raises:
        BadInputError: it is none of them.
    """
    names = field_names(content)
    # What only they have; anything else is left to the reader of tables to refuse.
    if "held_out" in names:
        return CALIBRATION_DOCUMENT.parse(content, name)
    if "networks" in names:
        return NETWORKS_DOCUMENT.parse(content, name)
    if "additive" in names:
        return NETWORK_MODEL_DOCUMENT.parse(content, name)
    return TABLE_DOCUMENT.parse(content, name)


def read_file(path: Path) -> bytes:
    """Read a file of prices.

    Raises:
        BadInputError: it cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as e:
        raise BadInputError(f"cannot read the prices {path}: {e.strerror or e}") from e


def priced_device(
    space: SearchSpace, name: str, prices: DevicePrices, confidence: float, limit_ms: float | None
) -> PricedDevice:
    """Make the models of one device.

    Args:
        space: with the sizes of the networks that are priced.
        name: of the device's prices.
        prices: of the space.
        confidence: of bounds, where the prices tell by how much they may be wrong.
        limit_ms: on the device.

    Raises:
        BadInputError: prices are of another space, or cannot tell bounds of the confidence.
        MissingBlockError: a table lacks a block of the space.
        NotAdditiveError: a calibration has failed its own check.
    """
    if isinstance(prices, NetworkLatencies):
        return _from_networks(space, name, prices, confidence, limit_ms)
    if isinstance(prices, NetworkModel):
        model = prices.model(space)
        return PricedDevice(name, prices.expected, model, model, confidence, model.latency_range(confidence), limit_ms)
    if isinstance(prices, LookupTable) and prices.predicted:
        bounded = BoundedSum(space, prices)
        expected = EdgeAdditive.of(space, bounded.block_ms)
        return PricedDevice(name, expected, bounded, bounded, confidence, bounded.latency_range(confidence), limit_ms)
    linear: LinearCostModel
    if isinstance(prices, Calibration):
        calibrated = CalibratedModel(space, prices)
        linear, ratio = calibrated, calibrated.upper_ratio(confidence)
    else:
        calibrated, linear, ratio = None, BlockSum(space, prices), 1.0
    return PricedDevice(
        name=name,
        expected=EdgeAdditive.of(linear.space, linear.block_ms),
        model=linear,
        bounded=calibrated,
        confidence=None if calibrated is None else confidence,
        range=latency_range(linear).times(ratio),
        limit_ms=limit_ms,
    )


def _from_networks(
    space: SearchSpace, name: str, prices: NetworkLatencies, confidence: float, limit_ms: float | None
) -> PricedDevice:
    if not isinstance(space, NasBench201):
        raise BadInputError(f"{name}: latencies of whole networks price cells of nasbench201 alone, not {space.name}")
    if prices.export_cells not in (None, space.cells_per_stage):
        raise BadInputError(
            f"{name}: the networks have {prices.export_cells} cells per stage, not {space.cells_per_stage}"
        )
    fit = NetworkFit.of(space, prices)
    expected = fit_edge_additive(space, *encoded(space, prices.networks))
    return PricedDevice(name, expected, fit, fit, confidence, fit.latency_range(confidence), limit_ms)


def conditions(prices: DevicePrices) -> tuple[TableKey | None, float | None]:
    """Return under which key prices were measured, None if nobody knows, and the sentinel's latency then, in ms."""
    if isinstance(prices, Calibration):
        return prices.table_key, prices.sentinel_ms
    return prices.key, prices.sentinel_ms
