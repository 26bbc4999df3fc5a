"""From a table to a calibrated cost model: whole networks are measured, fitted, and held against the fit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from searcher.artifacts import sha256_of, utc_now
from searcher.cost_models.calibrated import CalibratedModel, Prices, cells_of
from searcher.cost_models.calibration import Calibration
from searcher.cost_models.chains import LONG, SHORT, misleading_blocks
from searcher.cost_models.conformal import CONFIDENCE, networks_for
from searcher.cost_models.edge_additive import EdgeAdditive, Gap, gap
from searcher.cost_models.fit import fit_table
from searcher.cost_models.fitting import informative
from searcher.devices.device import Connect, Device, connect
from searcher.errors import BadInputError
from searcher.spaces.architecture import Architecture
from searcher.spaces.drawn_networks import drawn_networks
from searcher.spaces.fusion import UNFUSED
from searcher.spaces.space import SearchSpace
from searcher.tables.lookup_table import TABLE_DOCUMENT, LookupTable
from searcher.tables.network_latencies import NetworkLatency
from searcher.workflows.measure_networks import NetworksRequest, measure_networks, settings_of_key
from searcher.workflows.progress import Work

FITTED, HELD_OUT = 10, 20
# The informative networks are chosen among so many random ones.
_POOL = 1000


@dataclass(frozen=True)
class CalibrateRequest:
    """What to calibrate, and where.

    Attributes:
        space: of the table, with the depth of the networks to predict.
        table: file of the table.
        device: where to measure; the very one of the table.
        fitted: networks to fit to, chosen to be informative.
        held_out: networks that judge the fit, drawn at random.
        confidence: of the bound that the held-out networks must suffice for.
        seed: of both choices.
        precision_pct: half-width of the interval, in percent of the median, at which a network is done.
        rounds: the most fresh processes for a network.
        budget_s: seconds after which no new round of measuring starts; None for no bound.
        data: images that networks of other numbers than fp32 are calibrated on.
    """

    space: SearchSpace
    table: Path
    device: Device
    fitted: int = FITTED
    held_out: int = HELD_OUT
    confidence: float = CONFIDENCE
    seed: int = 0
    precision_pct: float = 2.0
    rounds: int = 20
    samples: int = 10
    budget_s: float | None = None
    data: str = "digits"

    def __post_init__(self) -> None:
        """Refuse numbers that no calibration can be made with.

        Raises:
            BadInputError: there is nothing to fit to, or too little for a bound.
        """
        if self.fitted < 1:
            raise BadInputError(f"a fit takes at least one network, not {self.fitted}")
        if self.held_out < (least := networks_for(self.confidence)):
            raise BadInputError(
                f"a bound of {100 * self.confidence:g}% takes at least {least} held-out networks, not {self.held_out}"
            )


def calibrate(request: CalibrateRequest, connect: Connect = connect) -> Work[Calibration]:
    """Measure networks under the table's conditions and fit the table to them.

    Args:
        request: what to calibrate.
        connect: opens the way to the device.

    Returns:
        The calibration; where its own check has failed it says so in `refused`.

    Raises:
        KeyMismatchError: the device is not that of the table.
        MissingBlockError: the table lacks a block.
        SearcherError: the device cannot be reached or a network cannot be measured.
    """
    # Of the file as it is now: it may be replaced while the networks are measured.
    table, table_sha256 = TABLE_DOCUMENT.load(request.table), sha256_of(request.table)
    fitted, held_out = choose_networks(request, table)
    chained = misleading_blocks(request.space, table)
    wanted = NetworksRequest(
        space=request.space,
        architectures=[*fitted, *held_out],
        key=table.key,
        device=request.device,
        settings=settings_of_key(table.key, table.sentinel_ms, request.precision_pct, request.rounds, request.samples),
        budget_s=request.budget_s,
        data=request.data,
        chains=[(block, copies) for block in chained for copies in (SHORT, LONG)],
        calibrated_on=table.provenance.calibration,
    )
    measured = (yield from measure_networks(wanted, connect)).latencies()
    shown_to_fit, hidden = (_of(request.space, measured, part) for part in (fitted, held_out))
    chains = {name: one for name, one in measured.items() if name not in shown_to_fit and name not in hidden}
    fit = fit_table(request.space, table, shown_to_fit, hidden, chains)
    made = Calibration(
        space=request.space.name,
        export_cells=cells_of(request.space),
        device=request.device.name,
        created=utc_now(),
        table_key=table.key,
        table_sha256=table_sha256,
        sentinel_ms=table.sentinel_ms,
        relus=fit.relus,
        scales=fit.scales,
        slopes=fit.slopes,
        block_ms=fit.block_ms,
        chains=chains,
        fitted=shown_to_fit,
        held_out=fit.held_out,
        edge_gap=None,
        refused=fit.refused,
    )
    if made.refused is None:
        made = replace(made, edge_gap=_edge_gap(CalibratedModel(request.space, made), request.seed))
    return made


def _edge_gap(model: CalibratedModel, seed: int) -> Gap:
    """Work out how far prices of single edges, which a differentiable search needs, are from the sums."""
    generator = np.random.default_rng(seed)
    sample = np.array([one.genotype for one in drawn_networks(model.space, _POOL, generator)])
    return gap(model.space, EdgeAdditive.of(model.space, model.block_ms), model, sample)


def _of(
    space: SearchSpace, measured: Mapping[str, NetworkLatency], architectures: Sequence[Architecture]
) -> dict[str, NetworkLatency]:
    texts = [space.format(one) for one in architectures]
    return {text: measured[text] for text in texts}


def choose_networks(request: CalibrateRequest, table: LookupTable) -> tuple[list[Architecture], list[Architecture]]:
    """Return the networks to fit to, and those that judge: the former by what they tell, the latter by chance alone.

    Raises:
        MissingBlockError: the table lacks a block.
    """
    space = request.space
    generator = np.random.default_rng(request.seed)
    # What the runtime does with ReLUs is known from the networks' graphs only when they have been measured.
    prices = Prices.of(space, table, UNFUSED)
    pool = drawn_networks(space, _POOL, generator)
    genotypes = np.array([one.genotype for one in pool])
    # Two that compute the same would be measured twice.
    _, different = np.unique(space.block_counts(genotypes), axis=0, return_index=True)
    if len(different) < request.fitted:
        raise BadInputError(
            f"of {_POOL} random networks {len(different)} are different: {request.fitted} cannot be chosen to fit to"
        )
    fitted = [pool[different[row]] for row in informative(prices.parts_ms(genotypes[different]), request.fitted)]
    held_out = drawn_networks(space, request.held_out, generator, without=fitted)
    return fitted, held_out
