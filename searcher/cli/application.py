"""The `searcher` command: finds the subcommand that is meant, runs it, and turns errors into exit statuses."""

from __future__ import annotations

import errno
import importlib
import io
import os
import signal
import sys
import traceback
from collections.abc import Sequence
from typing import Annotated, NoReturn

import typer

from searcher.errors import SearcherError

# Name, module, help. Only the chosen module is imported: most of them need seconds for torch.
_COMMANDS = (
    ("blocks", "searcher.cli.blocks", "List the blocks that a space is cut into, or those of one architecture."),
    ("export", "searcher.cli.export", "Write blocks or one whole network as ONNX or TFLite files."),
    ("profile", "searcher.cli.profile", "Measure a space's blocks on a device and write a lookup table."),
    ("calibrate", "searcher.cli.calibrate", "Fit a lookup table to whole networks, and tell how wrong it may be."),
    ("search", "searcher.cli.search", "Search for architectures under limits on latency and other costs with GA+RMI."),
    ("train", "searcher.cli.train", "Train one architecture properly, export it, and measure it on a device."),
    ("verify", "searcher.cli.verify", "Measure the best candidates of a search whole, on the device."),
    ("demo", "searcher.cli.demo", "Profile, search and verify on this machine within a time budget."),
)
_GROUPS = (
    ("darts", "searcher.cli.darts", "Search for a family of architectures in one run; list it, and measure it."),
    ("dataset", "searcher.cli.dataset", "Measure kernels for models to learn from; show, split and extend them."),
    ("lut", "searcher.cli.lut", "Look into lookup tables; build, complete, compare, merge, check and exchange them."),
    ("predictor", "searcher.cli.predictor", "Train, judge and ask models of latency; a new device from few networks."),
    ("devices", "searcher.cli.devices", "List and show device profiles; tell what works on a device."),
    ("jobs", "searcher.cli.jobs", "Jobs on devices, begun earlier or carried there: list, attach, cancel, import."),
)
# Of a group, those that need more than the others: loaded only when they are chosen.
_GROUP_COMMANDS = (
    ("dataset", "build", "searcher.cli.dataset_build", "Measure kernels in rounds, more where predictions fail."),
    ("jobs", "export", "searcher.cli.export_job", "Write a job as a folder that can be carried to a device."),
    ("predictor", "train", "searcher.cli.predictor_train", "Train a model of kernels, or of whole networks."),
    ("predictor", "measure", "searcher.cli.predictor_measure", "Measure latencies of whole networks on a device."),
    ("predictor", "calibrate", "searcher.cli.predictor_calibrate", "Fit a model of kernels to whole networks."),
    ("predictor", "eval", "searcher.cli.predictor_eval", "Hold a model against latencies that it has not seen."),
    ("predictor", "predict", "searcher.cli.predictor_predict", "Predict an ONNX file, a kernel or a network."),
)
_OTHER_NAMES = {"job": "jobs"}
_DEFECT = 1
_INTERRUPTED = 130


def run(arguments: Sequence[str]) -> NoReturn:
    """Run the command line and end the process with its exit status."""
    signal.signal(signal.SIGTERM, _interrupt)
    _print_whatever_can_be_printed()
    verbose = "--verbose" in arguments[:1]
    try:
        _carry_out(arguments)
    except SearcherError as e:
        if verbose:
            traceback.print_exc()
        else:
            sys.stderr.write(f"searcher: {e}\n")
        sys.exit(e.exit_status)
    except BrokenPipeError:
        _drop_output()
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(_INTERRUPTED)
    except Exception as e:
        # The last resort: a defect is one sentence too.
        if verbose:
            raise
        if isinstance(e, OSError) and e.errno == errno.ENOSPC and e.filename is None:
            _drop_output()
            sys.stderr.write("searcher: cannot write the results: no space is left where they go\n")
            sys.exit(_DEFECT)
        said = " ".join(str(e).split())
        sys.stderr.write(f"searcher: unexpected {type(e).__name__}: {said}; --verbose shows where\n")
        sys.exit(_DEFECT)
    sys.exit(0)


def _carry_out(arguments: Sequence[str]) -> None:
    try:
        named = _with_usual_name(arguments)
        _build(named)(args=named, prog_name="searcher")
    finally:
        # Here rather than when the interpreter ends, where nobody could say that the output takes nothing.
        sys.stdout.flush()


def _with_usual_name(arguments: Sequence[str]) -> list[str]:
    """Return the arguments with the subcommand under the name that it has here."""
    place = next((index for index, argument in enumerate(arguments) if not argument.startswith("-")), None)
    if place is None:
        return list(arguments)
    chosen = arguments[place]
    return [*arguments[:place], _OTHER_NAMES.get(chosen, chosen), *arguments[place + 1 :]]


def _drop_output() -> None:
    """Send what is still buffered nowhere: the interpreter would complain again when it flushes at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _print_whatever_can_be_printed() -> None:
    """Let a terminal or a file that lacks a sign get another instead of ending the command.

    Closed streams, whose results nobody wants, become the null device.
    """
    if sys.stdout is None:
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 - for as long as the process lives
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 - for as long as the process lives
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def _interrupt(_number: int, _frame: object) -> None:
    raise KeyboardInterrupt


def _build(arguments: Sequence[str]) -> typer.Typer:
    chosen, chosen_in_group = [*(argument for argument in arguments if not argument.startswith("-")), None, None][:2]
    application = typer.Typer(
        help="Find architectures that are accurate and fast on your device.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
    )

    @application.callback()
    def options(
        verbose: Annotated[bool, typer.Option(help="Show tracebacks; stands before the subcommand.")] = False,
    ) -> None:
        """Find architectures that are accurate and fast on your device."""

    for name, module, text in _COMMANDS:
        function = importlib.import_module(module).command if name == chosen else _not_loaded
        application.command(name, help=text)(function)
    for name, module, text in _GROUPS:
        group = importlib.import_module(module).group if name == chosen else typer.Typer()
        for owner, command, command_module, command_text in _GROUP_COMMANDS:
            if owner == name == chosen:
                wanted = command == chosen_in_group
                function = importlib.import_module(command_module).command if wanted else _not_loaded
                group.command(command, help=command_text)(function)
        application.add_typer(group, name=name, help=text)
    return application


def _not_loaded() -> None:
    """Stand in for a subcommand that this call does not run."""
