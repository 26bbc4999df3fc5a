"""A table's job on its device: begun, gone on with, and written down in the history, however it ends."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress

from searcher.devices.answers import DeviceAnswerError, MeasurementFailedError
from searcher.devices.counting import CountingTransport, Sent
from searcher.devices.device import Connect, Device
from searcher.devices.device_job import CANCELLED_STATUS
from searcher.devices.driver import Assignment, job_on, measure_on
from searcher.devices.link import Link
from searcher.devices.prepare import python_setup
from searcher.devices.transport import RemoteProgramError, TransportError, UnreachableError
from searcher.devices.wheels import NoWheelsError
from searcher.errors import SearcherError
from searcher.history.history import History
from searcher.history.job_record import State
from searcher.tables.journal import JournalInUseError
from searcher.tables.lookup_table import KeyMismatchError, LookupTable
from searcher.tables.plan import Plan
from searcher.workflows.make_table import Target, make_table, remembered
from searcher.workflows.progress import PREPARING, Progress, Work


def run_job(target: Target, plan: Plan, device: Device, history: History, connect: Connect) -> Work[LookupTable]:
    """Begin a job or go on with it, follow it to its end, and write its table.

    What the history holds whole is not asked of the device again. On a device behind a link the job goes on when the
    user interrupts this; on the local device it is stopped, and can go on later. A note on the error says which.

    Args:
        target: where the table goes.
        plan: a new job's, or that of one that was begun earlier.
        device: where it runs.
        history: where it is written down.
        connect: opens the way to the device.

    Raises:
        SearcherError: as `make_table`, or the device cannot be reached or refuses.
    """
    if history.is_complete(plan.job_id):
        record = history.known(plan.job_id)
        if record is not None and record.state is State.FINISHED:
            # What becomes of its table now changes nothing of how it ended.
            return (yield from make_table(target, plan, remembered(plan, history), history))
        with _written_down(history, plan, outlives=False):
            table = yield from make_table(target, plan, remembered(plan, history), history)
        return table
    setup = python_setup(device, plan.settings.runtime, _settled_version(plan, target, history))
    outlives = not device.is_local
    sent = Sent()
    with closing(Link(lambda: CountingTransport(connect(device), sent))) as link:
        state = State.NOT_BEGUN if _not_begun(history, plan) else State.RUNNING
        history.begin(plan, device, target.path, overwrite=target.overwrite, state=state)
        assignment = Assignment(plan.models, plan.settings, plan.budget_s, plan.job_id, outlives)
        with _written_down(history, plan, outlives), _counted(history, plan, sent):
            yield Progress(PREPARING, 0, 1)
            events = measure_on(link, setup, assignment)
            yield Progress(PREPARING, 1, 1)
            # With the first event that is asked for, the device is told of the job.
            history.start(plan.job_id)
            with _ended_if_unusable(link, device, plan):
                table = yield from make_table(target, plan, events, history, goes_on=True)
    return table


def _settled_version(plan: Plan, target: Target, history: History) -> dict[str, str]:
    """Return the runtime, with its version, that a job has begun with, or else that of the table to be replaced."""
    record = history.known(plan.job_id)
    if record is not None and record.table_key is not None:
        return {record.table_key["runtime"]: record.table_key["runtime_version"]}
    key = target.require_usable()
    return {} if key is None else {key.runtime: key.runtime_version}


@contextmanager
def _ended_if_unusable(link: Link, device: Device, plan: Plan) -> Iterator[None]:
    """End a job on its device that nobody can make a table of."""
    try:
        yield
    except (KeyMismatchError, DeviceAnswerError) as e:
        # What is to be told is why, not what else may fail.
        with suppress(TransportError):
            job = job_on(link, device.interpreter, plan.job_id)
            if isinstance(e, KeyMismatchError):
                job.cancel(link.transport)
            else:
                job.stop(link.transport)
        raise


@contextmanager
def _counted(history: History, plan: Plan, sent: Sent) -> Iterator[None]:
    try:
        yield
    finally:
        history.add_sent(plan.job_id, sent.total_bytes)


@contextmanager
def _written_down(history: History, plan: Plan, outlives: bool) -> Iterator[None]:
    """Write down how a job ends, and tell the user how to go on with one that has not ended."""
    try:
        yield
    except JournalInUseError as e:
        # If it has begun, another run follows this very job, and writes down how it ends.
        if not _has_begun(history, plan):
            history.end(plan.job_id, State.FAILED, str(e))
        raise
    except BaseException as e:
        # The history may be what failed.
        with suppress(SearcherError):
            state = _state_after(e, history, plan, outlives)
            history.end(plan.job_id, state, str(e) if isinstance(e, SearcherError) else None)
            note = _way_on(state, plan)
            if note is not None:
                e.add_note(note)
        raise
    history.end(plan.job_id, State.FINISHED)


def _not_begun(history: History, plan: Plan) -> bool:
    """Say whether no device was ever told of a job."""
    record = history.known(plan.job_id)
    return record is None or record.state is State.NOT_BEGUN


def _state_after(error: BaseException, history: History, plan: Plan, outlives: bool) -> State:
    """Return what became of a job when following it ended with an error."""
    not_begun = _not_begun(history, plan)
    if isinstance(error, UnreachableError):
        return State.NOT_BEGUN if not_begun else State.LOST
    cause = error.__cause__
    if isinstance(cause, RemoteProgramError):
        if cause.program_status == CANCELLED_STATUS:
            return State.CANCELLED
        # The agent has ended; what it measured is kept there, unless it refused the job.
        return State.STOPPED if _has_begun(history, plan) else State.FAILED
    if isinstance(error, KeyMismatchError | MeasurementFailedError):
        return State.FAILED
    if isinstance(error, DeviceAnswerError | TransportError | NoWheelsError):
        return State.STOPPED if _has_begun(history, plan) else State.FAILED
    # The user, or something on this host: the job itself is sound.
    if not_begun:
        return State.NOT_BEGUN
    if not outlives:
        return State.STOPPED
    return State.RUNNING if _has_begun(history, plan) else State.LOST


def _has_begun(history: History, plan: Plan) -> bool:
    return next(history.lines(plan.job_id), None) is not None


def _way_on(state: State, plan: Plan) -> str | None:
    """Return what the user can do about a job that has not ended."""
    name = plan.job_id[:8]
    attach = f"searcher jobs attach {name}"
    if state is State.NOT_BEGUN:
        return f"the job {name} was not begun on {plan.device}: searcher profile … --resume, or {attach}, begins it"
    if state is State.RUNNING:
        return f"the job {name} goes on on {plan.device}: {attach} follows it, searcher jobs cancel {name} ends it"
    if state is State.LOST:
        return (
            f"the job {name} may be going on on {plan.device}: {attach} follows it, searcher jobs cancel {name} ends it"
        )
    if state is State.STOPPED:
        return f"the job {name} can go on: searcher profile … --resume, or {attach}"
    return None
