"""The course of a differentiable search: epoch after epoch, on the disk as they come."""

from __future__ import annotations

import hashlib
import math
import os
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from searcher.cost_models.conformal import CONFIDENCE
from searcher.errors import BadInputError
from searcher.search.differentiable.family import PricedDevice
from searcher.search.differentiable.report import EpochReport
from searcher.search.differentiable.settings import DartsSettings
from searcher.search.scores.threads import threads
from searcher.spaces.catalogue import space_named
from searcher.spaces.darts import DartsSpace
from searcher.spaces.nasbench201 import NasBench201
from searcher.tables.lookup_table import LookupTable
from searcher.training.datasets import fingerprint, load_dataset
from searcher.training.torch_device import torch_device
from searcher.workflows.darts_folder import (
    PRICES,
    STATE,
    ControlChoice,
    DartsRun,
    RunDevice,
    RunFolder,
    read_epochs,
    read_state,
)
from searcher.workflows.darts_parts import SUPERNETS, priced_devices, put_together
from searcher.workflows.darts_predicted import read_luts
from searcher.workflows.darts_prices import read_prices
from searcher.workflows.progress import Progress, Work

# DARTS searches with 8 cells of 16 channels. On two processors a supernet of NAS-Bench-201 learns to rank cells sooner
# with one cell a stage and images of half the side: a step takes half the time of one with whole images.
_NASBENCH201_CELLS, _DARTS_CELLS, _CHANNELS = 1, 8, 16
_NASBENCH201_SIDE = 16
_STAGE = "search, epochs"
_NOTES = 10


@dataclass(frozen=True)
class DartsRequest:
    """What to search, and how.

    Attributes:
        space: name of the search space.
        luts: files of tables, calibrations, network latencies or models of these, one a device.
        output: the run's folder.
        limits: on latency in ms; under the file that they are of, or under None where there is but one.
        data: name of the data set.
        cells: of the networks whose latencies count; None for the space's own.
        channels: of the first cells of those networks; None for the space's own.
        supernet_cells: of the supernet; None for what suits the space.
        supernet_channels: of the supernet's first cells; None for 16.
        image_size: side of the images that the supernet sees; None for what suits the space.
        partial_channels: 1/k of the channels of each edge is mixed.
        control: what a point means.
        settings: of the search.
        confidence: of bounds, where prices tell by how much they may be wrong; None for 0.95, or less where predicted
            entries of a table have less.
        device: that trains, as torch names it.
        threads: of torch on a CPU; None for the processors that there are.
        resume: go on with the search that is in the folder.
        predictor: of kernels, for blocks that the one table lacks, or for all blocks where there are no `luts`; or a
            model of whole networks, without `luts`; None for no predictor.
    """

    space: str
    luts: tuple[Path, ...]
    output: Path
    limits: tuple[tuple[Path | None, float], ...] = ()
    data: str = "digits"
    cells: int | None = None
    channels: int | None = None
    supernet_cells: int | None = None
    supernet_channels: int | None = None
    image_size: int | None = None
    partial_channels: int = 1
    control: ControlChoice = ControlChoice()  # noqa: RUF009 # frozen
    settings: DartsSettings = DartsSettings()  # noqa: RUF009 # frozen
    confidence: float | None = None
    device: str = "cpu"
    threads: int | None = None
    resume: bool = False
    predictor: Path | None = None


@dataclass(frozen=True)
class DartsOutcome:
    """Where a search has come to.

    Attributes:
        run: what it was begun with.
        output: the run's folder.
        last: report of the last epoch.
        seconds: that all epochs took together.
    """

    run: DartsRun
    output: Path
    last: EpochReport
    seconds: float


def darts_run(request: DartsRequest, clock_s: Callable[[], float] = time.monotonic) -> Work[DartsOutcome]:
    """Search, or go on with a search, until all epochs are done or a guard ends it.

    Raises:
        ImpossibleLimitError: nothing can keep a limit; the message tells the least possible.
        BadInputError: options do not fit each other or the files, or the folder holds another search.
        SearcherError: the search diverged.
    """
    space = space_named(request.space, request.cells, channels=request.channels)
    prices = yield from read_luts(space, request.luts, request.predictor)
    if request.predictor is not None:
        request = replace(request, luts=tuple(prices))
    run = _described(request, prices)
    contents = {one.name: prices[file] for one, file in zip(run.devices, request.luts, strict=True)}
    devices = priced_devices(run, contents)
    torch_device(run.device, SUPERNETS)
    yield Progress("prices", 1, 1, "\n".join(map(_range_note, devices)))
    dataset = load_dataset(run.data)
    run = replace(run, data_fingerprint=fingerprint(dataset))
    with threads(run.threads), RunFolder(request.output) as folder:
        search = put_together(run, devices, dataset).search
        folder.settle(run, {one.file: contents[one.name] for one in run.devices}, request.resume)
        stored = read_state(request.output)
        if stored is not None:
            search.restore(stored[0])
        folder.begin(search.epoch)
        note = f"going on with the search of {request.output} after epoch {search.epoch}" if search.epoch else ""
        total = run.settings.epochs
        yield Progress(_STAGE, search.epoch, total, note)
        began_s = clock_s()
        for report in search.epochs():
            now_s = clock_s()
            folder.keep(report, now_s - began_s, search.state())
            began_s = now_s
            yield Progress(_STAGE, total if report.stopped else report.epoch, total, _note(report))
    return _outcome(run, request.output)


def _outcome(run: DartsRun, output: Path) -> DartsOutcome:
    lines = read_epochs(output)
    if not lines:
        raise BadInputError(f"{output / STATE} tells of no epoch")
    fields = {name: value for name, value in lines[-1].items() if name not in ("event", "seconds")}
    try:
        return DartsOutcome(run, output, EpochReport(**fields), sum(float(line["seconds"]) for line in lines))
    except (KeyError, TypeError, ValueError) as e:
        raise BadInputError(f"the journal of {output} is damaged in its last line") from e


def _described(request: DartsRequest, prices: dict[Path, bytes]) -> DartsRun:
    """Return the run that is asked for; the data's fingerprint is not known yet."""
    space = space_named(request.space, request.cells, channels=request.channels)
    if not request.luts:
        raise BadInputError("a search for latency takes the prices of at least one device: --lut FILE")
    if len(prices) < len(request.luts):
        raise BadInputError("--lut names one file twice")
    limits = _limits(request)
    names = _names(request.luts)
    cells, channels, side = request.supernet_cells, request.supernet_channels, request.image_size
    if isinstance(space, NasBench201 | DartsSpace):
        channels = channels or _CHANNELS
        cells = cells or (_NASBENCH201_CELLS if isinstance(space, NasBench201) else _DARTS_CELLS)
        side = side or (_NASBENCH201_SIDE if isinstance(space, NasBench201) else None)
    place = request.data.partition(":")[2]
    return DartsRun(
        space=request.space,
        cells=request.cells,
        channels=request.channels,
        supernet_cells=cells,
        supernet_channels=channels,
        image_size=side,
        partial_channels=request.partial_channels,
        control=request.control,
        settings=request.settings,
        # Later commands may be run elsewhere.
        data=f"{request.data.partition(':')[0]}:{Path(place).absolute()}" if place else request.data,
        data_fingerprint="",
        device=request.device,
        threads=request.threads or len(os.sched_getaffinity(0)),
        confidence=_confidence(request, prices.values()),
        devices=tuple(
            RunDevice(
                name, f"{PRICES}/{name}.json", hashlib.sha256(prices[file]).hexdigest(), str(file), limits.get(file)
            )
            for name, file in zip(names, request.luts, strict=True)
        ),
        versions={"numpy": np.__version__, "torch": torch.__version__},
    )


def _names(luts: tuple[Path, ...]) -> list[str]:
    """Return what devices are called: their files' names, numbered where two are alike."""
    names: list[str] = []
    for file in luts:
        alike = sum(other.stem == file.stem for other in luts[: len(names)])
        names.append(file.stem if alike == 0 else f"{file.stem}-{alike + 1}")
    return names


def _confidence(request: DartsRequest, contents: Iterable[bytes]) -> float:
    if request.confidence is not None:
        return request.confidence
    tables = (read_prices(content, "the prices") for content in contents)
    predicted = (
        table.entries[block].confidence
        for table in tables
        if isinstance(table, LookupTable)
        for block in table.predicted
    )
    return min((CONFIDENCE, *predicted))


def _limits(request: DartsRequest) -> dict[Path, float]:
    limits: dict[Path, float] = {}
    for file, limit_ms in request.limits:
        if not 0 < limit_ms < math.inf:
            raise BadInputError(f"a limit on latency is a positive number of ms, not {limit_ms:g}")
        if file is None and len(request.luts) > 1:
            raise BadInputError(f"there are {len(request.luts)} devices: say --max-latency-ms {limit_ms:g}:FILE")
        limited = request.luts[0] if file is None else file
        if limited not in request.luts:
            raise BadInputError(f"--max-latency-ms names {limited}, which is none of the files of --lut")
        if limited in limits:
            raise BadInputError(f"there are two limits for {limited}")
        limits[limited] = limit_ms
    return limits


def _range_note(device: PricedDevice) -> str:
    found, confidence = device.range, device.confidence
    what = "predicted" if confidence is None else f"with a confidence of {100 * confidence:g}% below"
    limit = "" if device.limit_ms is None else f"; limit {device.limit_ms:.3f} ms"
    return f"{device.name}: {what} {found.low_ms:.3f} to {found.high_ms:.3f} ms in this space{limit}"


def _note(report: EpochReport) -> str:
    if report.stopped is not None:
        return f"the search ends after epoch {report.epoch}: {report.stopped}"
    if report.epoch % max(1, report.epochs // _NOTES):
        return ""
    told = f"epoch {report.epoch}: training accuracy {report.training_accuracy:.1f}%"
    return f"{told}, warm-up" if report.warm_up else f"{told}, {report.distinct} different architectures on the grid"
