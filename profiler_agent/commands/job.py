"""`agent job`: what a host asks of jobs that outlive its connection. People use `agent measure`.

A job is a folder (`profiler_agent.job_folder`). `start` leaves a detached agent working on it, `follow` tells its
events as they come, and both may be called again whenever a link was lost. A broken job goes on when it is started
again.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Optional

from profiler_agent.commands import options as kinds
from profiler_agent.environment import read_boot_id
from profiler_agent.errors import AgentError
from profiler_agent.following import count_events, follow
from profiler_agent.job_folder import CANCELLED_STATUS, End, JobFolder, State, remove_oldest
from profiler_agent.launch import package_environment
from profiler_agent.lease import LeaseHeldError, Note, held, holder
from profiler_agent.recording import record
from profiler_agent.records import parse_job

# Of `follow`: the job can go on when it is started again.
BROKEN_STATUS = 75
_GRACE_S = 15.0
_POLL_S = 0.1
_JOBS_KEPT = 50


def add_options(parser: argparse.ArgumentParser) -> None:
    """Describe the command's options."""
    parser.description = "Jobs that outlive the connection of the host that started them; meant for hosts."
    actions = parser.add_subparsers(required=True, metavar="ACTION")
    start = actions.add_parser("start", help="work on a job, read from standard input, in the background")
    _add_lease(start)
    start.add_argument("--host", default="", help="who asks, for others who find the machine busy")
    start.set_defaults(command=_start)
    run = actions.add_parser("run", help="work on a job that is there, in the foreground")
    _add_lease(run)
    run.add_argument("--host", default="")
    run.set_defaults(command=_run)
    told = actions.add_parser("follow", help="print the lines of a job's journal until it ends")
    told.add_argument("folder", type=Path)
    told.add_argument("--after", type=kinds.natural, default=0, help="events that the host has already")
    told.set_defaults(command=_follow)
    state = actions.add_parser("state", help="print how far a job is")
    state.add_argument("folder", type=Path)
    state.set_defaults(command=_state)
    stop = actions.add_parser("stop", help="end a job's agent; started again, the job goes on")
    stop.add_argument("folder", type=Path)
    stop.set_defaults(command=_stop)
    cancel = actions.add_parser("cancel", help="end a job for good; its journal stays")
    cancel.add_argument("folder", type=Path)
    cancel.set_defaults(command=_cancel)


def _add_lease(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", type=Path)
    parser.add_argument("--lease", type=Path, required=True, help="what only one job on this machine can hold")


def _start(options: argparse.Namespace) -> int:
    """Start a job, unless it runs, is done or was cancelled; print its state."""
    folder = JobFolder(options.folder)
    folder.prepare(parse_job(sys.stdin.read()))
    folder.reopen()
    # Before an agent adds to them: the host compares them with those that it has.
    events = count_events(folder)
    if folder.state() in (State.NEW, State.BROKEN):
        remove_oldest(folder.path.parent, _JOBS_KEPT)
        _detach(folder, options.lease, options.host)
    return _print_state(folder, events)


def _detach(folder: JobFolder, lease: Path, host: str) -> None:
    """Leave an agent behind that works on the job, in a session of its own; return when it does."""
    command = [sys.executable, "-m", "profiler_agent", "job", "run", str(folder.path), "--lease", str(lease)]
    with folder.log.open("ab") as log:
        process = subprocess.Popen(
            [*command, "--host", host],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log,
            start_new_session=True,
            env=package_environment(),
        )
    assert process.stdout is not None
    # One line when it works on the job, or why it does not.
    line = process.stdout.readline().decode("utf-8", errors="replace").strip()
    if line != "running" and folder.state() is not State.ENDED:
        raise AgentError(line or f"the agent could not be left behind: {_last_line(folder.log)}")


def _last_line(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return lines[-1] if lines else "it gave no reason"


def _run(options: argparse.Namespace) -> int:
    """Work on a job until its end; say `running` when both leases are held."""
    folder = JobFolder(options.folder)
    note: Note = {
        "pid": os.getpid(),
        "boot_id": read_boot_id(),
        "host": options.host,
        "job": folder.path.name,
        "since_unix_s": int(time.time()),
    }
    try:
        with held(options.lease, note), held(folder.lease, note):
            _let_go("running")
            end = _ended(folder)
            folder.finish(end)
            return end.status
    except LeaseHeldError as e:
        _let_go(_busy(e.note))
        return 1


def _let_go(line: str) -> None:
    """Tell the process that started this one, and then be without a terminal or a pipe that could break."""
    print(line, flush=True)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)


def _busy(note: Note) -> str:
    """Return a sentence about who measures."""
    since = note.get("since_unix_s")
    minutes = f" for {max(0, int(time.time()) - since) // 60} min" if isinstance(since, int) else ""
    return (
        f"busy: the job {note.get('job', 'of somebody')} of {note.get('host') or 'an unknown host'} runs here{minutes}"
    )


def _ended(folder: JobFolder) -> End:
    """Measure, and return how it ended; an interrupt leaves the job broken, to go on after a restart."""
    try:
        outcome = record(folder.job(), folder.journal, lambda _event: None, resuming=True, keep_empty=True)
        return End(outcome.exit_status)
    except AgentError as e:
        return End(e.exit_status, str(e))


def _follow(options: argparse.Namespace) -> int:
    """Print events until the job ends; the exit status is the job's own."""
    folder = JobFolder(options.folder)
    for line in follow(folder, options.after, time.sleep):
        sys.stdout.write(line)
        sys.stdout.flush()
    end = folder.end()
    if end is None:
        print(f"agent: the job {folder.path.name} broke off", file=sys.stderr)
        return BROKEN_STATUS
    if end.sentence is not None:
        print(f"agent: {end.sentence}", file=sys.stderr)
    return end.status


def _state(options: argparse.Namespace) -> int:
    folder = JobFolder(options.folder)
    return _print_state(folder, count_events(folder))


def _print_state(folder: JobFolder, events: int) -> int:
    end = folder.end()
    told = {
        "state": folder.state().value,
        "status": None if end is None else end.status,
        "boot_id": read_boot_id(),
        "events": events,
    }
    print(json.dumps(told), flush=True)
    return 0


def _stop(options: argparse.Namespace) -> int:
    folder = JobFolder(options.folder)
    _end_agent(folder)
    return _print_state(folder, count_events(folder))


def _cancel(options: argparse.Namespace) -> int:
    folder = JobFolder(options.folder)
    _end_agent(folder)
    if folder.end() is None:
        folder.finish(End(CANCELLED_STATUS, "the job was cancelled"))
    return _print_state(folder, count_events(folder))


def _end_agent(folder: JobFolder) -> None:
    """Tell a job's agent to end, and kill it if it does not."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        deadline_s = time.monotonic() + _GRACE_S
        pid = _pid(folder)
        while pid is not None and time.monotonic() < deadline_s:
            # Only while it holds the lease, so that the number cannot have gone to another process.
            _signal(pid, number)
            time.sleep(_POLL_S)
            pid = _pid(folder)


def _signal(pid: int, number: int) -> None:
    try:
        # The agent leads a session, and so a group, of its own; its workers end when it does.
        os.kill(pid, number)
    except ProcessLookupError:
        return
    except PermissionError as e:
        raise AgentError(f"the job's agent, process {pid}, belongs to another user") from e


def _pid(folder: JobFolder) -> Optional[int]:
    """Return the process that works on the job now, if any."""
    note = holder(folder.lease)
    if note is None:
        return None
    pid = note.get("pid")
    return pid if isinstance(pid, int) else None
