"""The family of a differentiable search: what its structure derives to all over its control, priced and judged."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from searcher.errors import BadInputError
from searcher.search.differentiable.family import (
    FAMILY_DOCUMENT,
    Family,
    FamilyDevice,
    judged_members,
    no_member_within_limits,
    ranked,
)
from searcher.search.scores.threads import threads
from searcher.training.datasets import fingerprint, load_dataset
from searcher.workflows.darts_folder import FAMILY, STATE, DartsRun, read_run, read_state
from searcher.workflows.darts_parts import priced_devices, put_together
from searcher.workflows.progress import Progress, Work

DIVISIONS = 6
LIKELIEST = 3


@dataclass(frozen=True)
class FamilyRequest:
    """Which family to make.

    Attributes:
        run: folder of a search, finished or not.
        divisions: of the control's grid.
        likeliest: how many architectures each point of it gives, the most probable ones.
        limits: on latency in ms, under the device's name or the file of its prices, or under None where there is but
            one device; they take the place of those that the search had.
        device: that judges, as torch names it; None for the one that searched.
        data: the data set, where it does not lie any more where it lay then; None for that place.
    """

    run: Path
    divisions: int = DIVISIONS
    likeliest: int = LIKELIEST
    limits: tuple[tuple[str | None, float], ...] = ()
    device: str | None = None
    data: str | None = None


def darts_family(request: FamilyRequest) -> Work[Family]:
    """Make the family and write it into the run's folder.

    Raises:
        ImpossibleLimitError: nothing can keep a limit; the message tells the least possible.
        BadInputError: the folder holds no search that has done an epoch, or the data is another.
    """
    run, prices = read_run(request.run)
    run = replace(limited(run, request.limits), device=request.device or run.device, data=request.data or run.data)
    devices = priced_devices(run, prices)
    stored = read_state(request.run)
    if stored is None:
        raise BadInputError(f"the search of {request.run} has not done an epoch: there is no {STATE} yet")
    FAMILY_DOCUMENT.require_writable(request.run / FAMILY)
    dataset = load_dataset(run.data)
    if fingerprint(dataset) != run.data_fingerprint:
        raise BadInputError(f"the data {run.data} is not that of the search of {request.run}")
    state, state_sha256 = stored
    members = []
    with threads(run.threads):
        parts = put_together(run, devices, dataset)
        parts.search.restore(state)
        judged = judged_members(parts.search, parts.space, devices, parts.halves, request.divisions, request.likeliest)
        for count, member in judged:
            members.append(member)
            yield Progress("judge architectures", len(members), count)
    order = ranked(members, devices)
    reason = no_member_within_limits(order, devices)
    family = Family(
        space=run.space,
        control=run.control.name,
        coordinates=parts.coordinates,
        divisions=request.divisions,
        likeliest=request.likeliest,
        epoch=parts.search.epoch,
        state_sha256=state_sha256,
        devices=tuple(FamilyDevice(one.name, one.limit_ms, one.confidence) for one in devices),
        members=order,
        picked=order[0].architecture if reason is None else None,
        reason=reason,
    )
    FAMILY_DOCUMENT.save(family, request.run / FAMILY)
    return family


def limited(run: DartsRun, limits: Sequence[tuple[str | None, float]]) -> DartsRun:
    """Return a run with other limits on some of its devices.

    Args:
        run: of the devices.
        limits: in ms, under the device's name or the file of its prices, or under None where there is but one.

    Raises:
        BadInputError: a limit is not positive, or of no device.
    """
    devices = list(run.devices)
    for name, limit_ms in limits:
        if not 0 < limit_ms < math.inf:
            raise BadInputError(f"a limit on latency is a positive number of ms, not {limit_ms:g}")
        places = [place for place, one in enumerate(devices) if name in (None, one.name, one.source)]
        if len(places) != 1:
            known = ", ".join(one.name for one in devices)
            raise BadInputError(f"say of which device {limit_ms:g} ms is the limit, MS:NAME; there are {known}")
        devices[places[0]] = replace(devices[places[0]], limit_ms=limit_ms)
    return replace(run, devices=tuple(devices))
