"""Starts a worker process, hands it its order, passes its replies on, and ends it when it hangs."""

from __future__ import annotations

import os
import queue
import subprocess
import sys
import tempfile
import threading
from contextlib import closing
from pathlib import Path
from typing import IO, Callable, Dict, Generator, Iterator, Optional, TypeVar

from profiler_agent import interrupts
from profiler_agent.errors import AgentError, RecordError
from profiler_agent.inspection import Finding, InspectionOrder, format_inspection, parse_finding
from profiler_agent.orders import Reply, WorkOrder, format_order, parse_reply

_STDERR_TAIL = 300
# The package is found by path; the current folder, which may hold anything, is not searched for modules.
RUN_WORKER = "import sys; sys.path.pop(0); from profiler_agent.worker import main; main()"
RUN_INSPECTOR = "import sys; sys.path.pop(0); from profiler_agent.ops_worker import main; main()"
Answer = TypeVar("Answer")


class WorkerCrash(AgentError):  # noqa: N818 - a crash is what it is, in the words of the documentation
    """A worker ended, or was ended, in the middle of its order.

    Attributes:
        code: `crashed` or `hung`, as `failed` records carry it.
    """

    def __init__(self, sentence: str, code: str = "crashed") -> None:
        super().__init__(sentence)
        self.code = code


def launch_worker(order: WorkOrder) -> Iterator[Reply]:
    """Start a worker process and yield its replies; end it when the caller stops listening.

    Raises:
        WorkerCrash: it ended with an error, whose message carries the end of its standard error, or was silent for
            longer than the settings allow.
    """
    with closing(_conversation(RUN_WORKER, format_order(order), order.settings.timeout_s)) as lines:
        for line in lines:
            yield _parsed(parse_reply, line)


def launch_inspection(order: InspectionOrder) -> Finding:
    """Let a process of its own look into a model, and return what it found.

    Raises:
        WorkerCrash: as in `launch_worker`, or it gave no answer.
    """
    with closing(_conversation(RUN_INSPECTOR, format_inspection(order), order.settings.timeout_s)) as lines:
        findings = [_parsed(parse_finding, line) for line in lines]
    if len(findings) != 1:
        raise WorkerCrash(f"the worker gave {len(findings)} answers, not one")
    return findings[0]


def _conversation(program: str, order: str, timeout_s: float) -> Generator[str, None, None]:
    """Start a process, send it one line, and yield its lines; end it when the caller stops listening."""
    interrupts.check()
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(
            [sys.executable, "-c", program],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            encoding="utf-8",
            errors="replace",
            env=package_environment(),
        )
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            _send(process.stdin, order)
            yield from _lines(process.stdout, timeout_s)
            status = process.wait()
            if status != 0:
                interrupts.check()  # it reached the worker too, which is no crash then
                raise WorkerCrash(_describe_status(status) + _tail(errors))
        finally:
            # Standard input stays open until now: its end tells a worker that nobody listens.
            if process.poll() is None:
                process.kill()
                process.wait()
            process.stdin.close()


def package_environment() -> Dict[str, str]:
    """Return the environment in which another Python process finds this package."""
    package_parent = str(Path(__file__).resolve().parents[1])
    inherited = os.environ.get("PYTHONPATH")
    path = package_parent if not inherited else os.pathsep.join((package_parent, inherited))
    return {**os.environ, "PYTHONPATH": path}


def _send(worker_input: IO[str], order: str) -> None:
    try:
        worker_input.write(order + "\n")
        worker_input.flush()
    except BrokenPipeError:
        pass  # it ended already; its status tells why


def _lines(output: IO[str], timeout_s: float) -> Iterator[str]:
    """Yield lines as they come.

    Raises:
        WorkerCrash: none came in time.
    """
    received: queue.SimpleQueue[Optional[str]] = queue.SimpleQueue()

    def read() -> None:
        with output:
            for line in output:
                received.put(line)
        received.put(None)

    threading.Thread(target=read, daemon=True).start()
    while True:
        interrupts.check()
        try:
            line = received.get(timeout=timeout_s)
        except queue.Empty:
            interrupts.check()
            raise WorkerCrash(f"it gave no answer for {timeout_s:g} s", code="hung") from None
        if line is None:
            return
        yield line


def _parsed(parse: Callable[[str], Answer], line: str) -> Answer:
    try:
        return parse(line)
    except RecordError as e:
        interrupts.check()
        raise WorkerCrash(f"the worker's answer is unreadable: {e}") from e


def _tail(errors: IO[bytes]) -> str:
    errors.seek(0)
    text = errors.read().decode("utf-8", "replace").strip()
    # TFLite tells what it has done; that is no reason to end.
    lines = [line for line in text.splitlines() if not line.startswith("INFO: ")]
    return f": {lines[-1][-_STDERR_TAIL:]}" if lines else ""


def _describe_status(status: int) -> str:
    return f"the worker was killed by signal {-status}" if status < 0 else f"the worker ended with status {status}"
