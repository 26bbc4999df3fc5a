"""Who may measure on this machine: a lock that the kernel takes back when its holder ends, however that comes about.

The file holds a note of who has it, or had it last. A machine that starts again, and an agent that is killed, leave
nothing that has to be recognised as stale.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import time
from pathlib import Path
from typing import IO, Dict, Iterator, Optional

from profiler_agent import interrupts
from profiler_agent.errors import AgentError

_NOTE_BYTES = 4096
# Whoever looks whether a lease is held locks it for a moment.
_TRIES, _PAUSE_S = 20, 0.05
Note = Dict[str, object]


class LeaseHeldError(AgentError):
    """Another one has the lease.

    Attributes:
        note: what it wrote down.
    """

    def __init__(self, path: Path, note: Note) -> None:
        super().__init__(f"{path} is held by another agent")
        self.note = note


@contextlib.contextmanager
def held(path: Path, note: Note) -> Iterator[None]:
    """Hold a lease for the time of the body.

    Raises:
        LeaseHeldError: another process has it.
        AgentError: the file cannot be locked at all.
    """
    with _opened(path) as file:
        for attempt in range(_TRIES):
            if _lock(file, path, fcntl.LOCK_EX):
                break
            if attempt == _TRIES - 1:
                raise LeaseHeldError(path, _note(file))
            interrupts.check()
            time.sleep(_PAUSE_S)
        file.seek(0)
        file.truncate()
        file.write(json.dumps(note))
        file.flush()
        yield


def holder(path: Path) -> Optional[Note]:
    """Return the note of the process that has a lease now; None if nobody has it.

    Raises:
        AgentError: the file cannot be looked at.
    """
    if not path.exists():
        return None
    with _opened(path) as file:
        return None if _lock(file, path, fcntl.LOCK_SH) else _note(file)


def _opened(path: Path) -> IO[str]:
    try:
        # Neither cut nor replaced: whoever has it has this very file.
        return os.fdopen(os.open(str(path), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644), "r+", encoding="utf-8")
    except OSError as e:
        raise AgentError(f"cannot open {path}: {e.strerror}") from e


def _lock(file: IO[str], path: Path, kind: int) -> bool:
    try:
        fcntl.flock(file.fileno(), kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as e:
        raise AgentError(f"cannot lock {path}: {e.strerror}") from e
    return True


def _note(file: IO[str]) -> Note:
    """Read the holder's note; one that is only just being written tells nothing yet."""
    try:
        note = json.loads(file.read(_NOTE_BYTES))
    except ValueError:
        return {}
    return note if isinstance(note, dict) else {}
