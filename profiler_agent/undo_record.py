"""What tuning has to undo, on the disk before the first change: so that no way of dying leaves a machine tuned.

The record lies in a state folder beside a lock. Agent and guardian share the lock, so it is free only when both are
gone: a record that can be locked was left behind. Both undo by it, and so does the next agent that comes by; undoing
twice does no harm. A reboot undoes everything, so a record of another boot is worth nothing.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import List, Optional, Tuple

from profiler_agent.controls import governor_controls, turbo_controls, write_control
from profiler_agent.decoding import decode, encode, parse_object, quoted
from profiler_agent.disk import sync_folder
from profiler_agent.errors import RecordError
from profiler_agent.system_files import read_text

# History: 1, the first.
_SCHEMA_VERSION = 1
_RECORD, _LOCK = "undo.json", "tuning.lock"
_POLL_S = 0.05


@dataclass(frozen=True)
class Change:
    """One value that tuning changes; `path` is its file below the root."""

    path: str
    original: str
    tuned: str


@dataclass(frozen=True)
class UndoRecord:
    """What to undo.

    Attributes:
        boot_id: of the boot in which the changes were made, or None where the kernel does not tell.
        process: id of the agent that made them, for people.
        changes: in the order in which they are made.
    """

    boot_id: Optional[str]
    process: int
    changes: Tuple[Change, ...]
    schema_version: int = _SCHEMA_VERSION


def state_folders(root: Path) -> List[Path]:
    """Return where an undo record may lie: for all users where root may write, else for this user alone."""
    own = Path(os.environ.get("XDG_STATE_HOME") or os.path.join(os.path.expanduser("~"), ".local", "state"))
    # A relative one would be another folder for the next agent.
    return [root / "run/profiler-agent", *([own / "profiler-agent"] if own.is_absolute() else [])]


def record_path(folder: Path) -> Path:
    """Return where the record of a state folder lies."""
    return folder / _RECORD


def lock(folder: Path, wait_s: float) -> Optional[int]:
    """Lock a state folder, made if need be, and return the descriptor that holds the lock; None if another holds it.

    Args:
        folder: the state folder.
        wait_s: how long to wait for a holder that may just be finishing.

    Raises:
        OSError: the folder cannot be made or written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(str(folder / _LOCK), os.O_RDWR | os.O_CREAT, 0o600)
    give_up = time.monotonic() + wait_s
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return descriptor
        except OSError as e:
            if e.errno not in (errno.EAGAIN, errno.EACCES):
                os.close(descriptor)
                raise
            if time.monotonic() >= give_up:
                os.close(descriptor)
                return None
        time.sleep(_POLL_S)


def save(record: UndoRecord, folder: Path) -> None:
    """Write the record, and wait until it is on the disk.

    Raises:
        OSError: it cannot be written.
    """
    temporary = folder / f"{_RECORD}.new"
    with temporary.open("w", encoding="utf-8") as file:
        file.write(json.dumps(encode(record), indent=2) + "\n")
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(record_path(folder))
    sync_folder(folder)


def load(folder: Path) -> Optional[UndoRecord]:
    """Read the record; None if there is none.

    Raises:
        OSError: it cannot be read.
        RecordError: it is no undo record of this version.
    """
    try:
        text = record_path(folder).read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return None
    data = parse_object(text)
    if data.get("schema_version") != _SCHEMA_VERSION:
        raise RecordError(f"undo record has schema version {quoted(data.get('schema_version'))}")
    return decode(UndoRecord, data, "undo record")


def remove(folder: Path) -> None:
    """Remove the record: nothing is left to undo."""
    with contextlib.suppress(FileNotFoundError):
        record_path(folder).unlink()
    sync_folder(folder)


def undo(root: Path, folder: Path, record: UndoRecord) -> List[str]:
    """Put back what a record holds, last change first, and remove it; what could not be put back stays in it.

    Returns:
        One sentence for each value that could not be put back.
    """
    # Root must not write wherever a file says, only where tuning writes.
    known = {control.path for control in (*turbo_controls(root), *governor_controls(root))}
    left, problems = [], []
    for change in reversed(record.changes):
        path = root / change.path
        if change.path not in known:
            problem: Optional[str] = "there is no such control now"
        elif read_text(path) == change.original:
            continue
        else:
            problem = write_control(path, change.original)
        if problem is not None:
            left.append(change)
            problems.append(f"{path} is not back at {change.original!r}: {problem}")
    try:
        if left:
            save(replace(record, changes=tuple(reversed(left))), folder)
        else:
            remove(folder)
    except OSError as e:
        problems.append(f"cannot update the undo record {record_path(folder)}: {e.strerror}")
    return problems
