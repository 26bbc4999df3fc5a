"""Measures a job in interleaved rounds: each round a fresh worker, each worker every unfinished block once, shuffled.

A generator of wire events. Aware of workers only through `launch`; journals and terminals are its caller's.
"""

from __future__ import annotations

import hashlib
import random
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Callable, Dict, Iterable, Iterator, Optional, Sequence, Union

from profiler_agent import __version__
from profiler_agent.environment import fingerprint, read_boot_id, read_environment, read_state
from profiler_agent.errors import AgentError, BadInputError, SessionError
from profiler_agent.launch import WorkerCrash, launch_worker
from profiler_agent.ledger import Ledger
from profiler_agent.orders import (
    BAD_ORDER,
    BatchTaken,
    BlockFailed,
    Ready,
    Reply,
    SentinelTaken,
    Started,
    WorkOrder,
)
from profiler_agent.records import (
    Done,
    Event,
    Failed,
    Hello,
    Job,
    JobBlock,
    Measured,
    Sentinel,
    Settings,
    TableKey,
    Warned,
)
from profiler_agent.runtimes import check_readable, resolve_runtime
from profiler_agent.tuning import Tuning

Launch = Callable[[WorkOrder], Iterator[Reply]]
_CACHE_PROTOCOL = "hot"
_UNTUNED = Tuning()
# Rounds that drift may cost for each that counts, before the job gives up on a machine that is never steady.
_ATTEMPTS_PER_ROUND = 3
# Workers that may die between blocks in one round, blaming none of them.
_IDLE_DEATHS = 2


@dataclass(frozen=True)
class Clocks:
    """The two clocks of a job, to be faked in tests: one that never jumps, one that tells the time of day, in s."""

    monotonic_s: Callable[[], float] = time.monotonic
    unix_s: Callable[[], float] = time.time


def measure(
    job: Job,
    known: Iterable[Event] = (),
    launch: Launch = launch_worker,
    clocks: Optional[Clocks] = None,
    tuning: Tuning = _UNTUNED,
) -> Iterator[Event]:
    """Measure a job and yield what the wire carries, `hello` first and `done` last.

    Args:
        job: what to measure.
        known: events of the same job from an earlier, broken run: what they hold is not measured again.
        launch: starts a worker with an order and yields its replies.
        clocks: for the budget and the times in the records; None takes the machine's.
        tuning: what the caller has set the machine to.

    Raises:
        AgentError: the runtime does not work here at all, or is unknown.
    """
    return _Campaign(job, known, launch, clocks or Clocks(), tuning).run()


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
    """Decides what is measured next, and turns the workers' replies into events; the ledger remembers."""

    def __init__(self, job: Job, known: Iterable[Event], launch: Launch, clocks: Clocks, tuning: Tuning) -> None:
        self._job = job
        self._launch = launch
        self._clocks = clocks
        self._tuning = tuning
        self._ledger = Ledger(job)
        for event in known:
            self._ledger.add(event)

    def run(self) -> Iterator[Event]:
        start = self._clocks.monotonic_s()
        ready = probe(self._job.settings, self._launch)
        yield _hello(self._job, ready, self._tuning.text)
        yield from self._tuning.warnings
        wanted = self._job.settings.threads
        if ready.threads != wanted:
            yield Warned("threads_clamped", f"{wanted} threads were asked for; {ready.threads} can run here")
        for block in self._ledger.pending():
            problem = _file_problem(block)
            if problem is not None:
                yield self._noted(Failed(self._job.job_id, block.block_id, problem.code, str(problem)))
        rounds = 0
        while self._ledger.pending() and rounds < _ATTEMPTS_PER_ROUND * self._job.settings.rounds:
            if rounds > 0 and self._over_budget(self._clocks.monotonic_s() - start, rounds):
                sentence = f"the budget of {self._job.budget_s:g} s ends the job after {rounds} rounds"
                yield Warned("budget_spent", sentence)
                break
            yield from self._round(self._ledger.next_round, ready.runtime)
            for rejection in self._ledger.late_rejections():
                yield self._noted(rejection)
            rounds += 1
        yield from self._tuning.lost()
        yield from self._farewell(rounds, self._clocks.monotonic_s() - start)

    def _over_budget(self, spent_s: float, rounds: int) -> bool:
        """Whether one more round, as long as those before, would go past the budget."""
        budget_s = self._job.budget_s
        return budget_s is not None and spent_s * (rounds + 1) / rounds > budget_s

    def _round(self, index: int, runtime: str) -> Iterator[Event]:
        """Measure every pending block once; a crash costs its block and a new process, not the round."""
        waiting = shuffled(self._ledger.pending(), self._job.settings.seed, index)
        idle_deaths = 0
        while waiting:
            order = WorkOrder(runtime, self._job.settings, tuple(waiting.values()), list_operations=index == 0)
            current = None
            process = self._ledger.next_process
            try:
                for event in self._events(self._launch(order), process, index):
                    if isinstance(event, Started):
                        current = event.block_id
                        continue
                    if isinstance(event, (Measured, Failed)):
                        del waiting[event.block_id]
                        current = None
                    yield self._noted(event)
                if waiting:
                    raise WorkerCrash("the worker ended before its order was done")
            except WorkerCrash as e:
                if current is not None:
                    del waiting[current]
                    yield self._noted(Failed(self._job.job_id, current, e.code, str(e)))
                else:
                    idle_deaths += 1
                    yield Warned("worker_lost", str(e))
                if idle_deaths > _IDLE_DEATHS:
                    raise
            self._ledger.next_process = max(self._ledger.next_process, process + 1)

    def _events(self, replies: Iterator[Reply], process: int, index: int) -> Iterator[Union[Started, Event]]:
        """Turn replies into events; a batch waits for the sentinel's reading after it, which may reject it."""
        held: Optional[BatchTaken] = None
        for reply in replies:
            if isinstance(reply, Started):
                yield reply
            elif isinstance(reply, BlockFailed):
                if not reply.block_id:
                    raise AgentError(reply.sentence)
                yield Failed(self._job.job_id, reply.block_id, reply.code, reply.sentence)
            elif isinstance(reply, BatchTaken):
                held = reply
            elif isinstance(reply, SentinelTaken):
                yield Sentinel(
                    job_id=self._job.job_id,
                    process_index=process,
                    position=reply.position,
                    samples_ns=reply.samples_ns,
                    inner_loops=reply.inner_loops,
                    unix_s=self._clocks.unix_s(),
                )
                if held is not None:
                    yield self._judged(held, process, index)
                    held = None

    def _judged(self, batch: BatchTaken, process: int, index: int) -> Measured:
        rejected = self._ledger.drift.problem(process, batch.position)
        measured = Measured(
            job_id=self._job.job_id,
            block_id=batch.block_id,
            process_index=process,
            round=index,
            samples_ns=batch.samples_ns,
            inner_loops=batch.inner_loops,
            position=batch.position,
            unix_s=self._clocks.unix_s(),
            warmed_up=batch.warmed_up,
            converged=False,
            rejected=rejected,
            operations=batch.operations,
        )
        return replace(measured, converged=rejected is None and self._ledger.converges_with(measured))

    def _noted(self, event: Event) -> Event:
        self._ledger.add(event)
        return event

    def _farewell(self, rounds: int, seconds: float) -> Iterator[Event]:
        unstable = self._ledger.unstable()
        if unstable is not None:
            yield Warned("unsteady_machine", unstable)
        drift = self._ledger.drift
        if drift.change_pct is not None:
            sentence = f"the machine is not as it was: its sentinel is {drift.change_pct:+.1f}% off what it was"
            yield Warned("machine_changed", sentence)
        floor_pct, target_pct = drift.noise_floor_pct, self._job.settings.target_half_width_pct
        if floor_pct is not None and floor_pct > target_pct:
            sentence = f"single readings of the steady machine differ by {floor_pct:.1f}%, more than {target_pct:g}%"
            yield Warned("noise_floor", sentence)
        measured, failed = self._ledger.counts()
        level_ns = None if drift.steady is None else drift.steady.level_ns
        yield Done(self._job.job_id, measured, failed, rounds, seconds, level_ns, floor_pct, read_state())


def shuffled(blocks: Sequence[JobBlock], seed: int, index: int) -> Dict[str, JobBlock]:
    """Return blocks by id in the order of one round: of the seed and the round alone, so that it can be repeated."""
    order = list(blocks)
    random.Random(f"{seed} {index}").shuffle(order)
    return {block.block_id: block for block in order}


def _hello(job: Job, ready: Ready, tuning: str) -> Hello:
    settings = job.settings
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
        tuning=tuning,
    )
    return Hello(job.job_id, __version__, key, environment, read_boot_id(), settings)


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
