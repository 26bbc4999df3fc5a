"""What an agent that died left tuned, found and undone by the next one that comes by."""

from __future__ import annotations

import os
from pathlib import Path
from typing import List, NamedTuple, Optional

from profiler_agent.environment import read_boot_id
from profiler_agent.errors import RecordError
from profiler_agent.undo_record import UndoRecord, load, lock, record_path, remove, undo

# Long enough for the guardian of an agent that was killed just now.
_GUARDIAN_UNDOES_S = 0.5
UNDONE, STUCK, IN_USE, DENIED = "undone", "stuck", "in_use", "denied"


class Leftover(NamedTuple):
    """What was found.

    Attributes:
        outcome: `undone`, `stuck` (it could not be undone), `in_use` (another agent is tuning now) or `denied`.
        sentence: for people.
    """

    outcome: str
    sentence: str


def undo_leftovers(root: Path, folders: List[Path]) -> List[Leftover]:
    """Undo what agents left behind, and return what there was to say of it: nothing on a machine as it should be."""
    found = [_undo_in(folder, root) for folder in folders if os.path.lexists(record_path(folder))]
    return [one for one in found if one is not None]


def _undo_in(folder: Path, root: Path) -> Optional[Leftover]:
    try:
        descriptor = lock(folder, _GUARDIAN_UNDOES_S)
        if descriptor is None:
            return Leftover(IN_USE, f"another agent{_process(folder)} has tuned this machine, and undoes it at its end")
        try:
            return _undo_locked(folder, root)
        finally:
            os.close(descriptor)
    except OSError as e:
        path = record_path(folder)
        return Leftover(DENIED, f"another user has or had the machine tuned, as {path} says: {e.strerror}")


def _undo_locked(folder: Path, root: Path) -> Optional[Leftover]:
    try:
        record = load(folder)
    except RecordError as e:
        remove(folder)
        return Leftover(STUCK, f"an agent died while it tuned, and its undo record is unreadable ({e}): reboot")
    if record is None:  # its owner was just finishing
        return None
    if record.boot_id != read_boot_id(root):
        remove(folder)  # the reboot has undone it
        return None
    problems = undo(root, folder, record)
    if problems:
        return Leftover(STUCK, f"an earlier agent left the machine tuned: {'; '.join(problems)}")
    changed = ", ".join(f"{change.path.rpartition('/')[2]} to {change.original}" for change in record.changes)
    return Leftover(UNDONE, f"an earlier agent{_number(record)} left the machine tuned; put back: {changed}")


def _process(folder: Path) -> str:
    try:
        return _number(load(folder))
    except (OSError, RecordError):
        return ""


def _number(record: Optional[UndoRecord]) -> str:
    return "" if record is None else f" (process {record.process})"
