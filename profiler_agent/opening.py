"""How a job begins: a runtime that works here, files that are what the job means, and the first line of the wire."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Callable, Iterator, Optional, Tuple

from profiler_agent import __version__
from profiler_agent.environment import fingerprint, read_boot_id, read_environment
from profiler_agent.errors import AgentError, BadInputError, SessionError
from profiler_agent.launch import WorkerCrash, launch_worker
from profiler_agent.orders import BAD_ORDER, PROBE, BlockFailed, Ready, Reply, WorkOrder
from profiler_agent.records import Hello, Job, JobBlock, Settings, TableKey, Warned
from profiler_agent.runtimes import check_readable, resolve_runtime

Launch = Callable[[WorkOrder], Iterator[Reply]]
_CACHE_PROTOCOL = "hot"


def probe(settings: Settings, launch: Launch = launch_worker, blocks: Tuple[JobBlock, ...] = ()) -> Ready:
    """Find the newest runtime of the family that opens a session here.

    Args:
        settings: of the job.
        launch: starts a worker with an order and yields its replies.
        blocks: of the job: a provider that does not take the sentinel may take some of them.

    Raises:
        BadInputError: the settings cannot be met here.
        AgentError: no runtime works; the message says why.
    """
    refusals = []
    specimens = blocks if settings.asked_provider is not None else ()
    for identifier in resolve_runtime(settings.runtime):
        ready: Optional[Ready] = None
        try:
            for reply in launch(WorkOrder(identifier, settings, specimens, task=PROBE)):
                if isinstance(reply, Ready):
                    ready = reply
                if isinstance(reply, BlockFailed) and reply.code == BAD_ORDER:
                    raise BadInputError(reply.sentence)
                if isinstance(reply, BlockFailed):
                    refusals.append(reply.sentence)
        except WorkerCrash as e:
            refusals.append(f"{identifier}: {e}")
        if ready is not None:
            return ready
    raise AgentError("; ".join(refusals) or "the runtime gave no answer")


def hello(job: Job, ready: Ready, tuning: str) -> Hello:
    """Return the first line of a job on a runtime that has answered; `tuning` is what the machine is set to."""
    settings = job.settings
    environment = read_environment()
    key = TableKey(
        device_fingerprint=fingerprint(environment.machine),
        runtime=ready.runtime,
        runtime_version=ready.runtime_version,
        optimization=ready.optimization,
        provider=ready.provider,
        precision=settings.precision,
        threads=ready.threads,
        affinity=ready.affinity,
        spinning=ready.spinning,
        cache=_CACHE_PROTOCOL,
        tuning=tuning,
    )
    return Hello(job.job_id, __version__, key, environment, read_boot_id(), settings)


def shortfalls(settings: Settings, ready: Ready) -> Iterator[Warned]:
    """Yield a warning for each thing that was asked for and is not in effect."""
    if ready.threads != settings.threads:
        yield Warned("threads_clamped", f"{settings.threads} threads were asked for; {ready.threads} can run here")
    if ready.unengaged:
        sentence = f"{ready.unengaged} was asked for, but takes no operator here: {ready.provider} runs them all"
        yield Warned("provider_not_engaged", sentence)


def file_problem(block: JobBlock) -> Optional[SessionError]:
    """Return why a file cannot be measured: it is missing, or not the one that the job means."""
    path = Path(block.file)
    try:
        check_readable(path)
        actual = hashlib.sha256(path.read_bytes()).hexdigest()
    except SessionError as e:
        return e
    except OSError as e:
        return SessionError("unreadable_model", f"cannot read {path}: {e.strerror}")
    if actual != block.sha256:
        return SessionError(
            "wrong_file", f"{path} has the hash {actual[:16]}…, not {block.sha256[:16]}… as the job says"
        )
    return None
