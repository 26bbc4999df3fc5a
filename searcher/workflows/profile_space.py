"""From a search space to a lookup table: export its blocks, measure them on a device, write table and journal."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from profiler_agent.records import Settings
from searcher.artifacts import ExportedModel, cache_folder
from searcher.devices.device import Connect, Device, connect
from searcher.export.exporter import Exporter
from searcher.history.history import History
from searcher.history.job_record import JobRecord, State
from searcher.spaces.block import measurable
from searcher.spaces.space import SearchSpace
from searcher.tables.lookup_table import LookupTable
from searcher.tables.plan import OtherRequestError, Plan, is_same_request, require_same_request
from searcher.workflows.make_table import Target
from searcher.workflows.prepare_device import prepare_device
from searcher.workflows.prepare_exporter import prepare_exporter
from searcher.workflows.progress import Progress, Work
from searcher.workflows.run_job import run_job


@dataclass(frozen=True)
class ProfileRequest:
    """What to profile, where, how, and the table to write.

    Attributes:
        budget_s: seconds after which no new round of measuring starts; None for no bound.
        overwrite: replace an existing table also when its key differs.
        data: images that blocks of other numbers than fp32 are calibrated and judged on.
        resume: go on with an unfinished job for this table, if there is one; if the latest has finished, and was for
            the very same, make its table again without the device.
    """

    space: SearchSpace
    device: Device
    settings: Settings
    table: Path
    budget_s: float | None = None
    overwrite: bool = False
    data: str = "digits"
    resume: bool = False


def profile_space(request: ProfileRequest, connect: Connect = connect) -> Work[LookupTable]:
    """Measure every block of a space and write the table, its journal beside it.

    The history knows the job and all that was measured; `run_job` tells what becomes of a job that is interrupted.

    Args:
        request: what to profile.
        connect: opens the way to the device.

    Raises:
        KeyMismatchError: the file holds a table of another key, which is left as it is.
        OtherRequestError: the unfinished job that was to go on was begun for something else.
        BadInputError: the table cannot be written; found before the measuring where it can be.
        SearcherError: the device cannot be reached or a block cannot be measured; no table is written.
    """
    Target(request.table, request.overwrite).require_usable()
    settings = yield from prepare_device(request.device, request.settings, connect)
    plan = yield from plan_job(request.space, request.device.name, settings, request.budget_s, request.data)
    return (yield from profile_planned(request, plan, History(), connect))


def profile_planned(request: ProfileRequest, plan: Plan, history: History, connect: Connect) -> Work[LookupTable]:
    """Measure blocks that are exported already, as `profile_space` does, on a device that is prepared.

    Args:
        request: what the plan was made for.
        plan: of a new job; where an earlier one goes on, its name is taken instead.
        history: knows earlier jobs for the table.
        connect: opens the way to the device.

    Raises:
        SearcherError: as `profile_space`.
    """
    begun = _begun(request, plan, history)
    if begun is not None and request.resume:
        _require_same(begun, plan)
        plan = replace(plan, job_id=begun.job_id)
        yield from _told(_what_goes_on(begun))
    elif request.resume:
        yield from _told(f"no unfinished job is to write {request.table}: measuring from the beginning")
    elif begun is not None:
        yield from _told(f"the unfinished job {begun.short_id} for {request.table} is left: --resume goes on with it")
    target = Target(request.table, request.overwrite)
    return (yield from run_job(target, plan, request.device, history, connect))


def _begun(request: ProfileRequest, plan: Plan, history: History) -> JobRecord | None:
    """Return the earlier job for a table that can go on, or whose table can be made again.

    One that no device was told of, and that is not to go on, is given up: there is nothing that could be lost of it.
    """
    unfinished = history.unfinished(request.table)
    while unfinished is not None and unfinished.state is State.NOT_BEGUN:
        if request.resume and is_same_request(unfinished.plan, plan):
            break
        history.end(unfinished.job_id, State.CANCELLED)
        unfinished = history.unfinished(request.table)
    if unfinished is not None or not request.resume:
        return unfinished
    latest = history.latest(request.table)
    same = latest is not None and latest.state is State.FINISHED and is_same_request(latest.plan, plan)
    return latest if same else None


def _require_same(begun: JobRecord, plan: Plan) -> None:
    """Raise OtherRequestError, with what to do, unless an earlier job asks for what is asked now."""
    try:
        require_same_request(begun.plan, plan)
    except OtherRequestError as e:
        raise OtherRequestError(
            f"{e}: give the same options as then, or end that job with searcher jobs cancel {begun.short_id}"
        ) from e


def _what_goes_on(begun: JobRecord) -> str:
    """Return what becomes of an earlier job when the user resumes."""
    name = begun.short_id
    if begun.state is State.FINISHED:
        return f"the job {name} was finished {begun.ended}: the table is made from it, and nothing is measured again"
    if begun.state is State.NOT_BEGUN:
        return f"beginning the job {name}, which its device was not told of yet"
    return f"going on with the job {name}, begun {begun.begun}"


def _told(sentence: str) -> Iterator[Progress]:
    yield Progress("export blocks", 1, 1, sentence)


def plan_job(space: SearchSpace, device: str, settings: Settings, budget_s: float | None, data: str) -> Work[Plan]:
    """Export the blocks of a space and return the plan of a new job that measures them.

    Args:
        space: what to measure.
        device: what the table calls the device.
        settings: how to measure.
        budget_s: seconds after which no new round starts; None for no bound.
        data: images that blocks of other numbers than fp32 are calibrated and judged on.

    Raises:
        BadInputError: runtime, number type or data cannot be used, or the cache cannot be written.
    """
    exporter = prepare_exporter(space, settings.runtime, settings.precision, data)
    models = yield from export_blocks(space, exporter)
    return Plan(
        job_id=uuid.uuid4().hex,
        space=space.name,
        device=device,
        models=tuple(models),
        settings=settings,
        budget_s=budget_s,
        versions=exporter.versions,
        calibration=exporter.calibration_identity,
    )


def export_blocks(space: SearchSpace, exporter: Exporter) -> Work[list[ExportedModel]]:
    """Export the distinct blocks of a space in the exporter's numbers, or find them in the cache."""
    specs = measurable(space.all_blocks(), exporter.dtype)
    models = []
    for done, spec in enumerate(specs, start=1):
        models.append(exporter.export_block(spec, cache_folder() / "exports"))
        yield Progress("export blocks", done, len(specs))
    return models
