"""A process that tunes the machine, sleeps, and undoes it when the agent is gone, however the agent ends.

Started in a session of its own, so that what ends the agent (Ctrl-C, a lost terminal, a killed process group) does
not end it. Its arguments are the root and the state folder, whose undo record says what to change. It answers with one
JSON object on standard output, `{"refused": {path: reason}}`, and waits for the end of its standard input, which is
the end of the agent. Signals that ask it to end make it undo too. It knows nothing of measuring.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import sys
from pathlib import Path
from typing import Dict

from profiler_agent.controls import find_controls, write_control
from profiler_agent.undo_record import UndoRecord, load, undo

_ENDING_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)
_STANDARD_INPUT, _STANDARD_OUTPUT = 0, 1


def main() -> None:
    """Tune, wait and undo; exit status 1 if something could not be put back."""
    root, folder = Path(sys.argv[1]), Path(sys.argv[2])
    signals = _signals()
    record = load(folder)
    if record is None:
        return
    try:
        refused = _apply(root, record)
        with contextlib.suppress(BrokenPipeError):  # the agent is gone already, and the wait over before it begins
            os.write(_STANDARD_OUTPUT, json.dumps({"refused": refused}).encode() + b"\n")
        select.select([_STANDARD_INPUT, signals], [], [])
    finally:
        problems = undo(root, folder, record)
    sys.exit(1 if problems else 0)


def _signals() -> int:
    """Return a descriptor that can be read once a signal came: none interrupts a change or its undoing."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    for number in _ENDING_SIGNALS:
        signal.signal(number, lambda _number, _frame: None)
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    return reader


def _apply(root: Path, record: UndoRecord) -> Dict[str, str]:
    # Root must not write wherever a file says, only where tuning writes, and only what it writes there.
    known = {(control.path, control.tuned) for control in find_controls(root)}
    wanted = [change for change in record.changes if (change.path, change.tuned) in known]
    results = {change.path: write_control(root / change.path, change.tuned) for change in wanted}
    return {path: problem for path, problem in results.items() if problem is not None}


if __name__ == "__main__":
    main()
