"""A table's calibration on whole networks: its factors, what they were fitted to, and how wrong they are on others.

History of the schema: 1, the first.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from profiler_agent.records import TableKey
from searcher.cost_models.edge_additive import Gap
from searcher.documents import Document
from searcher.errors import SearcherError
from searcher.spaces.fusion import PRODUCERS, UNFUSED, Fusion
from searcher.tables.network_latencies import NetworkLatency

SCHEMA_VERSION = 1


class NotAdditiveError(SearcherError):
    """Sums of blocks do not predict networks on this device."""


@dataclass(frozen=True)
class ReluRule:
    """What the runtime does with ReLUs, as the networks' optimised graphs show it.

    Attributes:
        merges: whether convolutions that read one value share its ReLU.
        into: producers that a ReLU becomes part of where nothing else reads what they produce.
        explained: how many networks' ReLUs that explains; the rule is used if it explains all.
        networks: how many networks' graphs are known.
        adds: how many of them have the sums that their cells say, none fused away.
        pools: how many have the average pools that their cells say.
    """

    merges: bool
    into: tuple[str, ...]
    explained: int
    networks: int
    adds: int
    pools: int

    def __post_init__(self) -> None:
        """Refuse a rule about what there is not.

        Raises:
            ValueError: nothing in a network produces values in that way.
        """
        unknown = set(self.into) - set(PRODUCERS)
        if unknown:
            raise ValueError(f"a ReLU becomes part of {', '.join(PRODUCERS)}, not of {min(unknown)!r}")

    @property
    def holds(self) -> bool:
        """Whether the rule explains every graph, so that it is used."""
        return self.explained == self.networks > 0

    @property
    def fusion(self) -> Fusion:
        """The rule, as a space takes it; every block's own ReLU where the rule does not hold."""
        return Fusion(self.merges, frozenset(self.into)) if self.holds else UNFUSED


@dataclass(frozen=True)
class HeldOut:
    """Networks that the fit has not seen, against their predictions.

    Attributes:
        networks: drawn from the space at random; latency by the architecture's text.
        ratios: measured ÷ predicted, smallest first.
        mape: mean absolute percentage error, in percent.
        within_5: share of the networks predicted within ±5%.
        within_10: share predicted within ±10%.
        tau: Kendall's rank correlation of predicted and measured; None where it is not defined.
        raw_mape: mean absolute percentage error of the plain sum of blocks, in percent.
    """

    networks: Mapping[str, NetworkLatency]
    ratios: tuple[float, ...]
    mape: float
    within_5: float
    within_10: float
    tau: float | None
    raw_mape: float


@dataclass(frozen=True)
class Calibration:
    """A cost model of one space on one device, complete: nothing else is needed to predict.

    Attributes:
        space: name of the search space.
        export_cells: cells per stage of its networks; None for a space without cells.
        device: how the user reached the device.
        created: UTC date and time, ISO 8601.
        table_key: conditions of the table and of the networks alike.
        table_sha256: hash of the table's file.
        sentinel_ms: latency of the agent's sentinel when the table was measured, in ms; None if unknown.
        relus: what the runtime does with them; None for a space whose blocks begin with none.
        scales: factor of each group of blocks.
        slopes: what one more of a block adds to a row of its like, in ms, where it costs more alone; by its key.
        block_ms: what one more block of each key costs in a network, in ms; the call's entry is the whole call.
        chains: rows of copies of blocks that the slopes are from; latency by the row's name.
        fitted: networks that the factors were fitted to; latency by the architecture's text.
        held_out: networks that judge them.
        edge_gap: how far a model with a gradient, which prices edges one by one, is from these sums; None if refused.
        refused: why sums must not be used here; None where they may.
    """

    space: str
    export_cells: int | None
    device: str
    created: str
    table_key: TableKey
    table_sha256: str
    sentinel_ms: float | None
    relus: ReluRule | None
    scales: Mapping[str, float]
    slopes: Mapping[str, float]
    block_ms: Mapping[str, float]
    chains: Mapping[str, NetworkLatency]
    fitted: Mapping[str, NetworkLatency]
    held_out: HeldOut
    edge_gap: Gap | None
    refused: str | None
    schema_version: int = SCHEMA_VERSION

    def __post_init__(self) -> None:
        """Refuse numbers that no prediction can be made of.

        Raises:
            ValueError: a ratio is not positive, or a cost is not finite.
        """
        if not all(0 < ratio < math.inf for ratio in self.held_out.ratios):
            raise ValueError("ratios of measured to predicted latency are positive")
        if not all(
            math.isfinite(number) for number in (*self.scales.values(), *self.slopes.values(), *self.block_ms.values())
        ):
            raise ValueError("scales and costs are finite")

    def require_additive(self) -> None:
        """Raise NotAdditiveError, with the reason, if the fit has failed its own check."""
        if self.refused is not None:
            raise NotAdditiveError(f"sums of blocks are not used on {self.device}: {self.refused}")


CALIBRATION_DOCUMENT = Document(Calibration, "calibration", SCHEMA_VERSION)
