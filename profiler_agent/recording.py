"""Runs a job and keeps what it tells in a journal, going on with one that broke off."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Callable, Iterable, List, Optional, Sequence, Tuple

from profiler_agent.errors import BadInputError
from profiler_agent.journal import Journal, begin, partial_path, resume
from profiler_agent.measure import measure
from profiler_agent.records import Event, Failed, Hello, Job, Measurement, measurements_of
from profiler_agent.tuning import tuned

Show = Callable[[Event], None]
_USER_ERRORS = (
    "unreadable_model",
    "dynamic_shape",
    "wrong_shape",
    "unknown_input",
    "unsupported_input",
    "wrong_file",
    "too_large",
)


@dataclass(frozen=True)
class Outcome:
    """What came of a job, the part before it broke off included.

    Attributes:
        job: what was measured.
        events: all of them, in order.
    """

    job: Job
    events: Tuple[Event, ...]

    @property
    def measurements(self) -> Tuple[Measurement, ...]:
        """What was measured, by block."""
        return measurements_of(self.events)

    @property
    def exit_status(self) -> int:
        """Return 0 if nothing failed, 2 if the input is to blame for all that did, else 1."""
        failures = [event for event in self.events if isinstance(event, Failed)]
        if not failures:
            return 0
        return 2 if all(failure.code in _USER_ERRORS for failure in failures) else 1


def record(job: Job, journal_path: Optional[Path], show: Show, *, resuming: bool, keep_empty: bool = False) -> Outcome:
    """Measure a job, every event in the journal before the next one comes.

    Args:
        job: what to measure.
        journal_path: where the journal is to be when it is finished; None keeps none.
        show: told each new event.
        resuming: go on with an unfinished journal if there is one.
        keep_empty: finish the journal also when nothing could be measured.

    Raises:
        BadInputError: the journal is of another job, or of another machine, runtime, affinity or tuning.
        AgentError: it cannot be measured or written.
    """
    with ExitStack() as stack:
        known: Tuple[Event, ...] = ()
        journal: Optional[Journal] = None
        if journal_path and resuming and partial_path(journal_path).exists():
            resumed = resume(journal_path, job)
            journal, job, known = stack.enter_context(resumed.journal), resumed.job, resumed.events
        elif journal_path:
            journal = stack.enter_context(begin(journal_path, job))
        # Last, so that whatever refuses the job refuses it before the machine is touched.
        tuning = stack.enter_context(tuned(job.settings.tune, complain))
        events = _kept(measure(job, known, tuning=tuning), known, show, journal)
        outcome = Outcome(job, (*known, *events))
        if journal is not None and journal_path is not None:
            if outcome.measurements or keep_empty:
                journal.finish()
            else:
                partial_path(journal_path).unlink()
    return outcome


def complain(sentence: str) -> None:
    """Say on standard error what the user should know."""
    print(f"agent: {sentence}", file=sys.stderr)


def _kept(events: Iterable[Event], known: Sequence[Event], show: Show, journal: Optional[Journal]) -> List[Event]:
    """Write and show events as they come, and return them."""
    earlier = [event.key for event in known if isinstance(event, Hello)]
    kept: List[Event] = []
    for event in events:
        if isinstance(event, Hello) and earlier and event.key != earlier[-1]:
            raise BadInputError("the job was begun under another key: another machine, runtime, affinity or tuning")
        if journal is not None:
            journal.append(event)
        kept.append(event)
        show(event)
    return kept
