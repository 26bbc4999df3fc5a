"""Starts a worker process, hands it its order and passes its replies on."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from typing import Iterator

from profiler_agent.errors import AgentError, RecordError
from profiler_agent.orders import Reply, WorkOrder, format_order, parse_reply

_STDERR_TAIL = 300


class WorkerCrash(AgentError):  # noqa: N818 - a crash is what it is, in the words of the documentation
    """A worker ended in the middle of its order."""


def launch_worker(order: WorkOrder) -> Iterator[Reply]:
    """Start a worker process and yield its replies; end it when the caller stops listening.

    Raises:
        WorkerCrash: it ended with an error; the message carries the end of its standard error.
    """
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(
            [sys.executable, "-m", "profiler_agent.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            encoding="utf-8",
        )
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            try:
                process.stdin.write(format_order(order) + "\n")
                process.stdin.close()
            except BrokenPipeError:
                pass  # it ended already; its status tells why
            for line in process.stdout:
                yield _reply(line)
            status = process.wait()
            if status != 0:
                errors.seek(0)
                tail = errors.read().decode("utf-8", "replace").strip().splitlines()[-1:]
                raise WorkerCrash(_describe_status(status) + "".join(f": {line[-_STDERR_TAIL:]}" for line in tail))
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
            process.stdout.close()


def _reply(line: str) -> Reply:
    try:
        return parse_reply(line)
    except RecordError as e:
        raise WorkerCrash(f"the worker's answer is unreadable: {e}") from e


def _describe_status(status: int) -> str:
    return f"the worker was killed by signal {-status}" if status < 0 else f"the worker ended with status {status}"
