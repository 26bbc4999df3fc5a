"""The members of a family, exported and measured whole on a device; limits are judged by what is measured."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from profiler_agent.records import Settings, TableKey
from searcher.devices.device import Connect, Device, connect
from searcher.errors import BadInputError
from searcher.search.differentiable.family import FAMILY_DOCUMENT, Family, FamilyMember
from searcher.tables.lookup_table import KeyMismatchError, LookupTable
from searcher.verification.verification import (
    VERIFICATION_DOCUMENT,
    MeasuredDevice,
    Verification,
    conclude,
    judge,
)
from searcher.workflows.darts_family import FamilyRequest, darts_family
from searcher.workflows.darts_folder import FAMILY, VERIFICATION, DartsRun, RunDevice, read_run, read_state
from searcher.workflows.darts_parts import priced_devices, priced_space
from searcher.workflows.darts_prices import DevicePrices, conditions, read_prices
from searcher.workflows.measure_networks import NetworksRequest, measure_networks, settings_of_key
from searcher.workflows.prepare_device import ask_device, meet_device
from searcher.workflows.progress import Work

_USUAL = Settings()


@dataclass(frozen=True)
class VerifyDartsRequest:
    """Which members to measure, and where.

    Attributes:
        run: folder of a search.
        device: where to measure; its machine is that of one of the run's tables.
        prices: name, or file, of the run's prices that the device has; None for those of its fingerprint.
        top: how many of the family's members, in its order; None for all.
        limit_ms: what a member may take there when it is measured; None for the family's limit, or else for the middle
            of the space's predicted range.
        precision_pct: half-width of the interval, in percent of the median, at which a network is done.
        rounds: the most fresh processes for a network.
        samples: raw samples per network and round.
        budget_s: seconds after which no new round of measuring starts; None for no bound.
        data: images that networks of other numbers than fp32 are calibrated on.
    """

    run: Path
    device: Device
    prices: str | None = None
    top: int | None = None
    limit_ms: float | None = None
    precision_pct: float = _USUAL.target_half_width_pct
    rounds: int = _USUAL.rounds
    samples: int = _USUAL.samples
    budget_s: float | None = None
    data: str = "digits"


def darts_verify(request: VerifyDartsRequest, connect: Connect = connect) -> Work[tuple[Verification, Path]]:
    """Measure members of the run's family and judge them; a missing, outdated or unreadable family is made first.

    Args:
        request: what to verify.
        connect: opens the way to the device.

    Returns:
        The verification, and the file in the run's folder that it is written to.

    Raises:
        KeyMismatchError: the device is none that the search had prices of.
        SearcherError: the device cannot be reached or a network cannot be measured.
    """
    if request.limit_ms is not None and not 0 < request.limit_ms < math.inf:
        raise BadInputError(f"a limit on latency is a positive number of ms, not {request.limit_ms:g}")
    run, contents = read_run(request.run)
    yield from meet_device(request.device)
    prices = {one.name: read_prices(contents[one.name], one.source) for one in run.devices}
    chosen = _chosen(request, run.devices, prices, connect)
    key, sentinel_ms = _measurable(chosen, prices[chosen.name])
    out = request.run / _file_name(run, chosen)
    VERIFICATION_DOCUMENT.require_writable(out)
    family = _present_family(request.run)
    if family is None:
        family = yield from darts_family(FamilyRequest(request.run))
    place = [one.name for one in family.devices].index(chosen.name)
    limit_ms = request.limit_ms or family.devices[place].limit_ms or _middle_ms(run, contents, chosen.name)
    members = _in_order(family, place, limit_ms)[: request.top]
    space = priced_space(run)
    table = prices[chosen.name]
    wanted = NetworksRequest(
        space=space,
        architectures=[space.parse(one.architecture) for one in members],
        key=key,
        device=request.device,
        settings=settings_of_key(key, sentinel_ms, request.precision_pct, request.rounds, request.samples),
        budget_s=request.budget_s,
        data=request.data,
        calibrated_on=table.provenance.calibration if isinstance(table, LookupTable) else None,
    )
    result = (yield from measure_networks(wanted, connect)).result
    measured = {one.block_id: one for one in result.measurements}
    verdicts = [
        judge(one.architecture, one.latencies[place].predicted_ms, measured[one.architecture], limit_ms)
        for one in members
    ]
    device = MeasuredDevice(request.device.name, result.hello.key.device_fingerprint)
    verification = conclude(device, result.hello.key.runtime, limit_ms, verdicts)
    VERIFICATION_DOCUMENT.save(verification, out)
    return verification, out


def _chosen(
    request: VerifyDartsRequest, devices: Sequence[RunDevice], prices: dict[str, DevicePrices], connect: Connect
) -> RunDevice:
    """Return the device of the run that is to be measured on."""
    known = ", ".join(one.name for one in devices)
    if request.prices is not None:
        named = [one for one in devices if request.prices in (one.name, one.source)]
        if len(named) != 1:
            raise BadInputError(f"the run has no prices called {request.prices}; there are {known}")
        return named[0]
    if len(devices) == 1:
        return devices[0]
    fingerprint = ask_device(request.device, connect).device_fingerprint
    keys = {one.name: conditions(prices[one.name])[0] for one in devices}
    alike = [one for one in devices if (key := keys[one.name]) is not None and key.device_fingerprint == fingerprint]
    if len(alike) != 1:
        problem = "none" if not alike else "several"
        raise KeyMismatchError(
            f"{problem} of the run's prices are of {fingerprint}, which {request.device.name} is: "
            f"say with --prices which of {known}"
        )
    return alike[0]


def _measurable(device: RunDevice, prices: DevicePrices) -> tuple[TableKey, float | None]:
    key, sentinel_ms = conditions(prices)
    if key is None:
        raise BadInputError(
            f"nobody knows how the latencies of {device.name} were measured: nothing can be compared with them"
        )
    return key, sentinel_ms


def _file_name(run: DartsRun, device: RunDevice) -> str:
    name = Path(VERIFICATION)
    return name.name if len(run.devices) == 1 else f"{name.stem}-{device.name}{name.suffix}"


def _present_family(folder: Path) -> Family | None:
    """Return the family that the folder holds; None where there is none of the search's present state."""
    try:
        family = FAMILY_DOCUMENT.load(folder / FAMILY)
    except BadInputError:
        # Missing, of an earlier version, or torn: it follows from the state.
        return None
    stored = read_state(folder)
    return family if stored is not None and family.state_sha256 == stored[1] else None


def _middle_ms(run: DartsRun, contents: dict[str, bytes], name: str) -> float:
    return next(one for one in priced_devices(run, contents) if one.name == name).range.middle_ms


def _in_order(family: Family, place: int, limit_ms: float) -> list[FamilyMember]:
    """Return the members in the family's order, those behind that are not believed to keep the limit to be judged."""

    def is_above(member: FamilyMember) -> bool:
        latency = member.latencies[place]
        return (latency.predicted_ms if latency.bound_ms is None else latency.bound_ms) > limit_ms

    return sorted(family.members, key=is_above)
