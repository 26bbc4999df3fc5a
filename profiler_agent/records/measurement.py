"""What the rounds of a block add up to: the one place where samples become a latency with an interval."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Dict, Iterable, List, Tuple

from profiler_agent.decoding import quoted
from profiler_agent.errors import RecordError
from profiler_agent.records.events import Event, Failed, Measured, Rejected
from profiler_agent.statistics import MedianInterval, median, median_interval, sequential_confidence


@dataclass(frozen=True)
class Measurement:
    """The rounds of one block that count. The medians of the processes are its observations.

    Attributes:
        block_id: of the block.
        rounds: one batch from each process.
        unstable: whether every batch was rejected, so that rejected ones stand here for want of better.
    """

    block_id: str
    rounds: Tuple[Measured, ...]
    unstable: bool = False

    def __post_init__(self) -> None:
        """Refuse a measurement without samples: absence must never become a number."""
        if not self.rounds or not all(batch.samples_ns for batch in self.rounds):
            raise RecordError(f"block {quoted(self.block_id)} has no samples")

    @property
    def median_ms(self) -> float:
        """Median over the processes' medians, in ms for one inference."""
        return median([batch.median_ms for batch in self.rounds])

    @property
    def interval_ms(self) -> MedianInterval:
        """Distribution-free interval of the median over processes, in ms.

        Its confidence is that of the sequential rule: 95% holds over all the looks at which a block may stop.
        """
        medians = [batch.median_ms for batch in self.rounds]
        return median_interval(medians, sequential_confidence(len(medians)))

    @property
    def half_width_pct(self) -> float:
        """Half the interval's width, in percent of the median."""
        low, high, _ = self.interval_ms
        return 50 * (high - low) / self.median_ms

    @property
    def sample_count(self) -> int:
        """Raw samples over all rounds."""
        return sum(len(batch.samples_ns) for batch in self.rounds)

    @property
    def operations(self) -> Tuple[str, ...]:
        """Operators of the optimised graph; empty when no round told them."""
        return next((batch.operations for batch in self.rounds if batch.operations is not None), ())

    def converged(self, target_half_width_pct: float) -> bool:
        """Whether the interval is whole and within the target."""
        whole = self.interval_ms.confidence >= sequential_confidence(len(self.rounds))
        return not self.unstable and whole and self.half_width_pct <= target_half_width_pct


def measurements_of(events: Iterable[Event]) -> Tuple[Measurement, ...]:
    """Return the measurements of a job, in the order of first measurement; failed blocks have none.

    Batches that were rejected, at once or later, do not count, unless a block has no other.
    """
    batches: Dict[str, List[Measured]] = {}
    dropped = set()
    failed = set()
    for event in events:
        if isinstance(event, Measured):
            batches.setdefault(event.block_id, []).append(event)
            if event.rejected is not None:
                dropped.add((event.block_id, event.process_index))
        elif isinstance(event, Rejected):
            dropped.add((event.block_id, event.process_index))
        elif isinstance(event, Failed):
            failed.add(event.block_id)
    return tuple(
        _measurement(block_id, taken, [one for one in taken if (block_id, one.process_index) not in dropped])
        for block_id, taken in batches.items()
        if block_id not in failed
    )


def _measurement(block_id: str, taken: List[Measured], kept: List[Measured]) -> Measurement:
    rounds = tuple(kept or taken)
    # Told once, and maybe by a batch that does not count: the graph is the same in all of them.
    operations = next((batch.operations for batch in taken if batch.operations is not None), None)
    if all(batch.operations is None for batch in rounds):
        rounds = (replace(rounds[0], operations=operations), *rounds[1:])
    return Measurement(block_id, rounds, unstable=not kept)
