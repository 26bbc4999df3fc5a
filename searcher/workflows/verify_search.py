"""The best candidates of a search, exported and measured whole on the device that they were searched for."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass

from profiler_agent.records import RecordError, Settings, parse_provider
from searcher.artifacts import ExportedModel, cache_folder
from searcher.devices.device import Connect, Device, connect
from searcher.devices.driver import Assignment, measure_on
from searcher.devices.link import Link
from searcher.devices.prepare import python_setup
from searcher.errors import BadInputError
from searcher.search.candidate import Candidate, SearchResult, best_distinct
from searcher.spaces.space import SearchSpace
from searcher.verification.verification import MeasuredDevice, Verification, conclude, judge
from searcher.workflows.prepare_device import meet_device
from searcher.workflows.prepare_exporter import prepare_exporter
from searcher.workflows.progress import PREPARING, Progress, Work, follow_job, requiring_key

_USUAL = Settings()


@dataclass(frozen=True)
class VerifyRequest:
    """What to verify, and where.

    Attributes:
        top: how many of the best feasible candidates to measure.
        settings: of the measuring; their conditions must be those of the search's table.
        data: images that networks of other numbers than fp32 are calibrated on.
    """

    space: SearchSpace
    search: SearchResult
    device: Device
    settings: Settings
    top: int = 3
    budget_s: float | None = None
    data: str = "digits"


def verify_search(request: VerifyRequest, connect: Connect = connect) -> Work[Verification]:
    """Measure the best candidates and judge them.

    Args:
        request: what to verify.
        connect: opens the way to the device.

    Raises:
        KeyMismatchError: the device or the settings are not those of the search's table.
        SearcherError: the device cannot be reached or a network cannot be measured.
    """
    chosen = best_distinct(request.search.candidates, request.top)
    if not chosen:
        raise BadInputError("the search holds no candidate within its limit")
    yield from meet_device(request.device)
    models = yield from _export(request, chosen)
    key = request.search.table_key
    setup = python_setup(request.device, request.settings.runtime, {key.runtime: key.runtime_version})
    with closing(Link(lambda: connect(request.device))) as link:
        yield Progress(PREPARING, 0, 1)
        events = measure_on(link, setup, Assignment(models, request.settings, request.budget_s))
        yield Progress(PREPARING, 1, 1)
        checked = requiring_key(events, request.search.table_key)
        result = yield from follow_job(checked, "measure networks", len(models) * request.settings.rounds)
    result.require_complete()
    limit_ms = request.search.max_latency_ms
    measured = {measurement.block_id: measurement for measurement in result.measurements}
    verdicts = [judge(one.architecture, one.predicted_ms, measured[one.architecture], limit_ms) for one in chosen]
    device = MeasuredDevice(request.device.name, result.hello.key.device_fingerprint)
    return conclude(device, result.hello.key.runtime, limit_ms, verdicts)


def _export(request: VerifyRequest, chosen: tuple[Candidate, ...]) -> Work[list[ExportedModel]]:
    space, settings = request.space, request.settings
    exporter = prepare_exporter(space, settings.runtime, settings.precision, request.data)
    models = []
    for done, candidate in enumerate(chosen, start=1):
        architecture = space.parse(candidate.architecture)
        models.append(exporter.export_network(space, architecture, cache_folder() / "exports"))
        yield Progress("export networks", done, len(chosen))
    return models


def settings_of_search(
    search: SearchResult,
    precision_pct: float = _USUAL.target_half_width_pct,
    rounds: int = _USUAL.rounds,
    samples: int = _USUAL.samples,
) -> Settings:
    """Return settings that measure as a search's table was measured: under its key, on a machine as fast as then.

    Args:
        search: with the key of its table, and the sentinel's latency then.
        precision_pct: half-width of the interval, in percent of the median, at which a network is done.
        rounds: the most fresh processes for a network.
        samples: raw samples per network and round.

    Raises:
        BadInputError: the key's affinity is neither `any` nor a list of processors, or a value is out of range.
    """
    key = search.table_key
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
            sentinel_ns=None if search.sentinel_ms is None else search.sentinel_ms * 1e6,
            rounds=rounds,
            samples=samples,
        )
    except (RecordError, ValueError) as e:
        raise BadInputError(str(e)) from e
