"""A predictor of kernels held against whole networks, and fitted to them: what caches do between kernels."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from searcher.artifacts import ExportedModel
from searcher.cost_models.kernels.kernel_model import UnknownKernelError
from searcher.cost_models.kernels.predictor import KernelPredictor, PredictorFile
from searcher.cost_models.kernels.whole_networks import MeasuredNetwork, fewest_networks, fit_correction
from searcher.devices.device import Connect, Device, connect
from searcher.devices.transport import printable
from searcher.errors import BadInputError
from searcher.export.exporter import Exporter, exporter_for
from searcher.export.kernels_of_onnx import cut
from searcher.export.recipe import set_weights
from searcher.networks.drawn import draw_network
from searcher.spaces.block import BlockSpec
from searcher.spaces.counts import block_macs
from searcher.tables.network_latencies import NetworkLatency
from searcher.workflows.measure_networks import measure_models, settings_of_key
from searcher.workflows.predict_kernels import cutting_note, require_cuttable
from searcher.workflows.prepare_device import meet_device
from searcher.workflows.progress import Progress, Work

NETWORKS = 40
MOST_MACS = 1_000_000_000
_DRAWING, _MEASURED = "draw networks", "fit to networks"
# Networks that the predictor refuses one after the other before it is said to know too little: of a predictor that
# knows one network in ten, one time in five hundred.
_REFUSED_IN_A_ROW = 60


@dataclass(frozen=True)
class PredictorCalibrationRequest:
    """What to measure, and for which predictor.

    Attributes:
        predictor: of the device.
        device: where the networks are measured, under the predictor's key.
        networks: how many to draw.
        seed: draws them.
        most_macs: multiply-accumulates of the largest.
        precision_pct: half-width of the interval, in percent of the median, at which a network is done.
        rounds: the most fresh processes for a network.
        samples: raw samples per network and round.
        budget_s: seconds after which no new round of measuring starts; None for no bound.
    """

    predictor: KernelPredictor
    device: Device
    networks: int = NETWORKS
    seed: int = 0
    most_macs: int = MOST_MACS
    precision_pct: float = 2.0
    rounds: int = 8
    samples: int = 7
    budget_s: float | None = None

    def __post_init__(self) -> None:
        """Refuse what no correction can be fitted to.

        Raises:
            BadInputError: there are too few networks for a fit, or for the interval of the predictor's confidence.
        """
        confidence = self.predictor.confidence
        needed = fewest_networks(confidence)
        if self.networks < needed:
            raise BadInputError(
                f"a predictor with intervals of {100 * confidence:g}% is fitted to {needed} networks at least, "
                f"not {self.networks}"
            )


@dataclass(frozen=True)
class _Drawn:
    """A network that was drawn: its file, its kernels, what each is predicted to take, and the operators they are."""

    model: ExportedModel
    operations: tuple[str, ...]
    kernels: tuple[BlockSpec, ...]
    kernels_ms: tuple[float, ...]


def calibrate_predictor(request: PredictorCalibrationRequest, connect: Connect = connect) -> Work[PredictorFile]:
    """Draw networks, measure them whole, and return the predictor with what they take beyond their kernels.

    Raises:
        KeyMismatchError: the device is not that of the predictor, or its networks cannot be cut into kernels.
        BadInputError: the predictor refuses nearly every network.
        SearcherError: the device cannot be reached or a network cannot be measured.
    """
    predictor = request.predictor
    require_cuttable(predictor)
    yield from meet_device(request.device)
    with tempfile.TemporaryDirectory() as folder:
        drawn = yield from _draw(request, exporter_for(predictor.key.runtime, predictor.key.precision), Path(folder))
        settings = settings_of_key(
            predictor.key, predictor.sentinel_ms, request.precision_pct, request.rounds, request.samples
        )
        models = [one.model for one in drawn]
        measured = yield from measure_models(models, request.device, settings, predictor.key, connect, request.budget_s)
    latencies = measured.latencies()
    note = _executed_otherwise(drawn, latencies)
    if note:
        yield Progress(_MEASURED, 1, 1, note)
    networks = [MeasuredNetwork(one.kernels, one.kernels_ms, latencies[one.model.name].median_ms) for one in drawn]
    return replace(predictor.file, networks=fit_correction(predictor.call_ms, networks))


def _executed_otherwise(drawn: Sequence[_Drawn], latencies: Mapping[str, NetworkLatency]) -> str:
    """Return in a sentence which networks the device executes as other operators than they were cut into, or nothing.

    What is fused depends on the runtime's version and on the processor; the order of branches says nothing.
    """
    others = []
    for one in drawn:
        there = latencies[one.model.name].operations
        if there and sorted(there) != sorted(one.operations):
            others.append(f"{one.model.name} is {_counted(there)} there and {_counted(one.operations)} here")
    if not others:
        return ""
    return printable(
        f"the device executes {len(others)} of {len(drawn)} networks as other operators than this computer cuts them "
        f"into, and predictions of files may be off: {others[0]}"
    )


def _counted(operations: Sequence[str]) -> str:
    return ", ".join(f"{count} {name}" for name, count in sorted(Counter(operations).items()))


def _draw(request: PredictorCalibrationRequest, exporter: Exporter, folder: Path) -> Work[list[_Drawn]]:
    """Draw networks until there are as many as asked for that the predictor knows and that are not too large."""
    generator, predictor = np.random.default_rng(request.seed), request.predictor
    drawn: list[_Drawn] = []
    refused, in_a_row, attempt = "", 0, 0
    yield Progress(_DRAWING, 0, request.networks, cutting_note(predictor))
    while in_a_row < _REFUSED_IN_A_ROW:
        network = draw_network(generator)
        name = f"drawn-{request.seed}-{attempt}"
        attempt, in_a_row = attempt + 1, in_a_row + 1
        path = folder / f"{name}{exporter.suffix}"
        model = exporter.export_trained(set_weights(network.module), network.input_shape, name, path)
        parts = cut(path, predictor.key.optimization, predictor.key.threads)
        kernels = tuple(one.spec for one in parts)
        if sum(block_macs(kernel) for kernel in kernels) > request.most_macs:
            path.unlink()
            continue
        try:
            estimates = predictor.estimates(kernels)
        except UnknownKernelError as e:
            refused = str(e)
            path.unlink()
            continue
        in_a_row = 0
        operations = tuple(one.operation for one in parts)
        drawn.append(_Drawn(model, operations, kernels, tuple(one.latency_ms for one in estimates)))
        yield Progress(_DRAWING, len(drawn), request.networks)
        if len(drawn) == request.networks:
            return drawn
    raise BadInputError(f"the predictor refuses nearly every network that is drawn: {refused or 'they are too large'}")
