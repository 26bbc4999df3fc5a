"""Tunes the machine for the time of a measurement: governors to `performance`, turbo off; and always undoes it.

A guardian process changes the values, waits for the end of the agent, and puts them back; if the guardian is killed
the agent does, and if both are, the next agent, by the undo record. What cannot be tuned is a warning, never an error.
"""

from __future__ import annotations

import contextlib
import os
import select
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Callable, Dict, Iterator, List, NamedTuple, Optional, Tuple

from profiler_agent.controls import Control, find_controls
from profiler_agent.decoding import parse_object
from profiler_agent.environment import read_boot_id
from profiler_agent.errors import RecordError
from profiler_agent.launch import package_environment
from profiler_agent.leftovers import IN_USE, undo_leftovers
from profiler_agent.records import Warned
from profiler_agent.records.machine import UNTUNED
from profiler_agent.system_files import ROOT, read_text
from profiler_agent.undo_record import Change, UndoRecord, load, lock, record_path, save, state_folders, undo

_RUN_GUARDIAN = "import sys; sys.path.pop(0); from profiler_agent.guardian import main; main()"
# A Python takes seconds to start on a small board that is busy.
_ANSWER_S, _UNDO_S = 30.0, 10.0
_REFUSED, _LOST, _LEFTOVER = "tuning_refused", "tuning_lost", "tuning_leftover"


@dataclass(frozen=True)
class Tuning:
    """What came of tuning.

    Attributes:
        text: what is engaged, as a table's key holds it, such as `governor,turbo`; `none` if nothing is.
        warnings: what was refused, and what earlier agents had left.
        engaged: the controls that are as tuning wants them.
    """

    text: str = UNTUNED
    warnings: Tuple[Warned, ...] = ()
    engaged: Tuple[Control, ...] = ()
    root: Path = ROOT

    def lost(self) -> List[Warned]:
        """Return a warning if the machine did not stay tuned: someone else changed it, or ended the guardian."""
        changed = [control.path for control in self.engaged if read_text(self.root / control.path) != control.tuned]
        if not changed:
            return []
        return [Warned(_LOST, f"the machine did not stay tuned while it was measured: {_some(changed)} changed")]


class _Refusal(Exception):  # noqa: N818 - it becomes a warning, not an error
    """Nothing can be tuned, for the reason in the message."""


class _Claim(NamedTuple):
    """The right to tune: a locked state folder."""

    folder: Path
    descriptor: int


@contextlib.contextmanager
def tuned(wanted: bool, tell: Callable[[str], None], root: Path = ROOT) -> Iterator[Tuning]:
    """Undo what earlier agents left; then tune, if wanted, for as long as the context lasts.

    Args:
        wanted: whether to tune.
        tell: takes a sentence for the user when something cannot be put back at the end.
        root: of the file system.
    """
    leftovers = undo_leftovers(root, state_folders(root))
    warnings = [Warned(_LEFTOVER, one.sentence) for one in leftovers if not wanted or one.outcome != IN_USE]
    if not wanted:
        yield Tuning(warnings=tuple(warnings))
        return
    try:
        controls = find_controls(root)
        if not controls:
            raise _Refusal("this machine shows neither a governor nor a switch for turbo (a virtual machine, say)")
        claim = _claim(root)
    except _Refusal as e:
        yield Tuning(warnings=(*warnings, Warned(_REFUSED, f"the machine is not tuned: {e}")))
        return
    try:
        with contextlib.ExitStack() as stack:
            try:
                refused = _change(controls, claim, root, stack, tell)
            except _Refusal as e:
                stack.close()  # what may have been changed in vain is put back before anything is measured
                refused = {control.path: str(e) for control in controls}
            engaged = tuple(control for control in controls if control.path not in refused)
            warnings += _refusals(controls, refused, root)
            yield Tuning(_text(controls, engaged), tuple(warnings), engaged, root)
    finally:
        os.close(claim.descriptor)


def _claim(root: Path) -> _Claim:
    """Take the right to tune, in the first state folder that lets itself be written.

    Raises:
        _Refusal: another agent has it, or there is no place for an undo record.
    """
    problems = []
    for folder in state_folders(root):
        try:
            descriptor = lock(folder, wait_s=0.0)
        except OSError as e:
            if os.path.lexists(record_path(folder)):
                raise _Refusal(f"another user has or had it tuned, as {record_path(folder)} says") from e
            problems.append(f"{folder}: {e.strerror}")
            continue
        if descriptor is None:
            raise _Refusal("another agent is tuning it, and undoes that at its end")
        return _Claim(folder, descriptor)
    raise _Refusal(f"there is no place for an undo record ({'; '.join(problems)})")


def _change(
    controls: List[Control], claim: _Claim, root: Path, stack: contextlib.ExitStack, tell: Callable[[str], None]
) -> Dict[str, str]:
    """Have a guardian change what is not yet as wanted, and arrange for the undoing when the stack unwinds.

    Returns:
        Why, by path, controls were refused.

    Raises:
        _Refusal: nothing could be changed.
    """
    record, refused = _plan(controls, claim.folder, root)
    if not record.changes:
        return refused
    # From here on something may have to be undone, whoever of the three has to do it.
    stack.callback(_put_back, claim.folder, root, tell)
    try:
        save(record, claim.folder)
        command = [sys.executable, "-c", _RUN_GUARDIAN, str(root), str(claim.folder)]
        guardian = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,  # it outlives an agent that is killed, and must keep nobody's stream open
            start_new_session=True,
            pass_fds=(claim.descriptor,),
            env=package_environment(),
            cwd="/",
        )
    except OSError as e:
        raise _Refusal(e.strerror or str(e)) from e
    stack.callback(_dismiss, guardian)
    return {**refused, **_answer(guardian)}


def _plan(controls: List[Control], folder: Path, root: Path) -> Tuple[UndoRecord, Dict[str, str]]:
    """Return what to change, and the controls that cannot even be read.

    What an earlier agent could not put back keeps the value that it found: its tuned values are nobody's originals.
    """
    try:
        earlier = load(folder)
    except (OSError, RecordError) as e:
        raise _Refusal(f"its undo record cannot be read: {e}") from e
    stuck = {change.path: change for change in earlier.changes} if earlier else {}
    paths = {control.path for control in controls}
    changes, refused = [change for change in stuck.values() if change.path not in paths], {}
    for control in controls:
        now = read_text(root / control.path)
        original = stuck[control.path].original if control.path in stuck else now
        if not now or original is None:
            refused[control.path] = "it cannot be read"
        elif original != control.tuned:
            changes.append(Change(control.path, original, control.tuned))
    return UndoRecord(read_boot_id(root), os.getpid(), tuple(changes)), refused


def _answer(guardian: subprocess.Popen[bytes]) -> Dict[str, str]:
    """Return what the guardian was refused.

    Raises:
        _Refusal: it gave no answer.
    """
    output = guardian.stdout
    if output is None or not select.select([output], [], [], _ANSWER_S)[0]:
        raise _Refusal(f"the guardian gave no answer for {_ANSWER_S:g} s")
    try:
        refused = parse_object(output.readline().decode("utf-8", "replace")).get("refused")
    except RecordError as e:
        raise _Refusal("the guardian ended before it had tuned") from e
    return {str(path): str(reason) for path, reason in refused.items()} if isinstance(refused, dict) else {}


def _dismiss(guardian: subprocess.Popen[bytes]) -> None:
    """Tell the guardian, by the end of its input, to undo, and wait until it has."""
    for pipe in (guardian.stdin, guardian.stdout):
        if pipe is not None:
            pipe.close()
    try:
        guardian.wait(_UNDO_S)
    except subprocess.TimeoutExpired:
        guardian.kill()
        guardian.wait()


def _put_back(folder: Path, root: Path, tell: Callable[[str], None]) -> None:
    """Undo what a guardian has left to undo because it was killed or refused."""
    try:
        record = load(folder)
        problems = [] if record is None else undo(root, folder, record)
    except (OSError, RecordError) as e:
        problems = [f"the undo record {record_path(folder)} cannot be read: {e}"]
    if problems:
        tell(f"the machine is left tuned: {'; '.join(problems)}; `agent doctor` tries again")


def _text(controls: List[Control], engaged: Tuple[Control, ...]) -> str:
    """Return what is engaged, by kind; where only a part of a kind is, with the frequency domains of that part."""
    parts = []
    for kind in sorted({control.kind for control in engaged}):
        paths = [control.path for control in engaged if control.kind == kind]
        whole = len(paths) == sum(control.kind == kind for control in controls)
        parts.append(kind if whole else f"{kind}:{'+'.join(path.split('/')[-2] for path in paths)}")
    return ",".join(parts) or UNTUNED


def _refusals(controls: List[Control], refused: Dict[str, str], root: Path) -> List[Warned]:
    """Return one warning for each kind of control and reason."""
    grouped: Dict[Tuple[str, str], List[str]] = {}
    for control in controls:
        reason: Optional[str] = refused.get(control.path)
        if reason is not None:
            grouped.setdefault((control.kind, reason), []).append(str(root / control.path))
    hint = "" if os.geteuid() == 0 else "; tuning takes root"
    return [
        Warned(_REFUSED, f"the {kind} is not tuned: {_some(paths)}: {reason}{hint}")
        for (kind, reason), paths in grouped.items()
    ]


def _some(paths: List[str]) -> str:
    return paths[0] if len(paths) == 1 else f"{paths[0]} and {len(paths) - 1} more"
