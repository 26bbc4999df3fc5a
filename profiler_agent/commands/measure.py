"""`agent measure`: models or a job in, a journal, events or a table out."""

from __future__ import annotations

import argparse
import hashlib
import sys
import uuid
from pathlib import Path
from typing import Callable, Dict, Optional, Sequence, Tuple

from profiler_agent.commands import options as kinds
from profiler_agent.errors import BadInputError
from profiler_agent.job_folder import JOB_FILE, JobFolder
from profiler_agent.journal import partial_path, read_journal, same_job
from profiler_agent.lease import held
from profiler_agent.recording import Outcome, complain, record
from profiler_agent.records import Costs, Done, Event, Failed, Job, JobBlock, Settings, Warned, format_event, parse_job
from profiler_agent.report import measurement_table
from profiler_agent.runtimes import family_of_file


def add_options(parser: argparse.ArgumentParser) -> None:
    """Describe the command's options."""
    parser.description = (
        "Measure models; or a job that `searcher job export` made; or, given -, a job document on standard input,"
        " answered in JSON lines."
    )
    default = Settings()
    add = parser.add_argument
    add("models", nargs="+", metavar="MODEL", help=".onnx or .tflite files, a job's folder, or - for a job")
    add("--runtime", help="onnxruntime, litert, tflite-runtime or a family, onnx or tflite (by the files' names)")
    add("--optimization", default=default.optimization, help="disabled, basic, extended or all (%(default)s)")
    text = "what shall compute: cpu, cuda, tensorrt, …; for TFLite xnnpack (its usual), none, edgetpu, …"
    add("--provider", metavar="NAME", help=text)
    text = "option of that provider; library=PATH brings a TFLite delegate; may be repeated"
    add("--provider-option", action="append", default=[], type=kinds.setting, metavar="NAME=VALUE", help=text)
    text = "refuse models of which this provider does not compute everything; implies --provider"
    add("--require", metavar="NAME", help=text)
    add("--threads", type=kinds.positive, default=default.threads, help="threads of one operator (%(default)s)")
    add("--affinity", type=kinds.processors, help="processors to pin to, such as 0,1 (the system's choice)")
    add("--spinning", action="store_true", help="let idle threads of the runtime spin")
    text = "set governors to performance and turbo off, as far as this user may, and undo it at the end"
    add("--tune", action="store_true", help=text)
    add("--no-costs", dest="costs", action="store_false", help="only latencies: no memory, size and energy")
    text = "half-width of the interval, relative to the median, at which a model is done (%(default)s%%)"
    add("--precision", type=kinds.percent, default=default.target_half_width_pct, metavar="PERCENT", help=text)
    text = "the most fresh processes per model (%(default)s)"
    add("--rounds", type=kinds.positive, default=default.rounds, help=text)
    text = "raw samples per model and round (%(default)s)"
    add("--samples", type=kinds.positive, default=default.samples, help=text)
    text = "silence that counts as hanging (%(default)s)"
    add("--timeout-s", type=kinds.positive_number, default=default.timeout_s, help=text)
    text = "start no round, after the first, that would end later than this many seconds"
    add("--budget-s", type=kinds.positive_number, help=text)
    text = "above this temperature nothing counts and measuring waits (where the kernel slows the machine)"
    add("--max-temperature-c", type=kinds.positive_number, metavar="DEGREES", help=text)
    add("--seed", type=kinds.natural, default=default.seed, help="of orders and inputs (%(default)s)")
    text = "shape of a dynamic input; may be repeated"
    add("--shape", action="append", default=[], type=kinds.shape, metavar="NAME=1x3x32x32", help=text)
    add("--out", type=Path, metavar="FILE", help="journal with all raw samples, as JSON lines")
    add("--resume", action="store_true", help="go on with the unfinished job in the journal, if there is one")
    add("--json", action="store_true", help="print the events as JSON lines")
    parser.set_defaults(command=run)


def run(options: argparse.Namespace) -> int:
    """Measure, and return the exit status."""
    if options.resume and not options.out:
        raise BadInputError("--resume goes on with a journal: name it with --out")
    folder = _folder_of(options.models)
    if folder is not None:
        return _measure_folder(folder, _print_line if options.json else _print_problem)
    reads_job = options.models == ["-"]
    job = parse_job(sys.stdin.read()) if reads_job else _job_of_files(options)
    show: Callable[[Event], None] = _print_line if reads_job or options.json else _print_problem
    if options.out and options.out.exists():
        if any(options.out.samefile(block.file) for block in job.blocks if Path(block.file).exists()):
            raise BadInputError(f"--out {options.out} would replace a model")
        if options.resume and not partial_path(options.out).exists():
            return _already_complete(options.out, job)
    try:
        outcome = record(job, options.out, show, resuming=options.resume)
    except KeyboardInterrupt:
        if options.out is not None and partial_path(options.out).exists():
            complain(f"interrupted; --resume goes on with {partial_path(options.out)}")
        raise
    if show is _print_problem:
        _print_table(outcome)
    return outcome.exit_status


def _measure_folder(folder: JobFolder, show: Callable[[Event], None]) -> int:
    """Measure a job that somebody carried here; what broke off goes on."""
    job = folder.job()
    if folder.journal.exists():
        return _already_complete(folder.journal, job)
    try:
        with held(folder.lease, {}):
            outcome = record(job, folder.journal, show, resuming=True)
    except KeyboardInterrupt:
        complain("interrupted; the same command goes on with the job")
        raise
    if show is _print_problem:
        _print_table(outcome)
    if outcome.measurements:
        complain(f"wrote {folder.journal}: carry it back, and `searcher job import` reads it")
    return outcome.exit_status


def _already_complete(out: Path, job: Job) -> int:
    """Say that there is nothing to go on with: measuring again would replace finished data."""
    known, _ = read_journal(out)
    if not same_job(known, job):
        raise BadInputError(f"{out} holds another job: other models or settings")
    complain(f"nothing to resume: {out} is complete")
    return 0


def _folder_of(models: Sequence[str]) -> Optional[JobFolder]:
    """Return the job folder that is meant, by its own name or by that of the job in it."""
    if len(models) != 1:
        return None
    path = Path(models[0])
    if path.name == JOB_FILE:
        path = path.parent
    return JobFolder(path) if (path / JOB_FILE).is_file() else None


def _job_of_files(options: argparse.Namespace) -> Job:
    settings = Settings(
        runtime=options.runtime or _runtime_of_files(options.models),
        optimization=options.optimization,
        provider=options.provider,
        provider_options=dict(options.provider_option),
        require=options.require,
        threads=options.threads,
        affinity=options.affinity,
        spinning=options.spinning,
        tune=options.tune,
        costs=options.costs,
        rounds=options.rounds,
        samples=options.samples,
        target_half_width_pct=options.precision,
        max_temperature_c=options.max_temperature_c,
        timeout_s=options.timeout_s,
        seed=options.seed,
    )
    shapes = dict(options.shape)
    blocks = tuple(_block_of_file(Path(model), shapes) for model in options.models)
    return Job(uuid.uuid4().hex, blocks, settings, options.budget_s)


def _runtime_of_files(models: Sequence[str]) -> str:
    families = sorted({family_of_file(Path(model)) for model in models})
    if len(families) > 1:
        raise BadInputError(f"one job has one runtime: measure the {' and the '.join(families)} models apart")
    return families[0]


def _block_of_file(model: Path, shapes: Dict[str, Tuple[int, ...]]) -> JobBlock:
    # A pipe or a device would be read for ever.
    if model.exists() and not model.is_file() and not model.is_dir():
        raise BadInputError(f"cannot read the model {model}: it is no regular file")
    try:
        digest = hashlib.sha256(model.read_bytes()).hexdigest()
    except OSError as e:
        raise BadInputError(f"cannot read the model {model}: {e.strerror}") from e
    return JobBlock(str(model), str(model), digest, shapes)


def _print_line(event: Event) -> None:
    print(format_event(event), flush=True)


def _print_table(outcome: Outcome) -> None:
    measurements = outcome.measurements
    if measurements:
        costs = [event for event in outcome.events if isinstance(event, Costs)]
        print(measurement_table(measurements, outcome.job.settings.target_half_width_pct, costs))


def _print_problem(event: Event) -> None:
    if isinstance(event, Failed):
        print(f"agent: {event.block_id}: {event.sentence}", file=sys.stderr)
    elif isinstance(event, Warned):
        print(f"agent: warning: {event.sentence}", file=sys.stderr)
    elif isinstance(event, Done) and event.rounds == 0:
        print("agent: nothing was measured", file=sys.stderr)
