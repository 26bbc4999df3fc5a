"""What a job knows so far, rebuilt from its events: which batches count, and which blocks need more.

The one bookkeeper of measuring and of resuming: feeding it a journal's events gives the state in which the job was
when they were written.
"""

from __future__ import annotations

from typing import Dict, Iterable, List, Optional, Set, Tuple

from profiler_agent.disturbance import SignMonitor
from profiler_agent.drift import DriftMonitor
from profiler_agent.records import Costs, Event, Failed, Job, JobBlock, Measured, Measurement, Rejected, Sentinel, Signs
from profiler_agent.statistics import is_look


class Ledger:
    """The state of one job."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._batches: Dict[str, List[Measured]] = {block.block_id: [] for block in job.blocks}
        self._rejected: Set[Tuple[str, int]] = set()
        self._failed: Set[str] = set()
        self._converged: Set[str] = set()
        self._looked: Dict[str, int] = {}
        self._described: Set[str] = set()
        self._costed: Set[str] = set()
        self.drift = DriftMonitor(job.settings.drift_tolerance_pct, job.settings.sentinel_ns)
        self.signs = SignMonitor(job.settings.drift_tolerance_pct, job.settings.max_temperature_c)
        self.next_round = 0
        self.next_process = 0

    def add(self, event: Event) -> None:
        """Take an event into account; those that change no state are passed over."""
        if isinstance(event, Sentinel):
            self.drift.add(event)
            self.next_process = max(self.next_process, event.process_index + 1)
        elif isinstance(event, Measured):
            self._batches[event.block_id].append(event)
            self.signs.add(event.signs)
            self.next_round = max(self.next_round, event.round + 1)
            self.next_process = max(self.next_process, event.process_index + 1)
            if event.operations is not None:
                self._described.add(event.block_id)
            count = len(self.accepted(event.block_id))
            if event.rejected is None and is_look(count):
                # A batch that is rejected later takes the count back; that look is paid for, and not taken again.
                self._looked[event.block_id] = count
            if event.rejected is not None:
                self._rejected.add((event.block_id, event.process_index))
            elif event.converged:
                self._converged.add(event.block_id)
        elif isinstance(event, Rejected):
            self._rejected.add((event.block_id, event.process_index))
            self._converged.discard(event.block_id)
        elif isinstance(event, Failed):
            self._failed.add(event.block_id)
        elif isinstance(event, Costs):
            self._costed.add(event.block_id)

    def accepted(self, block_id: str) -> List[Measured]:
        """Return the batches of a block that count."""
        return [one for one in self._batches[block_id] if (block_id, one.process_index) not in self._rejected]

    def pending(self) -> List[JobBlock]:
        """Return the blocks that need another round: neither failed, nor converged, nor measured often enough."""
        return [
            block
            for block in self._job.blocks
            if block.block_id not in self._failed
            and block.block_id not in self._converged
            and len(self.accepted(block.block_id)) < self._job.settings.rounds
        ]

    def lacks_operations(self, block_ids: Iterable[str]) -> bool:
        """Tell whether the operators of one of these blocks, and what runs them, are still unknown."""
        return not self._described.issuperset(block_ids)

    def without_costs(self) -> List[JobBlock]:
        """Return the blocks that have a result, and whose other costs are not known."""
        return [
            block
            for block in self._job.blocks
            if self._batches[block.block_id] and block.block_id not in self._failed | self._costed
        ]

    def converges_with(self, batch: Measured) -> bool:
        """Tell whether a block may stop when this batch is accepted: at a look, within the target."""
        batches = (*self.accepted(batch.block_id), batch)
        if not is_look(len(batches)) or len(batches) <= self._looked.get(batch.block_id, 0):
            return False
        return Measurement(batch.block_id, batches).converged(self._job.settings.target_half_width_pct)

    def problem(self, process_index: int, position: int, signs: Signs) -> Optional[str]:
        """Return why a batch must not count, by what is known now: by the sentinel or by the machine's own signs."""
        return self.drift.problem(process_index, position) or self.signs.problem(signs)

    def late_rejections(self) -> List[Rejected]:
        """Return the rejections of accepted batches that the readings since then call for."""
        return [
            Rejected(self._job.job_id, block_id, batch.process_index, problem)
            for block_id in self._batches
            for batch in self.accepted(block_id)
            for problem in [self.problem(batch.process_index, batch.position, batch.signs)]
            if problem is not None
        ]

    def rejections_of(self, process_index: int, reason: str) -> List[Rejected]:
        """Return the rejections of all that one process measured."""
        return [
            Rejected(self._job.job_id, block_id, process_index, reason)
            for block_id in self._batches
            for batch in self.accepted(block_id)
            if batch.process_index == process_index
        ]

    def counts(self) -> Tuple[int, int]:
        """Return how many blocks have a result, and how many failed."""
        measured = [block_id for block_id, taken in self._batches.items() if taken and block_id not in self._failed]
        return len(measured), len(self._failed)

    def unstable(self) -> Optional[str]:
        """Return a sentence about blocks of which every batch was rejected, or None."""
        shaken = [
            block_id
            for block_id, taken in self._batches.items()
            if taken and block_id not in self._failed and not self.accepted(block_id)
        ]
        if not shaken:
            return None
        return f"the machine was unsteady: every batch of {len(shaken)} block(s) was rejected, {shaken[0]} among them"
