"""What a user asks of jobs that were begun earlier: how they are, their tables, and their end."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from searcher.devices.device import Connect, connect
from searcher.devices.device_job import NEW, DeviceJob
from searcher.devices.driver import job_on
from searcher.devices.link import Link
from searcher.errors import BadInputError, SearcherError
from searcher.history.history import History
from searcher.history.job_record import UNFINISHED, JobRecord, State
from searcher.tables.lookup_table import LookupTable
from searcher.workflows.make_table import Target, make_table, remembered
from searcher.workflows.progress import Work
from searcher.workflows.run_job import run_job


def attach_job(record: JobRecord, history: History, connect: Connect = connect) -> Work[LookupTable]:
    """Follow a job to its end and write its table where it was to go, as `profile_space` would have.

    Raises:
        BadInputError: the job was cancelled, has failed, or was carried away.
        SearcherError: as `run_job`.
    """
    if record.state is State.EXPORTED or record.table is None:
        raise BadInputError(f"the job {record.short_id} was exported: searcher jobs import reads its journal")
    if record.state is State.CANCELLED:
        raise BadInputError(f"the job {record.short_id} was cancelled; searcher jobs show tells what is kept of it")
    if record.state is State.FAILED and not history.is_complete(record.job_id):
        raise BadInputError(f"the job {record.short_id} has failed: {record.sentence}")
    target = Target(record.table, record.overwrite)
    return (yield from run_job(target, record.plan, record.device(), history, connect))


def rebuild_table(record: JobRecord, table: Path, history: History, *, overwrite: bool = False) -> Work[LookupTable]:
    """Make a job's table again from the history alone, journal and all, byte for byte the one that it had.

    Raises:
        BadInputError: the history does not hold the whole job, or the table cannot be written.
        SearcherError: as `make_table`.
    """
    if not history.is_complete(record.job_id):
        raise BadInputError(
            f"the job {record.short_id} is {record.state}, and the history holds {record.events} of its events"
            " but not its end: searcher jobs attach follows it"
        )
    target = Target(table, overwrite)
    return (yield from make_table(target, record.plan, remembered(record.plan, history), history))


def cancel_job(record: JobRecord, history: History, connect: Connect = connect) -> None:
    """End a job for good; what it measured stays on the device and in the history.

    Raises:
        BadInputError: it has ended already.
        SearcherError: the device cannot be reached, or the job's agent cannot be ended.
    """
    if record.state in (State.EXPORTED, State.NOT_BEGUN):
        # Nobody works on it that this host could reach.
        history.end(record.job_id, State.CANCELLED)
        return
    if record.state not in UNFINISHED:
        raise BadInputError(f"the job {record.short_id} is {record.state} already")
    with closing(_link(record, connect)) as link:
        job = _on_device(link, record)
        # The device may never have heard of it.
        if job.state(link.transport).state != NEW:
            job.cancel(link.transport)
    history.end(record.job_id, State.CANCELLED)


def refreshed(records: Sequence[JobRecord], connect: Connect = connect) -> Iterator[tuple[JobRecord, str | None]]:
    """Ask the devices of unfinished jobs how these are.

    Yields:
        Each job with what its device says: `new` (it knows nothing of it), `running`, `broken` or `ended`, or why it
        does not answer; None for a job that is not asked for. Its events are those on the device where there are more.
    """
    for record in records:
        if record.state not in UNFINISHED or record.state is State.NOT_BEGUN:
            yield record, None
            continue
        try:
            with closing(_link(record, connect)) as link:
                told = _on_device(link, record).state(link.transport)
        except SearcherError as e:
            yield record, str(e)
        else:
            yield replace(record, events=max(record.events, told.events)), told.state


def _link(record: JobRecord, connect: Connect) -> Link:
    device = record.device()
    return Link(lambda: connect(device))


def _on_device(link: Link, record: JobRecord) -> DeviceJob:
    return job_on(link, record.device().interpreter, record.job_id)
