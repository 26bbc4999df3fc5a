"""The SQLite file behind the history: where it lies, what its tables are, and connections that many may open at once.

Every operation opens a connection of its own, so that threads and processes share nothing but the file. Whoever writes
takes the write lock first (`BEGIN IMMEDIATE`): two writers wait for each other instead of failing.
History of the schema: 1, the first.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import platformdirs

from searcher.errors import BadInputError

SCHEMA_VERSION = 1
_BUSY_TIMEOUT_S = 60.0
_PAUSE_S = 0.05

_SCHEMA = (
    """
    CREATE TABLE jobs (
        job_id TEXT PRIMARY KEY,
        device TEXT NOT NULL,
        reach TEXT,
        table_path TEXT,
        overwrite INTEGER NOT NULL,
        plan TEXT NOT NULL,
        state TEXT NOT NULL,
        begun TEXT NOT NULL,
        ended TEXT,
        table_created TEXT,
        sent_bytes INTEGER NOT NULL DEFAULT 0,
        sentence TEXT,
        agent_version TEXT,
        table_key TEXT,
        environment TEXT,
        boot_id TEXT
    )
    """,
    """
    CREATE TABLE events (
        job_id TEXT NOT NULL REFERENCES jobs ON DELETE CASCADE,
        position INTEGER NOT NULL,
        kind TEXT NOT NULL,
        block_id TEXT,
        line TEXT NOT NULL,
        PRIMARY KEY (job_id, position)
    ) WITHOUT ROWID
    """,
    "CREATE INDEX jobs_by_table ON jobs (table_path, begun)",
    "CREATE INDEX events_by_kind ON events (job_id, kind)",
    "CREATE INDEX events_by_block ON events (block_id)",
)


class HistoryError(BadInputError):
    """The history cannot be read or written, or is none."""


def history_path() -> Path:
    """Return where the history lies: `$PROFILER_HISTORY`, else in the user's data folder."""
    chosen = os.environ.get("PROFILER_HISTORY")
    return Path(chosen) if chosen else platformdirs.user_data_path("profiler-agent") / "history.sqlite"


@contextlib.contextmanager
def connected(path: Path) -> Iterator[sqlite3.Connection]:
    """Open the history for one operation, making it first where there is none.

    Raises:
        HistoryError: it cannot be used, is of another version, or is no history.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # Transactions are said in words: sqlite3's own would begin too late, with a read that cannot become a write.
        with closing(sqlite3.connect(path, timeout=_BUSY_TIMEOUT_S, isolation_level=None)) as connection:
            connection.row_factory = sqlite3.Row
            connection.execute("PRAGMA foreign_keys = ON")
            _require_schema(connection, path)
            yield connection
    except (OSError, sqlite3.Error) as e:
        reason = e.strerror if isinstance(e, OSError) and e.strerror else str(e)
        raise HistoryError(f"the history {path} cannot be used: {reason}; $PROFILER_HISTORY names another file") from e


@contextlib.contextmanager
def writing(path: Path) -> Iterator[sqlite3.Connection]:
    """Open the history for one transaction: all of the body lands in it, or nothing.

    Raises:
        HistoryError: it cannot be used, is of another version, or is no history.
    """
    with connected(path) as connection:
        connection.execute("BEGIN IMMEDIATE")
        try:
            yield connection
        except BaseException:
            connection.execute("ROLLBACK")
            raise
        connection.execute("COMMIT")


def _require_schema(connection: sqlite3.Connection, path: Path) -> None:
    version = _version(connection)
    if version == 0:
        _make(connection, path)
    elif version != SCHEMA_VERSION:
        raise HistoryError(
            f"the history {path} has schema version {version}, and this version reads {SCHEMA_VERSION};"
            " $PROFILER_HISTORY names another file"
        )


def _version(connection: sqlite3.Connection) -> int:
    version: int = connection.execute("PRAGMA user_version").fetchone()[0]
    return version


def _make(connection: sqlite3.Connection, path: Path) -> None:
    """Make the tables; of several processes that come first at once, one makes them."""
    _write_ahead(connection)
    connection.execute("BEGIN IMMEDIATE")
    try:
        if _version(connection) == 0:
            if connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
                raise HistoryError(f"{path} is a database, but no history; $PROFILER_HISTORY names another file")
            for statement in _SCHEMA:
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")


def _write_ahead(connection: sqlite3.Connection) -> None:
    """Let readers go on while somebody writes. It stays so in the file; SQLite does not wait for this by itself."""
    give_up_s = time.monotonic() + _BUSY_TIMEOUT_S
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError:
            if time.monotonic() > give_up_s:
                raise
            time.sleep(_PAUSE_S)
