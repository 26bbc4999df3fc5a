"""The best candidates of a search, exported and measured whole on the device that they were searched for."""

from __future__ import annotations

from dataclasses import dataclass

from profiler_agent.records import Settings
from searcher.devices.device import Connect, Device, connect
from searcher.errors import BadInputError
from searcher.search.candidate import SearchResult, best_distinct
from searcher.spaces.space import SearchSpace
from searcher.verification.verification import MeasuredDevice, Verification, conclude, judge
from searcher.workflows.measure_networks import NetworksRequest, measure_networks
from searcher.workflows.progress import Work


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
    search, space = request.search, request.space
    chosen = best_distinct(search.candidates, request.top)
    if not chosen:
        raise BadInputError("the search holds no candidate within its limit")
    wanted = NetworksRequest(
        space=space,
        architectures=[space.parse(candidate.architecture) for candidate in chosen],
        key=search.require_table_key(),
        device=request.device,
        settings=request.settings,
        budget_s=request.budget_s,
        data=request.data,
    )
    result = (yield from measure_networks(wanted, connect)).result
    limit_ms = search.max_latency_ms
    measured = {measurement.block_id: measurement for measurement in result.measurements}
    verdicts = [judge(one.architecture, one.predicted_ms, measured[one.architecture], limit_ms) for one in chosen]
    device = MeasuredDevice(request.device.name, result.hello.key.device_fingerprint)
    return conclude(device, result.hello.key.runtime, limit_ms, verdicts)
