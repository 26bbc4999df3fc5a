"""Starts a worker process, hands it its order, passes its replies on, and ends it when it hangs."""

from __future__ import annotations

import os
import queue
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import IO, Dict, Iterator, Optional

from profiler_agent.errors import AgentError, RecordError
from profiler_agent.orders import Reply, WorkOrder, format_order, parse_reply

_STDERR_TAIL = 300
# The package is found by path; the current folder, which may hold anything, is not searched for modules.
RUN_WORKER = "import sys; sys.path.pop(0); from profiler_agent.worker import main; main()"


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
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(
            [sys.executable, "-c", RUN_WORKER],
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
            for line in _lines(process.stdout, order.settings.timeout_s):
                yield _reply(line)
            status = process.wait()
            if status != 0:
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


def _send(worker_input: IO[str], order: WorkOrder) -> None:
    try:
        worker_input.write(format_order(order) + "\n")
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
        try:
            line = received.get(timeout=timeout_s)
        except queue.Empty:
            raise WorkerCrash(f"it gave no answer for {timeout_s:g} s", code="hung") from None
        if line is None:
            return
        yield line


def _reply(line: str) -> Reply:
    try:
        return parse_reply(line)
    except RecordError as e:
        raise WorkerCrash(f"the worker's answer is unreadable: {e}") from e


def _tail(errors: IO[bytes]) -> str:
    errors.seek(0)
    text = errors.read().decode("utf-8", "replace").strip()
    # TFLite tells what it has done; that is no reason to end.
    lines = [line for line in text.splitlines() if not line.startswith("INFO: ")]
    return f": {lines[-1][-_STDERR_TAIL:]}" if lines else ""


def _describe_status(status: int) -> str:
    return f"the worker was killed by signal {-status}" if status < 0 else f"the worker ended with status {status}"
