"""The `agent` command: measures models on this machine and tells what the machine is."""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import os
import signal
import sys
import uuid
from contextlib import ExitStack
from pathlib import Path
from typing import Callable, Dict, Iterable, List, Optional, Sequence, Tuple

from profiler_agent import __version__
from profiler_agent.compare import compare, key_differences
from profiler_agent.decoding import encode
from profiler_agent.environment import fingerprint, read_boot_id, read_environment
from profiler_agent.errors import AgentError, BadInputError
from profiler_agent.journal import Journal, begin, partial_path, read_journal, resume, same_job
from profiler_agent.measure import measure, probe
from profiler_agent.records import (
    Done,
    Event,
    Failed,
    Hello,
    Job,
    JobBlock,
    Settings,
    Warned,
    format_event,
    measurements_of,
    parse_job,
)
from profiler_agent.report import comparison_table, machine_table, measurement_table
from profiler_agent.runtimes import known_runtimes

_USER_ERRORS = (
    "unreadable_model",
    "dynamic_shape",
    "wrong_shape",
    "unknown_input",
    "unsupported_input",
    "wrong_file",
)
_INTERRUPTED = 130
_DEFAULTS = Settings()


def main(arguments: Optional[Sequence[str]] = None) -> None:
    """Run the command and end the process with its exit status."""
    options = _parser().parse_args(arguments)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    # A device that hangs up must end the worker too; only an exception runs the clean-up.
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        status = options.command(options)
    except AgentError as e:
        if options.verbose:
            raise
        print(f"agent: {e}", file=sys.stderr)
        status = e.exit_status
    except BrokenPipeError:
        # The reader went away; the interpreter would complain again when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = 1
    except Exception as e:
        if options.verbose:
            raise
        print(f"agent: unexpected {type(e).__name__}: {e}; --verbose shows where", file=sys.stderr)
        status = 1
    except KeyboardInterrupt:
        status = _INTERRUPTED
    sys.exit(status)


def _interrupt(_number: int, _frame: object) -> None:
    raise KeyboardInterrupt


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="agent", description=__doc__)
    parser.add_argument("--version", action="version", version=f"agent {__version__}")
    parser.add_argument("--verbose", action="store_true", help="show tracebacks")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_measure(commands.add_parser("measure", help="measure the latency of models"))
    _add_compare(commands.add_parser("compare", help="compare two journals block by block"))
    info = commands.add_parser("info", help="what this machine is and which runtimes work here")
    info.add_argument("--json", action="store_true", help="print one JSON object")
    info.set_defaults(command=_info)
    return parser


def _add_measure(parser: argparse.ArgumentParser) -> None:
    parser.description = "Measure models; or, given -, a job document on standard input, answered in JSON lines."
    add = parser.add_argument
    add("models", nargs="+", metavar="MODEL", help=".onnx files, or - for a job on standard input")
    add("--runtime", default=_DEFAULTS.runtime, help="identifier or family (default: %(default)s)")
    add(
        "--optimization",
        default=_DEFAULTS.optimization,
        help="disabled, basic, extended or all (%(default)s)",
    )
    add("--threads", type=_positive, default=_DEFAULTS.threads, help="threads of one operator (%(default)s)")
    add(
        "--affinity",
        type=_processors,
        help="processors to pin to, such as 0,1 (default: the system's choice)",
    )
    add("--spinning", action="store_true", help="let idle threads of the runtime spin")
    add(
        "--precision",
        type=_percent,
        default=_DEFAULTS.target_half_width_pct,
        metavar="PERCENT",
        help="half-width of the interval, relative to the median, at which a model is done (%(default)s%%)",
    )
    add("--rounds", type=_positive, default=_DEFAULTS.rounds, help="the most fresh processes per model (%(default)s)")
    add("--samples", type=_positive, default=_DEFAULTS.samples, help="raw samples per model and round (%(default)s)")
    add("--timeout-s", type=float, default=_DEFAULTS.timeout_s, help="silence that counts as hanging (%(default)s)")
    add("--budget-s", type=float, help="start no round that would end later than this many seconds")
    add("--seed", type=int, default=_DEFAULTS.seed, help="of orders and inputs (%(default)s)")
    add(
        "--shape",
        action="append",
        default=[],
        type=_shape,
        metavar="NAME=1x3x32x32",
        help="of a dynamic input",
    )
    add("--out", type=Path, metavar="FILE", help="journal with all raw samples, as JSON lines")
    add("--resume", action="store_true", help="go on with the unfinished job in the journal, if there is one")
    add("--json", action="store_true", help="print the events as JSON lines")
    parser.set_defaults(command=_measure)


def _add_compare(parser: argparse.ArgumentParser) -> None:
    parser.description = "Compare two journals of `agent measure --out`: B against A, block by block."
    parser.add_argument("first", type=Path, metavar="A", help="journal")
    parser.add_argument("second", type=Path, metavar="B", help="journal")
    parser.add_argument(
        "--margin", type=_percent, default=2.0, metavar="PERCENT", help="counts as the same (%(default)s)"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the bootstrap (%(default)s)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.set_defaults(command=_compare)


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not at least 1")
    return value


def _percent(text: str) -> float:
    return float(text[:-1] if text.endswith("%") else text)


def _processors(text: str) -> Tuple[int, ...]:
    return tuple(int(part) for part in text.split(","))


def _shape(text: str) -> Tuple[str, Tuple[int, ...]]:
    name, equals, sizes = text.rpartition("=")
    if not equals or not name:
        raise argparse.ArgumentTypeError(f"{text!r} is not of the form NAME=1x3x32x32")
    return name, tuple(_positive(size) for size in sizes.split("x"))


def _measure(options: argparse.Namespace) -> int:
    reads_job = options.models == ["-"]
    job = parse_job(sys.stdin.read()) if reads_job else _job_of_files(options)
    show: Callable[[Event], None] = _print_line if reads_job or options.json else _print_problem
    if options.out and options.out.exists():
        if any(options.out.samefile(block.file) for block in job.blocks if Path(block.file).exists()):
            raise BadInputError(f"--out {options.out} would replace a model")
        if options.resume and not partial_path(options.out).exists():
            return _already_complete(options.out, job)
    with ExitStack() as stack:
        known: Tuple[Event, ...] = ()
        journal: Optional[Journal] = None
        if options.out and options.resume and partial_path(options.out).exists():
            resumed = resume(options.out, job)
            journal, job, known = stack.enter_context(resumed.journal), resumed.job, resumed.events
        elif options.out:
            journal = stack.enter_context(begin(options.out, job))
        events = _follow(measure(job, known), known, show, journal)
        measurements = measurements_of((*known, *events))
        if journal is not None and measurements:
            journal.finish()
        elif journal is not None:
            partial_path(options.out).unlink()
    if show is _print_problem and measurements:
        print(measurement_table(measurements, job.settings.target_half_width_pct))
    failures = [event for event in (*known, *events) if isinstance(event, Failed)]
    if not failures:
        return 0
    return 2 if all(failure.code in _USER_ERRORS for failure in failures) else 1


def _already_complete(out: Path, job: Job) -> int:
    """Say that there is nothing to go on with: measuring again would replace finished data."""
    known, _ = read_journal(out)
    if not same_job(known, job):
        raise BadInputError(f"{out} holds another job: other models or settings")
    print(f"agent: nothing to resume: {out} is complete", file=sys.stderr)
    return 0


def _follow(
    events: Iterable[Event], known: Sequence[Event], show: Callable[[Event], None], journal: Optional[Journal]
) -> List[Event]:
    """Write and show events as they come, and return them."""
    earlier = [event.key for event in known if isinstance(event, Hello)]
    kept: List[Event] = []
    for event in events:
        if isinstance(event, Hello) and earlier and event.key != earlier[-1]:
            raise BadInputError("the job was begun under another key: another machine, runtime or affinity")
        if journal is not None:
            journal.append(event)
        kept.append(event)
        show(event)
    return kept


def _job_of_files(options: argparse.Namespace) -> Job:
    settings = Settings(
        runtime=options.runtime,
        optimization=options.optimization,
        threads=options.threads,
        affinity=options.affinity,
        spinning=options.spinning,
        rounds=options.rounds,
        samples=options.samples,
        target_half_width_pct=options.precision,
        timeout_s=options.timeout_s,
        seed=options.seed,
    )
    shapes = dict(options.shape)
    blocks = tuple(_block_of_file(Path(model), shapes) for model in options.models)
    return Job(uuid.uuid4().hex, blocks, settings, options.budget_s)


def _block_of_file(model: Path, shapes: Dict[str, Tuple[int, ...]]) -> JobBlock:
    try:
        digest = hashlib.sha256(model.read_bytes()).hexdigest()
    except OSError as e:
        raise BadInputError(f"cannot read the model {model}: {e.strerror}") from e
    return JobBlock(str(model), str(model), digest, shapes)


def _print_line(event: Event) -> None:
    print(format_event(event), flush=True)


def _print_problem(event: Event) -> None:
    if isinstance(event, Failed):
        print(f"agent: {event.block_id}: {event.sentence}", file=sys.stderr)
    elif isinstance(event, Warned):
        print(f"agent: warning: {event.sentence}", file=sys.stderr)
    elif isinstance(event, Done) and event.rounds == 0:
        print("agent: nothing was measured", file=sys.stderr)


def _compare(options: argparse.Namespace) -> int:
    (_, first), (_, second) = read_journal(options.first), read_journal(options.second)
    keys = [next((encode(event.key) for event in events if isinstance(event, Hello)), {}) for events in (first, second)]
    blocks, whole = compare(measurements_of(first), measurements_of(second), options.margin, abs(options.seed))
    differences = key_differences(keys[0], keys[1])
    if options.json:
        document = {"key_differences": differences, "blocks": [encode(one) for one in blocks], "whole": encode(whole)}
        print(json.dumps(document, indent=2))
    else:
        for difference in differences:
            print(f"measured under another key: {difference}")
        print(comparison_table(blocks, whole))
    return 0


def _info(options: argparse.Namespace) -> int:
    environment = read_environment()
    name = fingerprint(environment.machine)
    runtimes = [(identifier, _probe_sentence(identifier)) for identifier in known_runtimes()]
    if options.json:
        document = {
            "device_fingerprint": name,
            "boot_id": read_boot_id(),
            "environment": encode(environment),
            "runtimes": dict(runtimes),
        }
        print(json.dumps(document, indent=2))
    else:
        print(machine_table(environment, name, runtimes))
    return 0


def _probe_sentence(identifier: str) -> str:
    try:
        ready = probe(Settings(runtime=identifier))
    except AgentError as e:
        return f"does not work here: {e}"
    return f"{ready.runtime_version}, {ready.provider}"


if __name__ == "__main__":
    main()
