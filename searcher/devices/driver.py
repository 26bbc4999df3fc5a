"""Runs one job on a device: brings what it needs there, starts the job, and follows it through lost links."""

from __future__ import annotations

import uuid
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, field

from profiler_agent.records import Event, Job, JobBlock, Settings
from searcher.artifacts import ExportedModel
from searcher.devices.answers import DeviceAnswerError, checked
from searcher.devices.deploy import DevicePython, deploy_agent, deploy_models
from searcher.devices.device_job import BROKEN_STATUS, DeviceJob
from searcher.devices.link import Link
from searcher.devices.prepare import PythonSetup, prepare_python
from searcher.devices.transport import RemoteProgramError, UnreachableError
from searcher.errors import SearcherError

# An agent that dies again and again is not worth another try.
_MOST_DEATHS = 5


@dataclass(frozen=True)
class Assignment:
    """What a device is to measure.

    Attributes:
        models: files; their names identify them in the events.
        settings: how to measure.
        budget_s: seconds after which no new round starts; None for no bound.
        job_id: of a job that was begun earlier, or a new one.
        outlives_interrupts: leave the job running when the user interrupts, or nobody wants to be told any more; else
            it is stopped, and can go on later.
    """

    models: Sequence[ExportedModel]
    settings: Settings
    budget_s: float | None = None
    job_id: str = field(default_factory=lambda: uuid.uuid4().hex)
    outlives_interrupts: bool = False


def measure_on(link: Link, setup: PythonSetup, assignment: Assignment) -> Iterator[Event]:
    """Measure models on a device and yield the agent's events as they come.

    The agent works on the device by itself. When the link is lost it is opened again, and when the agent or the machine
    dies the job goes on from its journal. A job that was begun earlier is told from its beginning.

    Args:
        link: the way to the device.
        setup: the Python there, and where its runtime comes from.
        assignment: what to measure, and how.

    Raises:
        TransportError: the link failed for good, the Python there cannot measure, another job has the device, or the
            agent ended with an error.
        NoWheelsError: the runtime cannot be had for that Python.
        BadInputError: the agent refused the job: an unknown runtime, say.
        DeviceAnswerError: an answer is no record of the protocol, or not of this job.
    """
    python, paths = _brought(link, setup, assignment)
    # A job's files are named from its own folder, two below the working root.
    blocks = tuple(JobBlock(model.name, f"../../{paths[model.name]}", model.sha256) for model in assignment.models)
    job = Job(assignment.job_id, blocks, assignment.settings, assignment.budget_s)
    lines = _lines(link, DeviceJob(job.job_id, python), job, assignment.outlives_interrupts)
    return checked(lines, job, f"the agent on {link.device}")


def job_on(link: Link, interpreter: str, job_id: str) -> DeviceJob:
    """Return a job that was begun on a device, to ask for its state or to end it; the agent is brought there.

    Args:
        link: the way to the device.
        interpreter: any Python there; for this it needs neither numpy nor a runtime.
        job_id: names the job.

    Raises:
        TransportError: the device cannot be reached or written to.
    """
    return DeviceJob(job_id, DevicePython(interpreter, (deploy_agent(link.transport, interpreter),)))


def _brought(link: Link, setup: PythonSetup, assignment: Assignment) -> tuple[DevicePython, dict[str, str]]:
    """Bring agent, runtime and models to the device; what was there when a link was lost is not sent again."""
    while True:
        try:
            python = prepare_python(link.transport, setup, assignment.settings.runtime)
            return python, deploy_models(link.transport, assignment.models)
        except UnreachableError as e:
            link.reconnect(e)


def _lines(link: Link, on_device: DeviceJob, job: Job, outlives_interrupts: bool) -> Generator[str, None, None]:
    """Yield the lines of the job's events, each once, whatever happens to link and agent meanwhile."""
    told = deaths = 0
    try:
        while True:
            try:
                before = on_device.start(link.transport, job)
                if before.events < told:
                    # Power was lost between the writing of a line and its landing on the disk.
                    raise DeviceAnswerError(f"{link.device} has lost events that it told: measure again with --resume")
                for line in on_device.follow(link.transport, told):
                    told += 1
                    yield line
                return
            except UnreachableError as e:
                link.reconnect(e)
            except RemoteProgramError as e:
                deaths += 1
                if e.program_status != BROKEN_STATUS or deaths > _MOST_DEATHS:
                    raise
    except (KeyboardInterrupt, GeneratorExit, DeviceAnswerError) as e:
        if not outlives_interrupts or isinstance(e, DeviceAnswerError):
            try:
                on_device.stop(link.transport)
            except SearcherError:
                # What is to be told first is why this ends; but the device stays busy.
                e.add_note(f"{link.device} cannot be told to stop: it is busy until the job {job.job_id} ends there")
        raise
