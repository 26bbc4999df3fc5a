"""When each block of a job reached a precision, told from its events as they come."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from profiler_agent.records import Event, Measured, Measurement, Rejected, Sentinel
from profiler_agent.statistics import is_look


@dataclass(frozen=True)
class Reached:
    """A block's first look within the target.

    Attributes:
        seconds: since the job began.
        rounds: batches that counted by then.
        processes: the processes that took them.
    """

    seconds: float
    rounds: int
    processes: frozenset[int]


@dataclass
class PrecisionWatch:
    """Follows a job, also one whose own target is another, by the agent's rule for a block that may stop.

    A block has reached the precision at the first look at which its measurement has converged; it has not, if one of
    the batches that it went by is rejected later. What comes after the look is not taken into account.

    Attributes:
        target_pct: half-width of the interval, in percent of the median.
        reached: by block.
        spared: batches of blocks that had reached the precision already: when each came and how long it took, in s.
    """

    target_pct: float
    reached: dict[str, Reached] = field(default_factory=dict)
    spared: list[tuple[float, float]] = field(default_factory=list)
    _batch_began_s: float = 0.0
    _accepted: dict[str, list[Measured]] = field(default_factory=dict)

    def add(self, event: Event, seconds: float) -> None:
        """Take an event into account that came `seconds` after the job began."""
        if isinstance(event, Rejected):
            self._reject(event)
        elif isinstance(event, Sentinel) and event.position == 0:
            self._batch_began_s = seconds
        elif isinstance(event, Measured):
            if event.block_id in self.reached:
                self.spared.append((seconds, seconds - self._batch_began_s))
            elif event.rejected is None:
                self._accept(event, seconds)
            self._batch_began_s = seconds

    def _accept(self, batch: Measured, seconds: float) -> None:
        batches = self._accepted.setdefault(batch.block_id, [])
        batches.append(batch)
        if is_look(len(batches)) and Measurement(batch.block_id, tuple(batches)).converged(self.target_pct):
            processes = frozenset(one.process_index for one in batches)
            self.reached[batch.block_id] = Reached(seconds, len(batches), processes)

    def _reject(self, rejection: Rejected) -> None:
        block_id, process = rejection.block_id, rejection.process_index
        self._accepted[block_id] = [one for one in self._accepted.get(block_id, []) if one.process_index != process]
        reached = self.reached.get(block_id)
        if reached is not None and process in reached.processes:
            del self.reached[block_id]


def last_reached(reached: dict[str, Reached], names: Iterable[str]) -> tuple[float, int] | None:
    """Return the seconds until the last of some blocks reached the precision, and the most rounds that one needed.

    None without blocks.
    """
    chosen = [reached[name] for name in names]
    if not chosen:
        return None
    return max(one.seconds for one in chosen), max(one.rounds for one in chosen)


def without_spared(watch: PrecisionWatch, seconds: float) -> float:
    """Return the first `seconds` of a job less what the batches took that sequential stopping would have spared."""
    return seconds - sum(duration for came, duration in watch.spared if came <= seconds)
