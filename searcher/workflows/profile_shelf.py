"""A shelf of boards profiled at once, each with a table of its own; one that fails never stops the others."""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, replace

from searcher.devices.device import Connect, connect
from searcher.history.history import History
from searcher.history.job_record import JobRecord, State
from searcher.reports.shelf import COMPLETE, FAILED, BoardReport, ShelfReport
from searcher.tables.lookup_table import LookupTable
from searcher.tables.plan import Plan
from searcher.workflows.make_table import Target
from searcher.workflows.prepare_device import prepare_device
from searcher.workflows.profile_space import ProfileRequest, plan_job, profile_planned
from searcher.workflows.progress import Work
from searcher.workflows.side_by_side import PATIENCE_S, InterruptedTogetherError, Outcome, side_by_side


@dataclass(frozen=True)
class Order:
    """A table that is to be measured on a board.

    Attributes:
        request: what the user asks for, or a part of it.
        plan: of a new job.
    """

    request: ProfileRequest
    plan: Plan


def profile_shelf(requests: Mapping[str, ProfileRequest], connect: Connect = connect) -> Work[ShelfReport]:
    """Measure every block of a space on each of several boards at once, and write a table for each.

    A board that has finished is not asked again when the shelf resumes.

    Args:
        requests: by the name of the board; tables of their own.
        connect: opens the way to a device.

    Raises:
        BadInputError: a table cannot be written; found before any measuring where it can be.
        InterruptedTogetherError: the user interrupted; its notes say which jobs go on.
    """
    history = History()
    for request in requests.values():
        Target(request.table, request.overwrite).require_usable()
    plans = yield from plan_shelf(requests)
    began_s = time.monotonic()
    orders = {name: Order(request, plans[name]) for name, request in requests.items()}
    before = {name: history.latest(order.request.table) for name, order in orders.items()}
    outcomes = yield from measured_together(orders, history, connect)
    boards = [
        board_report(name, orders[name], outcome, sent_since(before[name], orders[name], history))
        for name, outcome in outcomes.items()
    ]
    return ShelfReport(tuple(boards), time.monotonic() - began_s)


def plan_shelf(requests: Mapping[str, ProfileRequest]) -> Work[dict[str, Plan]]:
    """Export what the boards need, each file once, and return the plan of a new job for each board.

    This comes before any thread begins: exporting redirects the standard error of the whole process.

    Raises:
        BadInputError: runtime, number type or data cannot be used, or the cache cannot be written.
    """
    made: dict[tuple[str, ...], Plan] = {}
    plans = {}
    for name, request in requests.items():
        settings = request.settings
        kind = (repr(request.space), settings.runtime, settings.precision, request.data)
        if kind not in made:
            made[kind] = yield from plan_job(
                request.space, request.device.name, settings, request.budget_s, request.data
            )
        plans[name] = replace(
            made[kind],
            job_id=uuid.uuid4().hex,
            device=request.device.name,
            settings=settings,
            budget_s=request.budget_s,
        )
    return plans


def measured_together(
    orders: Mapping[str, Order], history: History, connect: Connect, patience_s: float = PATIENCE_S
) -> Work[dict[str, Outcome[LookupTable]]]:
    """Measure on all boards at once and return how each ended.

    Raises:
        InterruptedTogetherError: the user interrupted; its notes say which jobs go on.
    """
    works = {name: _on_board(order, history, connect) for name, order in orders.items()}
    try:
        return (yield from side_by_side(works, patience_s=patience_s))
    except InterruptedTogetherError as e:
        for name in e.silent:
            e.add_note(f"{name}: {_way_on(history.unfinished(orders[name].request.table), patience_s)}")
        raise


def _on_board(order: Order, history: History, connect: Connect) -> Work[LookupTable]:
    settings = yield from prepare_device(order.request.device, order.plan.settings, connect)
    return (yield from profile_planned(order.request, replace(order.plan, settings=settings), history, connect))


def _way_on(begun: JobRecord | None, patience_s: float) -> str:
    """Say what the user can do about the job of a board that did not answer."""
    silent = f"it was silent for {patience_s:g} s and was left"
    if begun is None or begun.state is State.NOT_BEGUN:
        return f"{silent}, before a job was begun there"
    name = begun.short_id
    return (
        f"{silent}; its job {name} may be going on on {begun.plan.device}: searcher jobs attach {name} follows it,"
        f" searcher jobs cancel {name} ends it"
    )


def sent_since(before: JobRecord | None, order: Order, history: History) -> int:
    """Return the bytes that were sent for a table since its latest job was as it was before."""
    after = history.latest(order.request.table)
    if after is None:
        return 0
    known = before is not None and before.job_id == after.job_id
    return after.sent_bytes - (before.sent_bytes if known and before is not None else 0)


def board_report(name: str, order: Order, outcome: Outcome[LookupTable], sent_bytes: int) -> BoardReport:
    """Return what became of a board with a table of its own."""
    done = outcome.result is not None
    return BoardReport(
        name=name,
        device=order.request.device.name,
        state=COMPLETE if done else FAILED,
        reason=outcome.reason,
        notes=outcome.notes,
        blocks=0 if outcome.result is None else len(outcome.result.entries),
        seconds=outcome.seconds,
        sent_bytes=sent_bytes,
        table=str(order.request.table) if done else None,
    )
