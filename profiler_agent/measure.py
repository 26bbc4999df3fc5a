"""Measures a job in interleaved rounds: each round a fresh worker, each worker every unfinished block once, shuffled.

A generator of wire events. Aware of workers only through `launch`; journals and terminals are its caller's.
"""

from __future__ import annotations

import random
import time
from dataclasses import dataclass, replace
from typing import Callable, Dict, Iterable, Iterator, Optional, Sequence, Set, Union

from profiler_agent.cooling import Thermostat
from profiler_agent.costs import ENERGY_S, measure_costs
from profiler_agent.disturbance import firmware_heat, firmware_problem
from profiler_agent.environment import read_state
from profiler_agent.errors import AgentError
from profiler_agent.launch import WorkerCrash, launch_worker
from profiler_agent.ledger import Ledger
from profiler_agent.opening import Launch, file_problem, hello, probe, shortfalls
from profiler_agent.orders import BatchTaken, BlockFailed, Reply, SentinelTaken, Started, WorkOrder
from profiler_agent.power import Meter, find_meter
from profiler_agent.records import Done, Event, Failed, Job, JobBlock, Measured, Sentinel, Warned
from profiler_agent.system_files import Heat, firmware_throttle_bits, read_heat
from profiler_agent.tuning import Tuning

_UNTUNED = Tuning()
# Rounds that drift may cost for each that counts, before the job gives up on a machine that is never steady.
_ATTEMPTS_PER_ROUND = 3
# Workers that may die between blocks in one round, blaming none of them.
_IDLE_DEATHS = 2


@dataclass(frozen=True)
class Clocks:
    """The clocks of a job, in s, to be faked in tests.

    Attributes:
        monotonic_s: one that never jumps.
        unix_s: the time of day, since 1970.
        sleep: waits.
    """

    monotonic_s: Callable[[], float] = time.monotonic
    unix_s: Callable[[], float] = time.time
    sleep: Callable[[float], None] = time.sleep


@dataclass(frozen=True)
class Sensors:
    """What the agent itself reads between workers, to be faked in tests."""

    heat: Callable[[], Heat] = read_heat
    firmware_bits: Callable[[], Optional[int]] = firmware_throttle_bits
    meter: Callable[[], Optional[Meter]] = find_meter


def measure(
    job: Job,
    known: Iterable[Event] = (),
    launch: Launch = launch_worker,
    clocks: Optional[Clocks] = None,
    sensors: Optional[Sensors] = None,
    tuning: Tuning = _UNTUNED,
) -> Iterator[Event]:
    """Measure a job and yield what the wire carries, `hello` first and `done` last.

    Args:
        job: what to measure.
        known: events of the same job from an earlier, broken run: what they hold is not measured again.
        launch: starts a worker with an order and yields its replies.
        clocks: for the budget, the times in the records and waiting; None takes the machine's.
        sensors: of heat and throttling; None takes the machine's.
        tuning: what the caller has set the machine to.

    Raises:
        AgentError: the runtime does not work here at all, or is unknown.
    """
    return _Campaign(job, known, launch, clocks or Clocks(), sensors or Sensors(), tuning).run()


class _Campaign:
    """Decides what is measured next, and turns the workers' replies into events; the ledger remembers."""

    def __init__(
        self,
        job: Job,
        known: Iterable[Event],
        launch: Launch,
        clocks: Clocks,
        sensors: Sensors,
        tuning: Tuning,
    ) -> None:
        self._job = job
        self._launch = launch
        self._clocks = clocks
        self._sensors = sensors
        self._tuning = tuning
        self._start_s = clocks.monotonic_s()
        self._thermostat = Thermostat(sensors.heat, clocks.sleep, job.settings.max_temperature_c)
        self._suspects: Set[str] = set()
        self._ledger = Ledger(job)
        for event in known:
            self._ledger.add(event)

    def run(self) -> Iterator[Event]:
        ready = probe(self._job.settings, self._launch, self._job.blocks)
        yield hello(self._job, ready, self._tuning.text)
        yield from self._tuning.warnings
        yield from shortfalls(self._job.settings, ready)
        for block in self._ledger.pending():
            problem = file_problem(block)
            if problem is not None:
                yield self._noted(Failed(self._job.job_id, block.block_id, problem.code, str(problem)))
        yield from self._catch_up()
        rounds = 0
        while self._ledger.pending() and rounds < _ATTEMPTS_PER_ROUND * self._job.settings.rounds:
            if rounds > 0 and self._over_budget(rounds):
                sentence = f"the budget of {self._job.budget_s:g} s ends the job after {rounds} rounds"
                yield Warned("budget_spent", sentence)
                break
            if self._thermostat.is_hopeless:
                yield Warned("too_hot", f"the machine stays too hot; the job ends after {rounds} rounds")
                break
            yield from self._round(self._ledger.next_round, ready.runtime)
            yield from self._late_rejections()
            rounds += 1
        yield from self._costs(ready.runtime)
        yield from self._tuning.lost()
        yield from self._farewell(rounds, self._spent_s())

    def _catch_up(self) -> Iterator[Event]:
        """Say what cannot be watched here, and reject what an earlier, broken run had no time left to reject."""
        yield from self._thermostat.blindness()
        last = self._ledger.next_process - 1
        if last >= 0 and self._sensors.firmware_bits() is not None:
            reason = "the agent died before it could ask the firmware about this process"
            for rejection in self._ledger.rejections_of(last, reason):
                yield self._noted(rejection)
        yield from self._late_rejections()

    def _late_rejections(self) -> Iterator[Event]:
        for rejection in self._ledger.late_rejections():
            yield self._noted(rejection)

    def _spent_s(self) -> float:
        return self._clocks.monotonic_s() - self._start_s

    def _left_s(self) -> Optional[float]:
        budget_s = self._job.budget_s
        return None if budget_s is None else max(0.0, budget_s - self._spent_s())

    def _over_budget(self, rounds: int) -> bool:
        """Whether one more round, as long as those before, would go past the budget."""
        budget_s = self._job.budget_s
        return budget_s is not None and self._spent_s() * (rounds + 1) / rounds > budget_s

    def _round(self, index: int, runtime: str) -> Iterator[Event]:
        """Measure every pending block once; a crash costs its block and a new process, not the round."""
        waiting = shuffled(self._ledger.pending(), self._job.settings.seed, index)
        idle_deaths = 0
        while waiting:
            yield from self._thermostat.wait(self._left_s())
            blocks = tuple(waiting.values())
            order = WorkOrder(runtime, self._job.settings, blocks, self._ledger.lacks_operations(waiting))
            process = self._ledger.next_process
            running: Optional[str] = None
            held: Optional[str] = None
            try:
                for event in self._watched(order, process, index):
                    if isinstance(event, Started):
                        running, held = event.block_id, None
                    elif isinstance(event, BatchTaken):
                        running, held = None, event.block_id
                    else:
                        if isinstance(event, (Measured, Failed)):
                            del waiting[event.block_id]
                            running = held = None
                        yield self._noted(event)
                if waiting:
                    raise WorkerCrash("the worker ended before its order was done")
            except WorkerCrash as e:
                culprit = running or self._repeated_suspect(held)
                if culprit is not None:
                    del waiting[culprit]
                    yield self._noted(Failed(self._job.job_id, culprit, e.code, str(e)))
                    continue
                yield Warned("worker_lost", str(e))
                idle_deaths += held is None
                if idle_deaths > _IDLE_DEATHS:
                    raise
            finally:
                self._ledger.next_process = max(self._ledger.next_process, process + 1)

    def _repeated_suspect(self, held: Optional[str]) -> Optional[str]:
        """Return the block after whose batch a worker died, if one did before: the first time proves nothing."""
        if held is None or held in self._suspects:
            return held
        self._suspects.add(held)
        return None

    def _watched(self, order: WorkOrder, process: int, index: int) -> Iterator[Union[Started, BatchTaken, Event]]:
        """Run one worker, and reject all of its batches if the firmware held the machine back meanwhile."""
        before = self._sensors.firmware_bits()
        crash: Optional[WorkerCrash] = None
        try:
            yield from self._events(self._launch(order), process, index)
        except WorkerCrash as e:
            crash = e
        after = self._sensors.firmware_bits()
        problem = firmware_problem(before, after)
        if problem is not None:
            if firmware_heat(before, after):
                self._thermostat.notice(self._sensors.heat().temperature_c)
            yield from self._ledger.rejections_of(process, problem)
        if crash is not None:
            raise crash

    def _events(
        self, replies: Iterator[Reply], process: int, index: int
    ) -> Iterator[Union[Started, BatchTaken, Event]]:
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
                yield reply
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
        rejected = self._ledger.problem(process, batch.position, batch.signs)
        if self._ledger.signs.heat(batch.signs) is not None:
            self._thermostat.notice(batch.signs.temperature_c)
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
            signs=batch.signs,
        )
        return replace(measured, converged=rejected is None and self._ledger.converges_with(measured))

    def _costs(self, runtime: str) -> Iterator[Event]:
        """Measure what else the blocks cost, unless an earlier run of the job did."""
        if not self._job.settings.costs:
            return
        blocks, meter, budget_s = self._ledger.without_costs(), self._sensors.meter(), self._job.budget_s
        if meter is not None and budget_s is not None and self._spent_s() + ENERGY_S * len(blocks) > budget_s:
            yield Warned("no_energy", f"the budget of {budget_s:g} s leaves no time to measure energy")
            meter = None
        for event in measure_costs(self._job, blocks, runtime, self._launch, meter, self._clocks.monotonic_s):
            yield self._noted(event)

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
