"""`searcher jobs`: jobs that were begun earlier, or carried to their device."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from searcher.cli import options, show
from searcher.history.history import History
from searcher.reports import jobs as report
from searcher.workflows import jobs as workflow
from searcher.workflows.make_table import Target
from searcher.workflows.offline import import_job

group = typer.Typer(no_args_is_help=True, rich_markup_mode=None)

JobId = Annotated[str, typer.Argument(metavar="ID", help="A job's name, or the beginning of it.")]


@group.callback()
def jobs() -> None:
    """Look after jobs that go on without this computer, and make their tables."""


@group.command("list")
def list_jobs(
    refresh: Annotated[bool, typer.Option("--refresh", help="Ask the devices of unfinished jobs.")] = False,
    as_json: options.Json = False,
) -> None:
    """List all jobs, the latest first, as this computer knows them."""
    records = History().jobs()
    rows = list(workflow.refreshed(records)) if refresh else [(record, None) for record in records]
    if as_json:
        show.document({"jobs": [report.job_document(record, told) for record, told in rows]})
    else:
        show.result(report.job_list(rows, datetime.now(UTC), refresh))


@group.command("show")
def show_job(job_id: JobId, as_json: options.Json = False) -> None:
    """Tell all that is known of a job."""
    document = report.job_document(History().find(job_id))
    if as_json:
        show.document(document)
    else:
        show.result(report.job_details(document))


@group.command("attach")
def attach_job(job_id: JobId, as_json: options.Json = False) -> None:
    """Follow a job to its end and write its table; a job that was stopped goes on."""
    history = History()
    record = history.find(job_id)
    table = show.run(workflow.attach_job(record, history))
    assert record.table is not None
    show.written_table(table, record.table, as_json)


@group.command("cancel")
def cancel_job(job_id: JobId, as_json: options.Json = False) -> None:
    """End a job for good, on its device and here; what was measured stays."""
    history = History()
    record = history.find(job_id)
    workflow.cancel_job(record, history)
    if as_json:
        show.document(report.job_document(history.find(record.job_id)))
    else:
        show.result(f"cancelled the job {record.short_id} on {record.plan.device}")


@group.command("rebuild")
def rebuild_table(
    job_id: JobId,
    out: Annotated[Path, typer.Option(help="The table to write; the journal goes beside it.")],
    overwrite: options.Overwrite = False,
    as_json: options.Json = False,
) -> None:
    """Write a job's table again from what this computer remembers alone."""
    history = History()
    table = show.run(workflow.rebuild_table(history.find(job_id), out, history, overwrite=overwrite))
    show.written_table(table, out, as_json)


@group.command("import")
def import_journal(
    source: Annotated[Path, typer.Argument(metavar="FILE_OR_DIR", help="The journal, or the folder with it.")],
    out: Annotated[Path, typer.Option(help="The table to write; the journal goes beside it.")],
    overwrite: options.Overwrite = False,
    as_json: options.Json = False,
) -> None:
    """Make the table of an exported job from the journal that was carried back."""
    options.require_other_file(out, source)
    table = show.run(import_job(source, Target(out, overwrite), History()))
    show.written_table(table, out, as_json)
