"""How subcommands show progress and results: bars and notes on standard error, results on standard output."""

from __future__ import annotations

import json
import sys
from typing import Any, TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as Bars

from searcher.workflows.progress import Progress, Work

Result = TypeVar("Result")

# Wide enough for an architecture's text where there is no terminal to ask.
_PIPED_WIDTH = 200


def run(work: Work[Result]) -> Result:
    """Carry out work, showing each stage as a bar with its remaining time, and return its result."""
    console = Console(stderr=True, highlight=False)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("remaining"),
        TimeRemainingColumn(),
    )
    stages: dict[str, TaskID] = {}
    # Without a terminal a bar would be drawn once, at the end; lines tell more.
    with Bars(*columns, console=console, disable=not console.is_terminal) as bars:
        while True:
            try:
                progress = next(work)
            except StopIteration as finished:
                result: Result = finished.value
                return result
            _show(progress, bars, stages, console)


def _show(progress: Progress, bars: Bars, stages: dict[str, TaskID], console: Console) -> None:
    if progress.note:
        console.print(progress.note, markup=False)
    if progress.stage not in stages:
        stages[progress.stage] = bars.add_task(progress.stage, total=progress.total)
        if not console.is_terminal:
            console.print(f"{progress.stage} …", markup=False)
    bars.update(stages[progress.stage], completed=progress.done, total=progress.total)


def result(shown: Any) -> None:
    """Print a table or a sentence for a person."""
    width = None if sys.stdout.isatty() else _PIPED_WIDTH
    Console(width=width, highlight=False).print(shown, markup=False)


def document(content: Any) -> None:
    """Print one JSON document."""
    sys.stdout.write(json.dumps(content, indent=2, ensure_ascii=False) + "\n")
