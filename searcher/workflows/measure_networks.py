"""Whole networks of a space, exported and measured under the conditions of a table."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass

from profiler_agent.records import RecordError, Settings, TableKey, parse_provider
from searcher.artifacts import ExportedModel, cache_folder
from searcher.devices.answers import JobResult
from searcher.devices.device import Connect, Device
from searcher.devices.driver import Assignment, measure_on
from searcher.devices.link import Link
from searcher.devices.prepare import python_setup
from searcher.errors import BadInputError
from searcher.spaces.architecture import Architecture
from searcher.spaces.block import BlockSpec
from searcher.spaces.space import SearchSpace
from searcher.tables.network_latencies import NetworkLatency
from searcher.workflows.prepare_device import meet_device
from searcher.workflows.prepare_exporter import exporter_like
from searcher.workflows.progress import PREPARING, Progress, Work, follow_job, requiring_key

_USUAL = Settings()


@dataclass(frozen=True)
class NetworksRequest:
    """Which networks to measure, and where.

    Attributes:
        architectures: different ones, at least one.
        key: of the table that the networks are compared with: they are measured under its conditions or not at all.
        chains: blocks to measure in rows of so many copies, too.
        settings: of the measuring, as `settings_of_key` makes them.
        budget_s: seconds after which no new round of measuring starts; None for no bound.
        data: images that networks of other numbers than fp32 are calibrated on.
        calibrated_on: what the table's blocks were calibrated on, which networks of other numbers must be too; None for
            fp32, and where it does not matter.
    """

    space: SearchSpace
    architectures: Sequence[Architecture]
    key: TableKey
    device: Device
    settings: Settings
    budget_s: float | None = None
    data: str = "digits"
    chains: Sequence[tuple[BlockSpec, int]] = ()
    calibrated_on: str | None = None


@dataclass(frozen=True)
class MeasuredNetworks:
    """Networks that were measured, under the architectures' texts, chains under their names, and the files."""

    result: JobResult
    models: Sequence[ExportedModel]

    def latencies(self) -> dict[str, NetworkLatency]:
        """Return the latency of each network, by the architecture's text, and of each chain."""
        hashes = {model.name: model.sha256 for model in self.models}
        target_pct = self.result.hello.settings.target_half_width_pct
        return {
            one.block_id: NetworkLatency(
                median_ms=one.median_ms,
                interval_ms=one.interval_ms[:2],
                confidence=one.interval_ms[2],
                converged=one.converged(target_pct),
                operations=one.operations,
                model_sha256=hashes[one.block_id],
            )
            for one in self.result.measurements
        }


def measure_networks(request: NetworksRequest, connect: Connect) -> Work[MeasuredNetworks]:
    """Export networks and measure them.

    Args:
        request: what to measure.
        connect: opens the way to the device.

    Raises:
        KeyMismatchError: the device or the settings are not those of the table.
        BadInputError: networks would be calibrated on other images than the table's blocks.
        SearcherError: the device cannot be reached or a network cannot be measured.
    """
    yield from meet_device(request.device)
    models = yield from _export(request)
    return (yield from measure_models(models, request.device, request.settings, request.key, connect, request.budget_s))


def measure_models(
    models: Sequence[ExportedModel],
    device: Device,
    settings: Settings,
    key: TableKey | None,
    connect: Connect,
    budget_s: float | None = None,
) -> Work[MeasuredNetworks]:
    """Measure whole networks that are exported, on a device that was met.

    Args:
        models: at least one; their names identify them in the result.
        device: where.
        settings: of the measuring.
        key: of a table that they are compared with; None for no table.
        connect: opens the way to the device.
        budget_s: seconds after which no new round of measuring starts; None for no bound.

    Raises:
        KeyMismatchError: the device or the settings are not those of the table.
        SearcherError: the device cannot be reached or a network cannot be measured.
    """
    result = yield from run_models(models, device, settings, key, connect, budget_s, "measure networks")
    result.require_complete()
    return MeasuredNetworks(result, models)


def run_models(
    models: Sequence[ExportedModel],
    device: Device,
    settings: Settings,
    key: TableKey | None,
    connect: Connect,
    budget_s: float | None,
    stage: str,
) -> Work[JobResult]:
    """Run a job of exported models to its end, as `measure_models`, but pass on what could not be measured too.

    Args:
        models: at least one; their names identify them in the result.
        device: where.
        settings: of the measuring.
        key: of a table that they are compared with; None for no table.
        connect: opens the way to the device.
        budget_s: seconds after which no new round of measuring starts; None for no bound.
        stage: what the measuring is for.

    Raises:
        KeyMismatchError: the device or the settings are not those of the table.
        SearcherError: the device cannot be reached.
    """
    versions = None if key is None else {key.runtime: key.runtime_version}
    setup = python_setup(device, settings.runtime, versions)
    with closing(Link(lambda: connect(device))) as link:
        yield Progress(PREPARING, 0, 1)
        events = measure_on(link, setup, Assignment(models, settings, budget_s))
        yield Progress(PREPARING, 1, 1)
        checked = events if key is None else requiring_key(events, key)
        return (yield from follow_job(checked, stage, len(models) * settings.rounds))


def _export(request: NetworksRequest) -> Work[list[ExportedModel]]:
    space, settings = request.space, request.settings
    exporter = exporter_like(space, settings.runtime, settings.precision, request.data, request.calibrated_on)
    models, folder = [], cache_folder() / "exports"
    for done, architecture in enumerate(request.architectures, start=1):
        models.append(exporter.export_network(space, architecture, folder))
        yield Progress("export networks", done, len(request.architectures))
    return models + [exporter.export_chain(block, copies, folder) for block, copies in request.chains]


def settings_of_key(
    key: TableKey,
    sentinel_ms: float | None,
    precision_pct: float = _USUAL.target_half_width_pct,
    rounds: int = _USUAL.rounds,
    samples: int = _USUAL.samples,
) -> Settings:
    """Return settings that measure as a table was measured: under its key, on a machine as fast as then.

    Args:
        key: of the table.
        sentinel_ms: latency of the sentinel then, in ms; None if unknown.
        precision_pct: half-width of the interval, in percent of the median, at which a network is done.
        rounds: the most fresh processes for a network.
        samples: raw samples per network and round.

    Raises:
        BadInputError: the key's affinity is neither `any` nor a list of processors, or a value is out of range.
    """
    processors = key.affinity.split(",")
    if key.affinity != "any" and not all(part.isdecimal() for part in processors):
        raise BadInputError(f"the table's key has the affinity {key.affinity!r}, which names no processors such as 0,1")
    affinity = None if key.affinity == "any" else tuple(int(part) for part in processors)
    try:
        provider, provider_options = parse_provider(key.provider)
        return Settings(
            runtime=key.runtime,
            optimization=key.optimization,
            provider=provider,
            provider_options=provider_options,
            precision=key.precision,
            threads=key.threads,
            affinity=affinity,
            spinning=key.spinning,
            # What took then must take again: the keys are compared.
            tune=key.tuned,
            target_half_width_pct=precision_pct,
            sentinel_ns=None if sentinel_ms is None else sentinel_ms * 1e6,
            rounds=rounds,
            samples=samples,
        )
    except (RecordError, ValueError) as e:
        raise BadInputError(str(e)) from e
