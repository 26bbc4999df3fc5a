"""Whole networks of a space, measured into a file of latencies: transfers and models of networks start from it."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from profiler_agent.records import Settings
from searcher.artifacts import cache_folder, utc_now
from searcher.cost_models.calibrated import cells_of, with_cells
from searcher.cost_models.network_model import MODELLED
from searcher.devices.answers import JobResult
from searcher.devices.device import Connect, Device, connect
from searcher.errors import BadInputError
from searcher.spaces.architecture import Architecture
from searcher.spaces.space import SearchSpace
from searcher.tables.network_latencies import NETWORKS_DOCUMENT, NetworkLatencies, NetworkLatency
from searcher.workflows.measure_networks import MeasuredNetworks, run_models
from searcher.workflows.prepare_device import prepare_device
from searcher.workflows.prepare_exporter import prepare_exporter
from searcher.workflows.progress import Progress, Work

# What a broken link may cost, and a file that is written after each job.
_NETWORKS_A_JOB = 10
_EXPORTING, _MEASURING = "export networks", "measure networks"


@dataclass(frozen=True)
class LatenciesRequest:
    """What to measure, where, and the file to write or to go on with.

    Attributes:
        out: the file of network latencies.
        space: with the sizes of the networks.
        architectures: different ones, at least one.
        device: where.
        name: what the device is called in the file.
        settings: of the measuring.
        budget_s: seconds after which no new job begins; None for no bound.
        data: images that networks of other numbers than fp32 are calibrated on.
    """

    out: Path
    space: SearchSpace
    architectures: Sequence[Architecture]
    device: Device
    name: str
    settings: Settings
    budget_s: float | None = None
    data: str = "digits"

    def __post_init__(self) -> None:
        """Refuse what leaves nothing to measure, or what no file tells apart.

        Raises:
            BadInputError: there is no network, or one is there twice, or the space has no models of networks.
        """
        if self.space.name not in MODELLED:
            known = " and ".join(MODELLED)
            raise BadInputError(f"files of latencies are of networks of {known}, not of {self.space.name}")
        if not self.architectures or len(set(self.architectures)) < len(self.architectures):
            raise BadInputError("a file of latencies is of different networks, one at least")


def measure_latencies(
    request: LatenciesRequest, connect: Connect = connect, clock_s: Callable[[], float] = time.monotonic
) -> Work[NetworkLatencies]:
    """Measure networks, writing the file after every job; those that a file holds already are not measured again.

    Args:
        request: what to measure.
        connect: opens the way to the device.
        clock_s: seconds, for the budget.

    Returns:
        All that the file holds, which is less than what was asked for where the budget was over.

    Raises:
        KeyMismatchError: the networks in the file were measured under other conditions.
        BadInputError: the file is another one, or cannot be written.
        SearcherError: the device cannot be reached or a network cannot be measured.
    """
    known = _begun(request)
    ends_s = None if request.budget_s is None else clock_s() + request.budget_s
    settings = yield from prepare_device(request.device, request.settings, connect)
    exporter = prepare_exporter(request.space, settings.runtime, settings.precision, request.data)
    left = [one for one in request.architectures if request.space.format(one) not in known.networks]
    if known.networks:
        note = f"{request.out} holds {len(known.networks)} networks: going on with it"
        yield Progress(_EXPORTING, 0, len(left), note)
    for start in range(0, len(left), _NETWORKS_A_JOB):
        left_s = None if ends_s is None else ends_s - clock_s()
        if left_s is not None and left_s <= 0:
            yield Progress(_EXPORTING, 1, 1, "the budget is over: the same command goes on from here")
            break
        models = []
        for done, one in enumerate(left[start : start + _NETWORKS_A_JOB], start=start + 1):
            models.append(exporter.export_network(request.space, one, cache_folder() / "exports"))
            yield Progress(_EXPORTING, done, len(left))
        as_before = replace(settings, sentinel_ns=None if known.sentinel_ms is None else known.sentinel_ms * 1e6)
        result = yield from run_models(models, request.device, as_before, known.key, connect, left_s, _MEASURING)
        known = _joined(known, result, MeasuredNetworks(result, models).latencies())
        if known.networks:
            NETWORKS_DOCUMENT.save(known, request.out)
        result.require_complete()
    return known


def _begun(request: LatenciesRequest) -> NetworkLatencies:
    """Return what the file holds, or a file of nothing.

    Raises:
        BadInputError: it holds latencies that others published or that were predicted, or of other networks.
    """
    NETWORKS_DOCUMENT.require_writable(request.out)
    cells = cells_of(request.space)
    if not request.out.exists():
        return NetworkLatencies(request.space.name, request.name, utc_now(), "", None, {}, cells)
    known = NETWORKS_DOCUMENT.load(request.out)
    if known.key is None or known.predicted:
        raise BadInputError(f"{request.out} holds latencies that were not measured here: name another file")
    if (known.space, known.export_cells, known.device) != (request.space.name, cells, request.name):
        raise BadInputError(
            f"{request.out} is of networks of {with_cells(known.space, known.export_cells)} on {known.device}, not of "
            f"{with_cells(request.space.name, cells)} on {request.name}: name another file"
        )
    return known


def _joined(known: NetworkLatencies, result: JobResult, found: dict[str, NetworkLatency]) -> NetworkLatencies:
    """Return the file with what a job has measured; the first job's conditions and sentinel stay."""
    networks = {**known.networks, **found}
    sentinel_ns = result.done.sentinel_ns
    first_ms = None if sentinel_ns is None else sentinel_ns / 1e6
    return replace(
        known,
        created=utc_now(),
        source=f"measured by the agent {result.hello.agent_version}, last in job {result.hello.job_id}",
        key=known.key or result.hello.key,
        networks=networks,
        sentinel_ms=first_ms if known.sentinel_ms is None else known.sentinel_ms,
    )
