"""Measures a job in interleaved rounds: each round a fresh worker, each worker every block once, shuffled.

A generator of wire events. Aware of workers only through `launch`; journals and terminals are its caller's.
"""

from __future__ import annotations

import hashlib
import random
import time
from dataclasses import replace
from pathlib import Path
from typing import Callable, Dict, Iterator, List, Optional, Set, Union

from profiler_agent import __version__
from profiler_agent.environment import fingerprint, read_boot_id, read_environment, read_state
from profiler_agent.errors import AgentError, BadInputError, SessionError
from profiler_agent.launch import WorkerCrash, launch_worker
from profiler_agent.orders import BAD_ORDER, BatchTaken, BlockFailed, Ready, Reply, Started, WorkOrder
from profiler_agent.records import (
    Done,
    Event,
    Failed,
    Hello,
    Job,
    JobBlock,
    Measured,
    Measurement,
    Settings,
    TableKey,
    Warned,
)
from profiler_agent.runtimes import check_readable, resolve_runtime

Launch = Callable[[WorkOrder], Iterator[Reply]]
Seconds = Callable[[], float]
_CACHE_PROTOCOL = "hot"


def measure(job: Job, launch: Launch = launch_worker, clock_s: Seconds = time.monotonic) -> Iterator[Event]:
    """Measure a job and yield what the wire carries, `hello` first and `done` last.

    Args:
        job: what to measure.
        launch: starts a worker with an order and yields its replies.
        clock_s: a monotonic clock in s, for the job's budget.

    Raises:
        AgentError: the runtime does not work here at all, or is unknown.
    """
    return _Campaign(job, launch, clock_s).run()


def probe(settings: Settings, launch: Launch = launch_worker) -> Ready:
    """Find the newest runtime of the family that opens a session here.

    Raises:
        BadInputError: the settings cannot be met here.
        AgentError: no runtime works; the message says why.
    """
    refusals = []
    for identifier in resolve_runtime(settings.runtime):
        try:
            for reply in launch(WorkOrder(identifier, settings, (), list_operations=False)):
                if isinstance(reply, Ready):
                    return reply
                if isinstance(reply, BlockFailed) and reply.code == BAD_ORDER:
                    raise BadInputError(reply.sentence)
                if isinstance(reply, BlockFailed):
                    refusals.append(reply.sentence)
        except WorkerCrash as e:
            refusals.append(f"{identifier}: {e}")
    raise AgentError("; ".join(refusals) or "the runtime gave no answer")


class _Campaign:
    """The state of one job while its rounds go on."""

    def __init__(self, job: Job, launch: Launch, clock_s: Seconds) -> None:
        self._job = job
        self._launch = launch
        self._clock_s = clock_s
        self._order = random.Random(job.settings.seed)
        self._rounds: Dict[str, List[Measured]] = {block.block_id: [] for block in job.blocks}
        self._quarantined: Set[str] = set()
        self._processes = 0

    def run(self) -> Iterator[Event]:
        start = self._clock_s()
        ready = probe(self._job.settings, self._launch)
        yield self._hello(ready)
        wanted = self._job.settings.threads
        if ready.threads != wanted:
            yield Warned("threads_clamped", f"{wanted} threads were asked for; {ready.threads} can run here")
        for block in self._job.blocks:
            problem = _file_problem(block)
            if problem is not None:
                yield self._fail(block.block_id, problem.code, str(problem))
        rounds = 0
        while rounds < self._job.settings.rounds:
            before = self._clock_s()
            if rounds > 0 and self._over_budget(before - start, rounds):
                sentence = f"the budget of {self._job.budget_s:g} s ends the job after {rounds} rounds"
                yield Warned("budget_spent", sentence)
                break
            yield from self._round(rounds, ready.runtime)
            rounds += 1
        yield self._done(rounds, self._clock_s() - start)

    def _over_budget(self, spent_s: float, rounds: int) -> bool:
        """Whether one more round, as long as those before, would go past the budget."""
        budget_s = self._job.budget_s
        return budget_s is not None and spent_s * (rounds + 1) / rounds > budget_s

    def _hello(self, ready: Ready) -> Hello:
        settings = self._job.settings
        environment = read_environment()
        key = TableKey(
            device_fingerprint=fingerprint(environment.machine),
            runtime=ready.runtime,
            runtime_version=ready.runtime_version,
            optimization=settings.optimization,
            provider=ready.provider,
            precision=settings.precision,
            threads=ready.threads,
            affinity=ready.affinity,
            spinning=settings.spinning,
            cache=_CACHE_PROTOCOL,
        )
        return Hello(self._job.job_id, __version__, key, environment, read_boot_id(), settings)

    def _round(self, index: int, runtime: str) -> Iterator[Event]:
        """Measure every block once; a crash costs its block and a new process, not the round."""
        shuffled = [block for block in self._job.blocks if block.block_id not in self._quarantined]
        self._order.shuffle(shuffled)
        pending = {block.block_id: block for block in shuffled}
        while pending:
            order = WorkOrder(runtime, self._job.settings, tuple(pending.values()), list_operations=index == 0)
            process, self._processes = self._processes, self._processes + 1
            current = None
            try:
                for reply in self._launch(order):
                    if isinstance(reply, Started):
                        current = reply.block_id
                    elif not isinstance(reply, Ready):
                        yield self._event(reply, process, index)
                        del pending[reply.block_id]
                        current = None
                if pending:
                    raise WorkerCrash("the worker ended before its order was done")
            except WorkerCrash as e:
                if current is None:
                    raise
                yield self._fail(current, "crashed", str(e))
                del pending[current]

    def _event(self, reply: Union[BatchTaken, BlockFailed], process: int, index: int) -> Event:
        if reply.block_id not in self._rounds:
            raise AgentError(reply.sentence if isinstance(reply, BlockFailed) else "a worker measured no known block")
        if isinstance(reply, BlockFailed):
            return self._fail(reply.block_id, reply.code, reply.sentence)
        measured = Measured(
            job_id=self._job.job_id,
            block_id=reply.block_id,
            process_index=process,
            round=index,
            samples_ns=reply.samples_ns,
            inner_loops=reply.inner_loops,
            warmed_up=reply.warmed_up,
            converged=False,
            operations=reply.operations,
        )
        rounds = self._rounds[reply.block_id]
        so_far = Measurement(reply.block_id, (*rounds, measured))
        measured = replace(measured, converged=so_far.converged(self._job.settings.target_half_width_pct))
        rounds.append(measured)
        return measured

    def _fail(self, block_id: str, code: str, sentence: str) -> Failed:
        self._quarantined.add(block_id)
        return Failed(self._job.job_id, block_id, code, sentence)

    def _done(self, rounds: int, seconds: float) -> Done:
        good = [block_id for block_id, taken in self._rounds.items() if taken and block_id not in self._quarantined]
        return Done(self._job.job_id, len(good), len(self._quarantined), rounds, seconds, read_state())


def _file_problem(block: JobBlock) -> Optional[SessionError]:
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
