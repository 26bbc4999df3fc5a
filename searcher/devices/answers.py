"""What an agent answers about one job, parsed strictly: a device is not trusted.

Every line must be a record that fits the job and its place; anything else is an error.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass

from profiler_agent.records import (
    Costs,
    Done,
    Event,
    Failed,
    Hello,
    Job,
    Measured,
    Measurement,
    RecordError,
    Rejected,
    Sentinel,
    TableKey,
    Warned,
    measurements_of,
    parse_event,
)
from searcher.devices.transport import RemoteProgramError, TransportError, printable
from searcher.errors import BadInputError, SearcherError

_BAD_INPUT = 2
_TUNING_LOST = "tuning_lost"


class DeviceAnswerError(SearcherError):
    """The agent's answer does not follow the protocol or does not fit the job."""


class MeasurementFailedError(SearcherError):
    """Some blocks could not be measured; the message names the first and its reason."""


@dataclass(frozen=True)
class JobResult:
    """What came of one job.

    Attributes:
        hello: who measured, on what, and with which key.
        measurements: by block, in the order of first measurement; blocks that failed are not among them.
        failures: blocks that could not be measured.
        warnings: what the agent wants the reader to know.
        done: what the agent said of the whole job.
        events: everything the agent said, in order.
    """

    hello: Hello
    measurements: tuple[Measurement, ...]
    failures: tuple[Failed, ...]
    warnings: tuple[Warned, ...]
    done: Done
    events: tuple[Event, ...]

    def require_complete(self) -> None:
        """Raise MeasurementFailedError if a block failed, or if not all was measured under the key."""
        if self.failures:
            first = self.failures[0]
            others = f" (and {len(self.failures) - 1} more)" if len(self.failures) > 1 else ""
            raise MeasurementFailedError(
                f"{printable(first.block_id)} could not be measured: {printable(first.sentence)}{others}"
            )
        lost = next((warning for warning in self.warnings if warning.code == _TUNING_LOST), None)
        if lost is not None:
            raise MeasurementFailedError(f"{printable(lost.sentence)}; measure again")


def collect(events: Iterable[Event]) -> JobResult:
    """Gather the events of one whole job.

    Raises:
        DeviceAnswerError: there is no `hello`, or no `done` at the end.
    """
    kept = tuple(events)
    hello = next((event for event in kept if isinstance(event, Hello)), None)
    if hello is None:
        raise DeviceAnswerError("the agent said nothing")
    done = kept[-1]
    if not isinstance(done, Done):
        raise DeviceAnswerError("the agent did not say that it was done")
    return JobResult(
        hello=hello,
        measurements=measurements_of(kept),
        failures=tuple(event for event in kept if isinstance(event, Failed)),
        warnings=tuple(event for event in kept if isinstance(event, Warned)),
        done=done,
        events=kept,
    )


def checked(lines: Generator[str, None, None], job: Job, teller: str) -> Iterator[Event]:
    """Yield the events that lines tell of a job, as long as they fit.

    Args:
        lines: as the agent prints them; closed in the end, whatever happens.
        job: what was asked.
        teller: whose lines they are, for messages, such as `the agent on local`.

    Raises:
        DeviceAnswerError: a line is no record of the protocol, or not of this job.
        TransportError: the agent ended with an error before its job was done.
        BadInputError: the agent refused the job.
    """
    blocks = {block.block_id for block in job.blocks}
    first: Hello | None = None
    previous: Event | None = None
    try:
        # Closed whatever happens, so that a refused answer ends the agent on the device too.
        with closing(lines):
            for line in lines:
                event = _parse(line, teller)
                _check_place(event, first, previous, job.job_id, blocks, teller)
                previous = event
                if first is None and isinstance(event, Hello):
                    first = event
                yield event
    except RemoteProgramError as e:
        # With failed blocks the agent ends with a status of its own; its records have told them already.
        if not isinstance(previous, Done):
            raise _agent_error(e, teller) from e
    if not isinstance(previous, Done):
        raise DeviceAnswerError(f"{teller} ended before its job was done")


def _parse(line: str, teller: str) -> Event:
    try:
        return parse_event(line)
    except RecordError as e:
        raise DeviceAnswerError(f"{teller} sent what is no record: {printable(str(e))}") from e


def _check_place(
    event: Event, first: Hello | None, previous: Event | None, job_id: str, blocks: set[str], teller: str
) -> None:
    problem = None
    if first is None and not isinstance(event, Hello):
        problem = "its `hello` is missing"
    elif isinstance(event, Hello) and not _is_printable(event.key):
        problem = "its key holds control characters"
    elif first is not None and isinstance(event, Hello) and event.key != first.key:
        # An agent that goes on with a job that broke off says hello again.
        problem = "it goes on under another key"
    elif isinstance(previous, Done):
        problem = "it goes on after `done`"
    elif not isinstance(event, Warned) and event.job_id != job_id:
        problem = "it answers for another job"
    elif isinstance(event, Measured | Rejected | Failed | Costs) and event.block_id not in blocks:
        problem = f"it speaks of the unknown block {printable(event.block_id)[:80]!r}"
    elif isinstance(event, Measured | Sentinel) and (not event.samples_ns or min(event.samples_ns) <= 0):
        problem = "a sample is missing or not positive"
    elif isinstance(event, Measured | Sentinel) and event.inner_loops < 1:
        problem = "inner loops are not positive"
    elif isinstance(event, Costs) and (event.file_bytes < 1 or (event.peak_memory_bytes or 0) < 0):
        problem = "a size is not positive"
    elif isinstance(event, Costs) and event.energy_mj is not None and event.energy_mj <= 0:
        problem = "an energy is not positive"
    if problem is not None:
        raise DeviceAnswerError(f"the answer of {teller} cannot be used: {problem}")


def _is_printable(key: TableKey) -> bool:
    """Say whether a key can stand in tables and on terminals."""
    return all(value.isprintable() for value in vars(key).values() if isinstance(value, str))


def _agent_error(error: RemoteProgramError, teller: str) -> SearcherError:
    """Say what the agent said, without the name of the program that said it; its status 2 blames the input."""
    lines = printable(error.standard_error).strip().splitlines()
    if lines and lines[-1].startswith("agent: "):
        sentence = f"{teller} says: {lines[-1].removeprefix('agent: ')}"
        return BadInputError(sentence) if error.program_status == _BAD_INPUT else TransportError(sentence)
    return error
