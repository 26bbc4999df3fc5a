"""`agent ops`: a model in, what each of its operators costs out."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path

from profiler_agent.commands import options as kinds
from profiler_agent.errors import BadInputError
from profiler_agent.ops import Examination, examine
from profiler_agent.records import Settings, format_operator_report
from profiler_agent.report import operator_table
from profiler_agent.runtimes import family_of_file

_ROUNDS = 12


def add_options(parser: argparse.ArgumentParser) -> None:
    """Describe the command's options."""
    parser.description = "Tell what each operator of a model costs; the parts sum to the latency without a profiler."
    default = Settings()
    add = parser.add_argument
    add("model", type=Path, metavar="MODEL", help=".onnx or .tflite file")
    add("--runtime", help="onnxruntime, litert, tflite-runtime or a family, onnx or tflite (by the file's name)")
    add("--optimization", default=default.optimization, help="disabled, basic, extended or all (%(default)s)")
    add("--threads", type=kinds.positive, default=default.threads, help="threads of one operator (%(default)s)")
    add("--affinity", type=kinds.processors, help="processors to pin to, such as 0,1 (the system's choice)")
    add("--spinning", action="store_true", help="let idle threads of the runtime spin")
    text = "half-width of the interval, relative to the median, at which a measurement is done (%(default)s%%)"
    add("--precision", type=kinds.percent, default=default.target_half_width_pct, metavar="PERCENT", help=text)
    add("--rounds", type=kinds.positive, default=_ROUNDS, help="the most fresh processes (%(default)s)")
    add("--samples", type=kinds.positive, default=default.samples, help="raw samples per round (%(default)s)")
    text = "silence that counts as hanging (%(default)s)"
    add("--timeout-s", type=kinds.positive_number, default=default.timeout_s, help=text)
    text = "start no round, after the first, that would end later than this many seconds"
    add("--budget-s", type=kinds.positive_number, help=text)
    add("--seed", type=kinds.natural, default=default.seed, help="of orders and inputs (%(default)s)")
    text = "shape of a dynamic input; may be repeated"
    add("--shape", action="append", default=[], type=kinds.shape, metavar="NAME=1x3x32x32", help=text)
    add("--out", type=Path, metavar="FILE", help="write the report as JSON")
    add("--json", action="store_true", help="print the report as JSON")
    parser.set_defaults(command=run)


def run(options: argparse.Namespace) -> int:
    """Examine, and return the exit status."""
    if options.out is not None:
        _require_writable(options.out, options.model)
    settings = Settings(
        runtime=options.runtime or family_of_file(options.model),
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
    with tempfile.TemporaryDirectory() as folder:
        wanted = Examination(options.model, settings, dict(options.shape), options.budget_s)
        report = examine(wanted, Path(folder), _note)
    document = format_operator_report(report)
    if options.out is not None:
        _write(options.out, document)
    if options.json:
        print(document, end="")
    else:
        print(operator_table(report))
    return 0


def _require_writable(out: Path, model: Path) -> None:
    """Refuse, before the long work, an output that cannot be written or that would replace the model."""
    if out.exists() and model.exists() and out.samefile(model):
        raise BadInputError(f"--out {out} would replace the model")
    if out.is_dir() or not os.access(str(out.parent), os.W_OK):
        raise BadInputError(f"cannot write {out}: it is a folder, or its folder cannot be written")


def _write(out: Path, document: str) -> None:
    """Write a file whole or not at all."""
    temporary = out.with_name(f".{out.name}.{os.getpid()}")
    try:
        temporary.write_text(document, encoding="utf-8")
        temporary.replace(out)
    except OSError as e:
        raise BadInputError(f"cannot write {out}: {e.strerror}") from e


def _note(sentence: str) -> None:
    print(f"agent: {sentence}", file=sys.stderr)
