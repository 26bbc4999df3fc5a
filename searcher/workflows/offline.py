"""The offline road: a job as a folder that is carried to its device by any means, and its journal carried back."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from profiler_agent.records import Event, Hello, Job, RecordError, format_job, parse_job
from searcher.artifacts import ExportedModel, sha256_of
from searcher.devices.answers import DeviceAnswerError, MeasurementFailedError, checked
from searcher.devices.carried_runtime import unpack_runtime
from searcher.devices.deploy import agent_files
from searcher.devices.survey import DeviceSystem
from searcher.devices.transport import CHUNK_BYTES, TransportError, printable, split_lines
from searcher.documents import Document
from searcher.errors import BadInputError, SearcherError
from searcher.history.history import History
from searcher.history.job_record import State
from searcher.tables.lookup_table import LookupTable
from searcher.tables.plan import OtherRequestError, Plan, require_same_request
from searcher.workflows.make_table import Target, make_table
from searcher.workflows.progress import Work

SCHEMA_VERSION = 1
_MANIFEST, _JOB, _README, _JOURNAL = "manifest.json", "job.json", "README.txt", "journal.jsonl"
_AGENT, _MODELS, _RUNTIME = "agent", "models", "runtime"

# What must be installed on the device, by runtime or family.
_PACKAGES = {
    "onnx": "onnxruntime",
    "tflite": "ai-edge-litert or tflite-runtime",
    "litert": "ai-edge-litert",
}

_INSTALLED = """\
It needs Python 3.8 or newer with numpy and {runtime}.
   Where they cannot be installed there, export the job anew with --runtime-from deploy, which
   puts them into this folder. If they are in a virtual environment there, its python takes
   the place of python3 below."""

_CARRIED = """\
It needs Python {python} as python3, on
   Linux ({machine}, glibc {glibc} or newer). numpy and the runtime are in this folder:
   {wheels}."""

_INSTRUCTIONS = """\
This folder holds one job for a device: models, the agent that measures them, and how.

1. Carry the whole folder to the device. {needs}
2. In this folder, run there:

       PYTHONPATH={path} python3 -m profiler_agent measure .

   It may be interrupted: the same command goes on.
3. Carry {journal}, or the whole folder, back to the computer that made it, and run there:

       searcher jobs import {journal} --out TABLE.json

   On another computer, import the whole folder.

Job {job_id}: {blocks} models of the space {space}.
"""


@dataclass(frozen=True)
class Manifest:
    """What lies in the folder, and what its table will need.

    Attributes:
        plan: the job's; files of its models are relative to the folder.
        files: the SHA-256 of each other file by its path.
    """

    plan: Plan
    files: Mapping[str, str]
    schema_version: int = SCHEMA_VERSION


MANIFEST_DOCUMENT = Document(Manifest, "manifest", SCHEMA_VERSION)


def export_job(plan: Plan, folder: Path, history: History, system: DeviceSystem | None = None) -> Plan:
    """Write a job as a folder, whole or not at all.

    Args:
        plan: of a new job.
        folder: new, or empty.
        history: where the job is written down.
        system: the device's Python, for which numpy and the runtime are put into the folder; None where the device has
            them.

    Returns:
        The plan as it lies in the folder.

    Raises:
        BadInputError: something is in the folder, or it cannot be written.
        NoWheelsError: the runtime cannot be had for that Python.
    """
    carried = replace(
        plan,
        models=tuple(replace(model, path=Path(_MODELS, f"{model.sha256}{model.path.suffix}")) for model in plan.models),
    )
    sources = {moved.path: model.path for moved, model in zip(carried.models, plan.models, strict=True)}
    sources |= {Path(_AGENT, name): path for name, path in agent_files().items()}
    try:
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise BadInputError(f"{folder} is not empty: an exported job gets a folder of its own")
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{folder.name}.", dir=folder.parent) as scratch:
            made = Path(scratch, "job")
            _write(made, carried, sources, system)
            made.replace(folder)
    except OSError as e:
        raise BadInputError(f"cannot write the job's folder {folder}: {e.strerror or e}") from e
    history.begin(carried, None, None, state=State.EXPORTED)
    return carried


def _write(folder: Path, plan: Plan, sources: Mapping[Path, Path], system: DeviceSystem | None) -> None:
    for target, source in sources.items():
        (folder / target).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, folder / target)
    runtime = plan.settings.runtime
    if system is None:
        needs, path = _INSTALLED.format(runtime=_PACKAGES.get(runtime, runtime)), _AGENT
    else:
        wheels = unpack_runtime(runtime, system, folder / _RUNTIME)
        needs, path = _told_of(system, wheels), f"{_AGENT}:{_RUNTIME}"
    instructions = _INSTRUCTIONS.format(
        needs=needs,
        path=path,
        journal=_JOURNAL,
        job_id=plan.job_id,
        blocks=len(plan.models),
        space=plan.space,
    )
    (folder / _README).write_text(instructions, encoding="utf-8")
    (folder / _JOB).write_text(format_job(plan.job), encoding="utf-8")
    files = {
        path.relative_to(folder).as_posix(): sha256_of(path) for path in sorted(folder.rglob("*")) if path.is_file()
    }
    MANIFEST_DOCUMENT.save(Manifest(plan, files), folder / _MANIFEST)


def _told_of(system: DeviceSystem, wheels: Sequence[str]) -> str:
    """Return what a device must be that a runtime was chosen for."""
    major, minor, _ = system.version
    names = ", ".join("-".join(name.split("-")[:2]) for name in wheels)
    return _CARRIED.format(python=f"{major}.{minor}", machine=system.machine, glibc=system.libc_version, wheels=names)


def import_job(source: Path, target: Target, history: History) -> Work[LookupTable]:
    """Make the table of a job that was carried away from the journal that came back; the journal is not trusted.

    Args:
        source: the journal, or the job's folder with the journal in it.
        target: where the table goes.
        history: knows the job if it was exported from here; else the folder's manifest does.

    Raises:
        BadInputError: there is no finished journal, or it is not one of this job, whole and as an agent writes it.
        SearcherError: a block could not be measured.
    """
    target.require_usable()
    journal = _finished_journal(source)
    # All of it is looked at before anything is written.
    plan, events = _read(journal, history)
    history.begin(plan, None, target.path, overwrite=target.overwrite)
    try:
        table = yield from make_table(target, plan, iter(events), history)
    except SearcherError as e:
        failed = isinstance(e, MeasurementFailedError)
        history.end(plan.job_id, State.FAILED if failed else State.EXPORTED, str(e))
        raise
    history.end(plan.job_id, State.FINISHED)
    return table


def _finished_journal(source: Path) -> Path:
    """Return the journal that is meant.

    Raises:
        BadInputError: there is none, or the job is not finished.
    """
    if not source.is_dir():
        return source
    journal = source / _JOURNAL
    if journal.is_file():
        return journal
    if (source / f"{_JOURNAL}.partial").is_file():
        raise BadInputError(f"the job in {source} is not finished: the same command on its device goes on with it")
    raise BadInputError(f"there is no {_JOURNAL} in {source}: the job was not measured yet")


def _read(journal: Path, history: History) -> tuple[Plan, list[Event]]:
    """Read a journal, and refuse all that no agent would have written for this job."""
    try:
        with journal.open("rb") as file:
            lines = _lines(lambda: file.read(CHUNK_BYTES))
            first = next(lines, None)
            if first is None:
                raise BadInputError(f"the journal {journal} is empty: it was not carried back whole")
            job = parse_job(first)
            plan = _plan_of(job, journal, history)
            events = list(checked(lines, plan.job, f"the journal {journal}"))
    except OSError as e:
        raise BadInputError(f"cannot read the journal {journal}: {e.strerror or e}") from e
    except RecordError as e:
        raise BadInputError(f"{journal} is no journal of an agent: {printable(str(e))}") from e
    except (DeviceAnswerError, TransportError) as e:
        raise BadInputError(str(e)) from e
    if any(event.settings != plan.settings for event in events if isinstance(event, Hello)):
        raise BadInputError(f"the journal {journal} was measured with other settings than its job asks for")
    return plan, events


def _lines(read: Callable[[], bytes]) -> Generator[str, None, None]:
    yield from split_lines(read)


def _plan_of(job: Job, journal: Path, history: History) -> Plan:
    """Return what is known here of a journal's job.

    Raises:
        BadInputError: nothing is known, or the journal's job asks for something else.
    """
    known = history.known(job.job_id)
    manifest = journal.with_name(_MANIFEST)
    if known is not None:
        plan = known.plan
    elif manifest.is_file():
        plan = _printable_plan(manifest)
    else:
        raise BadInputError(
            f"{journal} is of the job {printable(job.job_id)[:40]!r}, which was not exported from here:"
            " import its whole folder, with the manifest"
        )
    if job.job_id != plan.job_id:
        raise BadInputError(f"{journal} is the journal of another job than the manifest beside it tells of")
    told = tuple(ExportedModel(block.block_id, Path(block.file), block.sha256) for block in job.blocks)
    try:
        require_same_request(plan, replace(plan, models=told, settings=job.settings))
    except OtherRequestError as e:
        raise BadInputError(f"the journal {journal} does not fit: {printable(str(e))}") from e
    return plan


def _printable_plan(manifest: Path) -> Plan:
    """Read a plan that has been on a device: its words will be shown in terminals."""
    plan = MANIFEST_DOCUMENT.load(manifest).plan
    words = (plan.job_id, plan.space, plan.device, plan.calibration or "", *(model.name for model in plan.models))
    if not all(word.isprintable() for word in (*words, *plan.versions, *plan.versions.values())):
        raise BadInputError(f"{manifest} is no valid manifest: it holds control characters")
    return plan
