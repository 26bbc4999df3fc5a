"""The `agent` command: measures models on this machine and tells what the machine is."""

from __future__ import annotations

import signal

# An interrupt while modules load ends the process at once, instead of with their traceback.
signal.signal(signal.SIGINT, signal.SIG_DFL)

import argparse  # noqa: E402
import errno  # noqa: E402
import io  # noqa: E402
import os  # noqa: E402
import sys  # noqa: E402
import traceback  # noqa: E402
from typing import Optional, Sequence  # noqa: E402

from profiler_agent import __version__, interrupts  # noqa: E402
from profiler_agent.commands import compare, doctor, info, job, measure, ops  # noqa: E402
from profiler_agent.errors import AgentError  # noqa: E402

_INTERRUPTED = 130
_COMMANDS = (
    ("measure", measure.add_options, "measure the latency of models"),
    ("ops", ops.add_options, "what each operator of a model costs"),
    ("compare", compare.add_options, "compare two journals block by block"),
    ("doctor", doctor.add_options, "what would disturb a measurement here, and how to mend it"),
    ("job", job.add_options, "jobs that outlive the connection of a host"),
    ("info", info.add_options, "what this machine is and which runtimes work here"),
)


def main(arguments: Optional[Sequence[str]] = None) -> None:
    """Run the command and end the process with its exit status."""
    try:
        # A device that hangs up must end the worker too.
        interrupts.raise_on_interrupts()
        if sys.stdout is None:  # closed by whoever started the agent
            sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 - for as long as the process lives
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, io.TextIOWrapper):
                stream.reconfigure(errors="replace")
        status = _status(arguments)
    except KeyboardInterrupt:
        status = _INTERRUPTED
    # Nothing is left to clean up, and nobody to catch an exception.
    interrupts.end_on_interrupts()
    sys.exit(status)


def _status(arguments: Optional[Sequence[str]]) -> int:
    options = _parser().parse_args(arguments)
    try:
        return _run(options)
    except AgentError as e:
        if options.verbose:
            traceback.print_exc()
        else:
            print(f"agent: {e}", file=sys.stderr)
        return e.exit_status
    except BrokenPipeError:
        _drop_output()
        return 1
    except Exception as e:
        if options.verbose:
            raise
        if isinstance(e, OSError) and e.errno == errno.ENOSPC and e.filename is None:
            _drop_output()
            print("agent: cannot write the results: no space is left where they go", file=sys.stderr)
        else:
            print(f"agent: unexpected {type(e).__name__}: {e}; --verbose shows where", file=sys.stderr)
        return 1


def _run(options: argparse.Namespace) -> int:
    try:
        status: int = options.command(options)
        sys.stdout.flush()
        return status
    except Exception:
        interrupts.check()  # an interrupted import may fail with any exception
        raise


def _drop_output() -> None:
    """Send what is still buffered nowhere: the interpreter would complain again when it flushes at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="agent", description=__doc__)
    parser.add_argument("--version", action="version", version=f"agent {__version__}")
    parser.add_argument("--verbose", action="store_true", help="show tracebacks")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for name, add_options, help_text in _COMMANDS:
        add_options(commands.add_parser(name, help=help_text))
    return parser


if __name__ == "__main__":
    main()
