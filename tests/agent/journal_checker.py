"""What must hold of a finished journal, however often its agent was killed: the complaints are sentences."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from profiler_agent.ledger import Ledger
from profiler_agent.records import Done, Event, Failed, Job, Measured, format_event, measurements_of

# Rounds that a machine which is never steady costs for each that is wanted, before the agent gives up.
_ATTEMPTS_PER_ROUND = 3


def complaints(job: Job, events: Sequence[Event], acknowledged: Sequence[Sequence[Event]] = ()) -> list[str]:
    """Return what is wrong with the journal of a job.

    Args:
        job: what was asked for.
        events: all that the finished journal holds.
        acknowledged: for each kill, what was journalled or printed before it.
    """
    found = [*_lost(events, acknowledged), *_doubled(events), *_needless(job, events), *_unfinished(job, events)]
    ledger = Ledger(job)
    for event in events:
        ledger.add(event)
    found += [f"{one.block_id}: process {one.process_index} should be rejected" for one in ledger.late_rejections()]
    measurements = {one.block_id: one for one in measurements_of(events)}
    for block in job.blocks:
        measurement = measurements.get(block.block_id)
        kept = () if measurement is None or measurement.unstable else measurement.rounds
        if _samples(ledger.accepted(block.block_id)) != _samples(kept):
            found.append(f"{block.block_id}: the table counts other batches than the ledger")
        if measurement is None or not measurement.operations:
            found.append(f"{block.block_id}: its operations are not told")
    return found


def _samples(batches: Sequence[Measured]) -> list[tuple[int, tuple[int, ...]]]:
    """Return what tells batches of a block from each other; their operations a table may have from another one."""
    return [(one.process_index, one.samples_ns) for one in batches]


def _lost(events: Sequence[Event], acknowledged: Sequence[Sequence[Event]]) -> Iterator[str]:
    for kill, before in enumerate(acknowledged):
        if list(events[: len(before)]) != list(before):
            missing = Counter(map(format_event, before)) - Counter(map(format_event, events))
            yield f"kill {kill}: {len(missing)} acknowledged events are lost, or they are in another order"


def _doubled(events: Sequence[Event]) -> Iterator[str]:
    batches = [one for one in events if isinstance(one, Measured)]
    for name, keys in (
        ("round", Counter((one.block_id, one.round) for one in batches)),
        ("process", Counter((one.block_id, one.process_index) for one in batches)),
    ):
        for (block_id, index), count in keys.items():
            if count > 1:
                yield f"{block_id}: {name} {index} was measured {count} times"


def _needless(job: Job, events: Sequence[Event]) -> Iterator[str]:
    """Name batches of blocks that needed none any more by what the journal held before them."""
    ledger = Ledger(job)
    for event in events:
        if isinstance(event, Measured) and event.block_id not in {block.block_id for block in ledger.pending()}:
            yield f"{event.block_id}: round {event.round} was measured though no more were needed"
        ledger.add(event)


def _unfinished(job: Job, events: Sequence[Event]) -> Iterator[str]:
    done = events[-1] if events and isinstance(events[-1], Done) else None
    if done is None:
        yield "the last event is not done"
    ledger = Ledger(job)
    for event in events:
        ledger.add(event)
    gave_up = done is not None and done.rounds >= _ATTEMPTS_PER_ROUND * job.settings.rounds
    pending = {block.block_id for block in ledger.pending()}
    for block in job.blocks:
        accepted = ledger.accepted(block.block_id)
        if block.block_id in pending and not gave_up:
            yield f"{block.block_id}: {len(accepted)} rounds count, {job.settings.rounds} were wanted"
    for event in events:
        if isinstance(event, Failed):
            yield f"{event.block_id}: it failed: {event.sentence}"
