"""Jobs of the history for a person in the terminal, and as plain data."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from datetime import datetime
from typing import Any

from rich.table import Table

from searcher.devices.transport import printable
from searcher.history.job_record import JobRecord

_MINUTE_S, _HOUR_S, _DAY_S = 60, 3600, 86400
# By what the device says of the job.
_WAYS_ON = {"running": "follows it", "broken": "goes on with it", "ended": "fetches its result"}


def job_list(rows: Iterable[tuple[JobRecord, str | None]], now: datetime, asked: bool) -> Table:
    """Return jobs as a table.

    Args:
        rows: jobs, each with what its device says of it; None where it was not asked.
        now: for the ages.
        asked: whether devices were asked.
    """
    shown = Table(title=None)
    for name in ("job", "state", *(("on the device",) if asked else ()), "device", "table", "batches", "age"):
        shown.add_column(name, overflow="fold", justify="right" if name in ("batches", "age") else "left")
    for record, told in rows:
        # What the device has beyond that is counted when it is fetched.
        here = " here" if told in _WAYS_ON else ""
        shown.add_row(
            record.short_id,
            record.state,
            *((_on_the_device(record, told),) if asked else ()),
            record.plan.device,
            "" if record.table is None else str(record.table),
            f"{record.batches} of at most {record.plan.batches}{here}",
            age(record.begun, now),
        )
    return shown


def _on_the_device(record: JobRecord, told: str | None) -> str:
    """Return what a device says of a job, and what the user can do about it."""
    way_on = _WAYS_ON.get(told or "")
    said = printable(told or "")
    return said if way_on is None else f"{said}: searcher jobs attach {record.short_id} {way_on}"


def age(begun: str, now: datetime) -> str:
    """Return how long ago a UTC date and time was, in the largest unit that makes sense of it."""
    seconds = max(0, int((now - datetime.fromisoformat(begun)).total_seconds()))
    if seconds < _MINUTE_S:
        return f"{seconds} s"
    if seconds < _HOUR_S:
        return f"{seconds // _MINUTE_S} min"
    if seconds < _DAY_S:
        return f"{seconds // _HOUR_S} h {seconds % _HOUR_S // _MINUTE_S} min"
    return f"{seconds // _DAY_S} d"


def job_document(record: JobRecord, told: str | None = None) -> dict[str, Any]:
    """Return all that is known of a job as JSON-ready plain data.

    Args:
        record: the job.
        told: what its device says of it; None where it was not asked.
    """
    plan = record.plan
    return {
        "job_id": record.job_id,
        "state": record.state.value,
        "on_device": told,
        "device": plan.device,
        "reach": record.reached,
        "table": None if record.table is None else str(record.table),
        "space": plan.space,
        "begun": record.begun,
        "ended": record.ended,
        "batches": record.batches,
        "most_batches": plan.batches,
        "events": record.events,
        "sent_bytes": record.sent_bytes,
        "sentence": record.sentence,
        "settings": dataclasses.asdict(plan.settings),
        "budget_s": plan.budget_s,
        "models": [{"name": model.name, "sha256": model.sha256} for model in plan.models],
        "versions": dict(plan.versions),
        "calibration": plan.calibration,
        "agent_version": record.agent_version,
        "key": record.table_key,
        "environment": record.environment,
        "boot_id": record.boot_id,
    }


def job_details(document: dict[str, Any]) -> str:
    """Return a job as lines of text: what is known of it, nested facts on lines of their own."""
    return "\n".join(_lines(document))


def _lines(facts: dict[str, Any], prefix: str = "") -> Iterable[str]:
    for name, value in facts.items():
        if isinstance(value, dict) and value:
            yield from _lines(value, f"{prefix}{name}.")
        elif isinstance(value, list) and value and isinstance(value[0], dict):
            yield from (f"{prefix}{name}: {'  '.join(map(str, one.values()))}" for one in value)
        elif value is not None:
            yield printable(f"{prefix}{name}: {value}")
