"""When each block of a job reached a precision, and how many batches of each would have sufficed, told from its events.

Batches that count are those that no event of the whole job rejects. All of them are kept, also those that come when a
block has reached the precision already: a late rejection may make them needed after all.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from profiler_agent.records import Event, Measured, Rejected, Sentinel
from profiler_agent.statistics import is_look, median, median_interval, sequential_confidence

_CONFIDENCE = 0.95


@dataclass(frozen=True)
class Taken:
    """One batch.

    Attributes:
        process_index: of the process that took it.
        came_s: when it came, in s since the job began.
        took_s: its duration, the sentinel's reading included, in s.
        median_ms: its observation.
    """

    process_index: int
    came_s: float
    took_s: float
    median_ms: float


@dataclass(frozen=True)
class Reached:
    """Where a block was within the target: seconds since the job began, and batches that counted by then."""

    seconds: float
    rounds: int


@dataclass(frozen=True)
class FixedCount:
    """One count of batches for every block.

    Attributes:
        rounds: the count.
        within: the blocks whose plain interval over that many batches is within the target.
    """

    rounds: int
    within: frozenset[str]


@dataclass
class PrecisionWatch:
    """Follows one job.

    Attributes:
        target_pct: half-width of the interval, in percent of the median.
        stopped: where the agent itself called a block converged, by block; a later rejection takes it back.
    """

    target_pct: float
    stopped: dict[str, Reached] = field(default_factory=dict)
    _taken: dict[str, list[Taken]] = field(default_factory=dict)
    _rejected: set[tuple[str, int]] = field(default_factory=set)
    _batch_began_s: float = 0.0

    def add(self, event: Event, seconds: float) -> None:
        """Take an event into account that came `seconds` after the job began."""
        if isinstance(event, Rejected):
            self._rejected.add((event.block_id, event.process_index))
            self.stopped.pop(event.block_id, None)
        elif isinstance(event, Sentinel) and event.position == 0:
            self._batch_began_s = seconds
        elif isinstance(event, Measured):
            took_s, self._batch_began_s = seconds - self._batch_began_s, seconds
            batch = Taken(event.process_index, seconds, took_s, event.median_ms)
            self._taken.setdefault(event.block_id, []).append(batch)
            if event.rejected is not None:
                self._rejected.add((event.block_id, event.process_index))
            elif event.converged:
                self.stopped[event.block_id] = Reached(seconds, len(self.accepted(event.block_id)))

    def accepted(self, block_id: str) -> list[Taken]:
        """Return the batches of a block that count, in the order in which they came."""
        taken = self._taken.get(block_id, [])
        return [one for one in taken if (block_id, one.process_index) not in self._rejected]

    def first_look(self, block_id: str) -> Reached | None:
        """Return the first of the agent's looks at which the block is within the target by the agent's intervals.

        It is told from all batches that count, and so holds for jobs that themselves stop nothing. None without.
        """
        batches = self.accepted(block_id)
        for count in filter(is_look, range(1, len(batches) + 1)):
            if _is_within(batches[:count], self.target_pct, sequential_confidence(count)):
                return Reached(batches[count - 1].came_s, count)
        return None

    def first_looks(self, names: Iterable[str]) -> dict[str, Reached]:
        """Return the first looks of those blocks that have one."""
        found = {name: self.first_look(name) for name in names}
        return {name: one for name, one in found.items() if one is not None}

    def within(self, block_id: str, count: int) -> bool:
        """Whether the plain 95% interval of the block's first `count` batches is within the target."""
        batches = self.accepted(block_id)[:count]
        return len(batches) == count and _is_within(batches, self.target_pct, _CONFIDENCE)

    def seconds_of(self, names: Iterable[str], count: int) -> float | None:
        """Return when each of the blocks had `count` batches that count, in s; None where one never had."""
        batches = [self.accepted(name) for name in names]
        if not batches or any(len(one) < count for one in batches):
            return None
        return max(one[count - 1].came_s for one in batches)

    def best_count(self, names: Iterable[str]) -> FixedCount | None:
        """Return the least count at which as many as possible of the blocks are within the target at once.

        Only counts that all of them have reached are looked at: a fixed count is one for all. None where no block
        ever is within the target.
        """
        chosen = list(names)
        most = min((len(self.accepted(name)) for name in chosen), default=0)
        counts = (
            FixedCount(count, frozenset(name for name in chosen if self.within(name, count)))
            for count in range(1, most + 1)
        )
        # Of equals, max takes the first, which is the least.
        best = max(counts, key=lambda one: len(one.within), default=None)
        return best if best is not None and best.within else None

    def without_spared(self, looks: Mapping[str, Reached], seconds: float) -> float:
        """Return the first `seconds` of a job less what blocks took after their looks, rejected batches too."""
        return seconds - sum(
            one.took_s
            for name, look in looks.items()
            for one in self._taken[name]
            if look.seconds < one.came_s <= seconds
        )


def _is_within(batches: Sequence[Taken], target_pct: float, confidence: float) -> bool:
    values = [one.median_ms for one in batches]
    if not values:
        return False
    low, high, reached = median_interval(values, confidence)
    # Few values give their range, whose confidence is less than what was asked.
    return reached >= confidence and 50 * (high - low) <= target_pct * median(values)


def last_of(reached: Mapping[str, Reached], names: Iterable[str]) -> Reached | None:
    """Return the seconds until the last of some blocks was there, and the most rounds that one needed.

    None without blocks.
    """
    chosen = [reached[name] for name in names]
    if not chosen:
        return None
    return Reached(max(one.seconds for one in chosen), max(one.rounds for one in chosen))
