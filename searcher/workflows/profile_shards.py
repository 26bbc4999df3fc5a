"""One table from several boards of a kind, which share its blocks after they agree on how fast they are."""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from profiler_agent.records import TableKey
from searcher.artifacts import ExportedModel
from searcher.devices.device import Connect, connect
from searcher.errors import BadInputError
from searcher.history.history import History
from searcher.history.job_record import UNFINISHED, State
from searcher.reports.shelf import COMPLETE, FAILED, LEFT_OUT, BoardReport, ShelfReport
from searcher.spaces.block import CALL_OVERHEAD
from searcher.tables.lookup_table import TABLE_DOCUMENT, LookupTable
from searcher.tables.plan import Plan, is_same_request
from searcher.tables.share import Part, Standard, dealt, merged, standard_of
from searcher.tables.share_folder import folder_of_run, forget_earlier_runs
from searcher.workflows.make_table import Target
from searcher.workflows.profile_shelf import Order, measured_together, plan_shelf, sent_since
from searcher.workflows.profile_space import ProfileRequest
from searcher.workflows.progress import Progress, Work
from searcher.workflows.side_by_side import Outcome

# Enough processes for the agent to know its sentinel.
_PROBE_ROUNDS = 8
_PROBE, _FIRST, _AGAIN = "probe", "share", "again"


@dataclass
class _Standing:
    """How a board stands in the course of the work.

    Attributes:
        state: `complete` as long as nothing speaks against it.
        reason: what does.
        notes: what else is to be known of that.
        seconds: how long it was at work.
        sent_bytes: what was sent to it.
    """

    state: str = COMPLETE
    reason: str | None = None
    notes: tuple[str, ...] = ()
    seconds: float = 0.0
    sent_bytes: int = 0

    def fall(self, state: str, reason: str | None, notes: tuple[str, ...] = ()) -> None:
        """Let the board be no longer complete."""
        self.state, self.reason, self.notes = state, reason, notes


@dataclass(frozen=True)
class _Shards:
    """What all steps of the work need.

    Attributes:
        requests: by the board's name; all ask for the same.
        plans: likewise, of the whole job.
        target: the table that the boards share.
        folder: for this run's shares.
        required: the key that it must have; None where that is open.
        history: knows the jobs.
        connect: opens the way to a device.
        standings: of the boards, as the work goes on.
    """

    requests: Mapping[str, ProfileRequest]
    plans: Mapping[str, Plan]
    target: Target
    folder: Path
    required: TableKey | None
    history: History
    connect: Connect
    standings: dict[str, _Standing] = field(default_factory=dict)

    @property
    def models(self) -> tuple[ExportedModel, ...]:
        """All blocks of the table."""
        return next(iter(self.plans.values())).models

    @property
    def common(self) -> ExportedModel:
        """The block that every board measures."""
        dtype = next(iter(self.requests.values())).settings.precision
        wanted = CALL_OVERHEAD.in_dtype(dtype).key
        return next(model for model in self.models if model.name == wanted)

    def sound(self) -> list[str]:
        """Boards that nothing speaks against."""
        return [name for name, standing in self.standings.items() if standing.state == COMPLETE]

    def path(self, step: str, board: str) -> Path:
        """Where the table of one step of a board lies."""
        return self.folder / f"{step}-{board}.json"


def profile_shards(
    requests: Mapping[str, ProfileRequest], table: Path, connect: Connect = connect
) -> Work[ShelfReport]:
    """Measure every block of a space on one of several boards of a kind, and write one table.

    Each board measures the call alone first: those whose table keys or sentinels differ are left out. Each measures it
    again with its share of the blocks. The share of a board that dies, or that no longer agrees, is measured by the
    others, once.

    Args:
        requests: by the name of the board, for the same space and settings; their own tables do not matter.
        table: the one to write; shares and journals go to a folder beside it.
        connect: opens the way to a device.

    Raises:
        BadInputError: the boards are not asked for the same, or the table cannot be written.
        InterruptedTogetherError: the user interrupted; its notes say which jobs go on.
    """
    first = next(iter(requests.values()))
    if any(request.settings != first.settings for request in requests.values()):
        raise BadInputError("boards that share a table are measured alike, and these have settings of their own")
    target = Target(table, first.overwrite)
    required = target.require_usable()
    plans = yield from plan_shelf(requests)
    folder = folder_of_run(table, first.resume)
    standings = {name: _Standing() for name in requests}
    shards = _Shards(requests, plans, target, folder, required, History(), connect, standings)
    began_s = time.monotonic()
    standard = yield from _agreed(shards)
    shards = _with_chosen_processors(shards)
    parts = [] if standard is None else (yield from _measured(shards, standard))
    return _finished(shards, parts, standard, time.monotonic() - began_s)


def _agreed(shards: _Shards) -> Work[Standard | None]:
    """Let each board measure the call alone, and leave out those that are not like most of them."""
    probes = yield from _carried_out(shards, _PROBE, dict.fromkeys(shards.requests, (shards.common,)))
    standard = standard_of(probes, shards.required)
    for name, probe in probes.items():
        objection = None if standard is None else standard.objection(probe)
        if objection is not None:
            shards.standings[name].fall(LEFT_OUT, objection)
            yield _note(shards, (), f"{name} is left out: {objection}")
    return standard


def _with_chosen_processors(shards: _Shards) -> _Shards:
    """Let every board keep the processors that were chosen there for its probe."""
    requests, plans = dict(shards.requests), dict(shards.plans)
    for name in shards.sound():
        probe = shards.history.latest(shards.path(_PROBE, name))
        if probe is not None:
            settings = replace(requests[name].settings, affinity=probe.plan.settings.affinity)
            requests[name] = replace(requests[name], settings=settings)
            plans[name] = replace(plans[name], settings=settings)
    return replace(shards, requests=requests, plans=plans)


def _measured(shards: _Shards, standard: Standard) -> Work[list[Part]]:
    """Deal the blocks out, and what is missing then a second time; return the shares that agree."""
    parts: list[Part] = []
    missing = shards.models
    for step in (_FIRST, _AGAIN):
        boards = shards.sound()
        if not boards or len(missing) == 0:
            break
        shares = _shares(shards, step, missing, boards)
        if step == _AGAIN:
            yield _note(shards, parts, f"{len(missing)} blocks go to {', '.join(shares)}")
        tables = yield from _carried_out(shards, step, shares)
        for name, table in tables.items():
            objection = standard.objection(table)
            if objection is None:
                parts.append(Part(name, shards.path(step, name), table))
            else:
                shards.standings[name].fall(FAILED, f"after its share, {objection}")
                yield _note(shards, parts, f"{name}: after its share, {objection}")
        taken = {key for part in parts for key in part.table.entries}
        missing = tuple(model for model in shards.models if model.name not in taken)
    return parts


def _shares(
    shards: _Shards, step: str, missing: Sequence[ExportedModel], boards: Sequence[str]
) -> dict[str, tuple[ExportedModel, ...]]:
    """Deal out what is missing; a board whose share was begun earlier, and goes on, keeps that share."""
    begun = {name: _begun_share(shards, step, name) for name in boards}
    kept = {name: share for name, share in begun.items() if set(share) & set(missing)}
    taken = {model.name for share in kept.values() for model in share}
    rest = [model for model in missing if model.name not in taken]
    return kept | dealt(rest, shards.common, [name for name in boards if name not in kept])


def _begun_share(shards: _Shards, step: str, name: str) -> tuple[ExportedModel, ...]:
    """Return the share that a board has from an earlier run, if it fits and the user wants to go on."""
    request = shards.requests[name]
    latest = shards.history.latest(shards.path(step, name)) if request.resume else None
    if latest is None or latest.state not in (*UNFINISHED, State.FINISHED):
        return ()
    names = [model.name for model in latest.plan.models]
    share = tuple(model for model in shards.models if model.name in names)
    wanted = replace(shards.plans[name], models=share)
    return share if len(share) == len(names) and is_same_request(latest.plan, wanted) else ()


def _note(shards: _Shards, parts: Sequence[Part], note: str) -> Progress:
    taken = {key for part in parts for key in part.table.entries}
    return Progress("share blocks", len(taken), len(shards.models), note)


def _carried_out(
    shards: _Shards, step: str, shares: Mapping[str, tuple[ExportedModel, ...]]
) -> Work[dict[str, LookupTable]]:
    """Measure shares at once, and return those that came to an end; boards that failed are put down as such."""
    orders = {name: _order(shards, step, name, models) for name, models in shares.items()}
    before = {name: shards.history.latest(order.request.table) for name, order in orders.items()}
    outcomes: dict[str, Outcome[LookupTable]] = yield from measured_together(orders, shards.history, shards.connect)
    tables = {}
    for name, outcome in outcomes.items():
        standing = shards.standings[name]
        standing.seconds += outcome.seconds
        standing.sent_bytes += sent_since(before[name], orders[name], shards.history)
        if outcome.result is None:
            standing.fall(FAILED, outcome.reason, outcome.notes)
        else:
            tables[name] = outcome.result
    return tables


def _order(shards: _Shards, step: str, name: str, models: tuple[ExportedModel, ...]) -> Order:
    request, settings = shards.requests[name], shards.requests[name].settings
    if step == _PROBE:
        settings = replace(settings, rounds=_PROBE_ROUNDS, costs=False)
    request = replace(request, settings=settings, table=shards.path(step, name), overwrite=True)
    return Order(request, replace(shards.plans[name], job_id=uuid.uuid4().hex, models=models, settings=settings))


def _finished(shards: _Shards, parts: Sequence[Part], standard: Standard | None, seconds: float) -> ShelfReport:
    """Write the table if all of it is there, and say what became of each board."""
    blocks = dict.fromkeys(shards.requests, 0)
    missing = {model.name for model in shards.models} - {key for part in parts for key in part.table.entries}
    problem = None
    if standard is None or not parts or missing:
        some = f", {min(missing)} for one" if parts else ""
        problem = f"{len(missing)} of {len(shards.models)} blocks were not measured{some}: there is no table"
    else:
        table = merged(parts, standard, shards.common.name, shards.target.path.parent)
        TABLE_DOCUMENT.save(table, shards.target.path)
        forget_earlier_runs(shards.target.path, shards.folder)
        for share in table.provenance.shares or ():
            blocks[share.board] += len(share.blocks)
    path = None if problem is not None else str(shards.target.path)
    boards = [
        BoardReport(
            name=name,
            device=shards.requests[name].device.name,
            state=standing.state,
            reason=standing.reason,
            notes=standing.notes,
            blocks=blocks[name],
            seconds=standing.seconds,
            sent_bytes=standing.sent_bytes,
            table=None,
        )
        for name, standing in shards.standings.items()
    ]
    return ShelfReport(tuple(boards), seconds, path, problem)
