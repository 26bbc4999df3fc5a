"""A job that lies on a device and goes on there, whoever is connected; this side of `agent job`."""

from __future__ import annotations

import getpass
import json
import socket
from collections.abc import Generator
from dataclasses import dataclass

from profiler_agent.records import Job, format_job
from searcher.devices.deploy import DevicePython
from searcher.devices.transport import Transport, TransportError, printable, whole_answer

# `agent job follow` ends with it when the agent died; the job goes on when it is started again.
BROKEN_STATUS = 75
# It ends with this when the job was cancelled.
CANCELLED_STATUS = 130
_LEASE = "lease"
NEW = "new"


@dataclass(frozen=True)
class JobState:
    """How far a job is on its device.

    Attributes:
        state: `new`, `running`, `broken` or `ended`.
        status: exit status of an ended one.
        boot_id: which start of the machine it is; None where that is not told.
        events: lines of its journal when it was asked for, or just before it was started.
    """

    state: str
    status: int | None
    boot_id: str | None
    events: int


@dataclass(frozen=True)
class DeviceJob:
    """One job on one device.

    Attributes:
        job_id: names it there.
        python: what runs the agent there.
    """

    job_id: str
    python: DevicePython

    @property
    def folder(self) -> str:
        """Where it lies, relative to the working root."""
        return f"jobs/{self.job_id}"

    def start(self, transport: Transport, job: Job) -> JobState:
        """Let the device work on the job; one that runs or has ended is left alone, a broken one goes on.

        Raises:
            RemoteProgramError: the agent refuses, or another job has the device.
            TransportError: the link failed, or the answer is none.
        """
        host = f"{getpass.getuser()}@{socket.gethostname()}"
        arguments = ("start", self.folder, "--lease", _LEASE, "--host", host)
        return self._answered(transport, arguments, format_job(job).encode())

    def state(self, transport: Transport) -> JobState:
        """Ask how far it is.

        Raises:
            TransportError: the link failed, or the answer is none.
        """
        return self._answered(transport, ("state", self.folder))

    def follow(self, transport: Transport, after: int) -> Generator[str, None, None]:
        """Yield the lines of its events, but for the first `after`, until it ends.

        Raises:
            RemoteProgramError: it ended with another status than 0; `BROKEN_STATUS` says that it can go on.
            UnreachableError: the link was lost.
        """
        return self.python.run_agent(transport, ("job", "follow", self.folder, "--after", str(after)))

    def stop(self, transport: Transport) -> JobState:
        """End its agent; the job can go on later."""
        return self._answered(transport, ("stop", self.folder))

    def cancel(self, transport: Transport) -> JobState:
        """End it for good."""
        return self._answered(transport, ("cancel", self.folder))

    def _answered(self, transport: Transport, arguments: tuple[str, ...], standard_input: bytes = b"") -> JobState:
        lines = whole_answer(self.python.run_agent(transport, ("job", *arguments), standard_input))
        try:
            told = json.loads(lines[-1])
            state, status, boot_id, events = (told[name] for name in ("state", "status", "boot_id", "events"))
        except (ValueError, KeyError, TypeError, IndexError) as e:
            text = printable(lines[-1])[:80] if lines else "nothing"
            raise TransportError(f"{transport.description} was asked for a job's state and said {text!r}") from e
        if not isinstance(state, str) or not isinstance(events, int) or not isinstance(status, int | None):
            raise TransportError(f"{transport.description} told an impossible state of a job")
        return JobState(state, status, boot_id if isinstance(boot_id, str) else None, events)
