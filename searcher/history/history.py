"""The host's record of jobs: what was asked of which device, how it went, and every event that was told."""

from __future__ import annotations

import dataclasses
import json
import sqlite3
from collections.abc import Generator, Sequence
from datetime import UTC, datetime
from pathlib import Path

from profiler_agent.records import Event, Hello, format_event
from searcher.devices.device import Device
from searcher.errors import BadInputError
from searcher.history.database import connected, history_path, writing
from searcher.history.job_record import UNFINISHED, JobRecord, State, written_reach
from searcher.tables.plan import PLAN_DOCUMENT, Plan

_JOBS = """
    SELECT *,
        (SELECT count(*) FROM events WHERE events.job_id = jobs.job_id) AS events,
        (SELECT count(*) FROM events WHERE events.job_id = jobs.job_id AND kind = 'measured') AS batches
    FROM jobs
"""


class History:
    """The record; it holds no connection and may be used by many threads and processes at once.

    Every method raises HistoryError if the file cannot be used.

    Args:
        path: the file; None for the user's own.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._path = path or history_path()

    def begin(
        self,
        plan: Plan,
        device: Device | None,
        table: Path | None,
        *,
        overwrite: bool = False,
        state: State = State.RUNNING,
    ) -> None:
        """Write down a job that begins, or one that goes on, maybe with another budget or another way to its device.

        Args:
            plan: what is asked.
            device: how it is reached; None for one that the job is carried to.
            table: where the table goes; None as long as nobody said.
            overwrite: whether a table of another key may be replaced.
            state: of the job from now on.
        """
        row = {
            "job_id": plan.job_id,
            "device": plan.device,
            "reach": None if device is None else written_reach(device),
            "table_path": None if table is None else str(_settled(table)),
            "overwrite": int(overwrite),
            "plan": PLAN_DOCUMENT.text(plan),
            "state": state.value,
            "begun": _now(),
        }
        names = ", ".join(row)
        values = ", ".join(f":{name}" for name in row)
        with writing(self._path) as connection:
            connection.execute(
                f"INSERT INTO jobs ({names}) VALUES ({values}) ON CONFLICT (job_id) DO UPDATE SET"  # noqa: S608
                " reach = coalesce(excluded.reach, reach), table_path = excluded.table_path,"
                " overwrite = excluded.overwrite, plan = excluded.plan, state = excluded.state,"
                " ended = NULL, sentence = NULL",
                row,
            )

    def append(self, job_id: str, position: int, events: Sequence[Event]) -> None:
        """Keep events of a job; those that are kept already stay as they are.

        Where the device now tells a job otherwise, what was told before is dropped from there on: a machine that lost
        power may have lost its last events, and measures them again.

        Args:
            job_id: of a job that was begun.
            position: of the first event among all of the job.
            events: in their order.
        """
        rows = [
            (job_id, position + index, _kind(line), getattr(event, "block_id", None), line)
            for index, (event, line) in enumerate((event, format_event(event)) for event in events)
        ]
        with writing(self._path) as connection:
            told_before = connection.execute(
                "SELECT position, line FROM events WHERE job_id = ? AND position >= ? AND position < ?",
                (job_id, position, position + len(rows)),
            )
            known = dict(map(tuple, told_before))
            changed = [row[1] for row in rows if known.get(row[1], row[-1]) != row[-1]]
            if changed:
                connection.execute("DELETE FROM events WHERE job_id = ? AND position >= ?", (job_id, changed[0]))
            connection.executemany("INSERT OR IGNORE INTO events VALUES (?, ?, ?, ?, ?)", rows)
            for event in events:
                if isinstance(event, Hello):
                    _greet(connection, event)

    def lines(self, job_id: str) -> Generator[str, None, None]:
        """Yield the kept events of a job in their order, each as its line of the journal."""
        with connected(self._path) as connection:
            query = "SELECT line FROM events WHERE job_id = ? ORDER BY position"
            for (line,) in connection.execute(query, (job_id,)):
                yield line

    def is_complete(self, job_id: str) -> bool:
        """Say whether all that a job had to tell is kept."""
        query = "SELECT kind FROM events WHERE job_id = ? ORDER BY position DESC LIMIT 1"
        with connected(self._path) as connection:
            last = connection.execute(query, (job_id,)).fetchone()
        return last is not None and last[0] == "done"

    def start(self, job_id: str) -> None:
        """Write down that a device is told of a job from now on."""
        with writing(self._path) as connection:
            connection.execute("UPDATE jobs SET state = ? WHERE job_id = ?", (State.RUNNING.value, job_id))

    def end(self, job_id: str, state: State, sentence: str | None = None) -> None:
        """Write down how a job ended, or that it goes on without this host; `sentence` says why it failed."""
        ended = None if state is State.RUNNING else _now()
        with writing(self._path) as connection:
            connection.execute(
                "UPDATE jobs SET state = ?, ended = ?, sentence = ? WHERE job_id = ?",
                (state.value, ended, sentence, job_id),
            )

    def add_sent(self, job_id: str, sent_bytes: int) -> None:
        """Count bytes that were sent for a job."""
        with writing(self._path) as connection:
            connection.execute("UPDATE jobs SET sent_bytes = sent_bytes + ? WHERE job_id = ?", (sent_bytes, job_id))

    def table_created(self, job_id: str) -> str:
        """Return the time that a job's table tells as its own: now, at the first call, and then always the same."""
        with writing(self._path) as connection:
            connection.execute(
                "UPDATE jobs SET table_created = coalesce(table_created, ?) WHERE job_id = ?", (_now(), job_id)
            )
            created: str = connection.execute("SELECT table_created FROM jobs WHERE job_id = ?", (job_id,)).fetchone()[
                0
            ]
        return created

    def jobs(self) -> list[JobRecord]:
        """Return all jobs, the latest first."""
        with connected(self._path) as connection:
            rows = connection.execute(f"{_JOBS} ORDER BY begun DESC, rowid DESC").fetchall()
        return [_record(row) for row in rows]

    def find(self, prefix: str) -> JobRecord:
        """Return the job whose name begins so.

        Raises:
            BadInputError: there is none, or more than one.
        """
        query = f"{_JOBS} WHERE substr(job_id, 1, ?) = ? ORDER BY job_id LIMIT 3"
        with connected(self._path) as connection:
            rows = connection.execute(query, (len(prefix), prefix)).fetchall()
        exact = [row for row in rows if row["job_id"] == prefix]
        if not rows or not prefix:
            raise BadInputError(f"the history knows no job {prefix!r}: searcher jobs list names all")
        if len(rows) > 1 and not exact:
            names = ", ".join(row["job_id"] for row in rows)
            raise BadInputError(f"{prefix!r} is the beginning of several jobs, such as {names}: give more of it")
        return _record((exact or rows)[0])

    def known(self, job_id: str) -> JobRecord | None:
        """Return the job of this very name; None if there is none."""
        with connected(self._path) as connection:
            row = connection.execute(f"{_JOBS} WHERE job_id = ?", (job_id,)).fetchone()
        return None if row is None else _record(row)

    def latest(self, table: Path) -> JobRecord | None:
        """Return the latest job that is to write a table, however far it is; None if there is none."""
        query = f"{_JOBS} WHERE table_path = ? ORDER BY begun DESC, rowid DESC LIMIT 1"
        with connected(self._path) as connection:
            row = connection.execute(query, (str(_settled(table)),)).fetchone()
        return None if row is None else _record(row)

    def unfinished(self, table: Path) -> JobRecord | None:
        """Return the latest job that is to write a table and has not come to an end; None if there is none."""
        places = ", ".join("?" for _ in UNFINISHED)
        query = f"{_JOBS} WHERE table_path = ? AND state IN ({places}) ORDER BY begun DESC, rowid DESC LIMIT 1"
        with connected(self._path) as connection:
            row = connection.execute(query, (str(_settled(table)), *UNFINISHED)).fetchone()
        return None if row is None else _record(row)


def _settled(table: Path) -> Path:
    """Return where a table lies, however the user wrote it; a link in its own place is replaced, not followed."""
    return table.absolute().parent.resolve() / table.name


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _kind(line: str) -> str:
    kind: str = json.loads(line)["event"]
    return kind


def _greet(connection: sqlite3.Connection, hello: Hello) -> None:
    """Write down who measures."""
    connection.execute(
        "UPDATE jobs SET agent_version = ?, table_key = ?, environment = ?, boot_id = ? WHERE job_id = ?",
        (
            hello.agent_version,
            json.dumps(dataclasses.asdict(hello.key)),
            json.dumps(dataclasses.asdict(hello.environment)),
            hello.boot_id,
            hello.job_id,
        ),
    )


def _record(row: sqlite3.Row) -> JobRecord:
    return JobRecord(
        plan=PLAN_DOCUMENT.parse(row["plan"], f"the history's job {row['job_id']}"),
        reach=row["reach"],
        table=None if row["table_path"] is None else Path(row["table_path"]),
        overwrite=bool(row["overwrite"]),
        state=State(row["state"]),
        begun=row["begun"],
        ended=row["ended"],
        table_created=row["table_created"],
        sent_bytes=row["sent_bytes"],
        sentence=row["sentence"],
        agent_version=row["agent_version"],
        table_key=_object(row["table_key"]),
        environment=_object(row["environment"]),
        boot_id=row["boot_id"],
        events=row["events"],
        batches=row["batches"],
    )


def _object(text: str | None) -> dict[str, object] | None:
    return None if text is None else json.loads(text)
