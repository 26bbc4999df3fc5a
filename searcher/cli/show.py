"""How subcommands show progress and results: bars and notes on standard error, results on standard output."""

from __future__ import annotations

import contextlib
import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as Bars

from searcher.reports import shelf, terminal
from searcher.reports.shelf import ShelfReport
from searcher.tables.journal import journal_path
from searcher.tables.lookup_table import TABLE_DOCUMENT, LookupTable
from searcher.workflows.progress import Progress, Work

Result = TypeVar("Result")

# Wide enough for an architecture's text where there is no terminal to ask.
_PIPED_WIDTH = 200
_LINE_EVERY_S = 10.0
_MOST_BARS = 16


class _Screen(Protocol):
    """Shows progress: bars on a terminal, lines in a log."""

    def show(self, progress: Progress) -> None: ...


def run(work: Work[Result]) -> Result:
    """Carry out work, showing each stage with its remaining time, and return its result.

    What an error's notes say of it, such as where a partial result lies, is shown too.
    """
    console = Console(stderr=True, highlight=False)
    try:
        return _shown(work, console)
    except BaseException as e:
        for note in getattr(e, "__notes__", ()):
            console.print(note, markup=False, soft_wrap=True)
        raise


def _shown(work: Work[Result], console: Console) -> Result:
    if not console.is_terminal:
        return _follow(work, _Lines(console))
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("remaining"),
        TimeRemainingColumn(),
    )
    with Bars(*columns, console=console) as bars:
        return _follow(work, _Bars(bars))


def _follow(work: Work[Result], screen: _Screen) -> Result:
    # Closed whatever happens, so that an interrupted job ends on the device too.
    with contextlib.closing(work):
        while True:
            try:
                progress = next(work)
            except StopIteration as finished:
                result: Result = finished.value
                return result
            try:
                screen.show(progress)
            except KeyboardInterrupt as e:
                # It belongs to the work, which says what becomes of a job that is interrupted.
                work.throw(e)


class _Bars:
    def __init__(self, bars: Bars) -> None:
        self._bars = bars
        self._stages: dict[str, TaskID] = {}

    def show(self, progress: Progress) -> None:
        if progress.note:
            self._bars.console.print(progress.note, markup=False)
        if progress.stage not in self._stages:
            self._stages[progress.stage] = self._bars.add_task(progress.stage, total=None)
        # A long shelf would not fit on the screen: what is finished makes room.
        visible = len(self._stages) <= _MOST_BARS or progress.done < progress.total
        # As long as nothing is told of the work, it is not known how much there will be.
        total = progress.total or None
        self._bars.update(self._stages[progress.stage], completed=progress.done, total=total, visible=visible)


@dataclass
class _Stage:
    began_s: float
    said_s: float | None
    done: int = 0
    finished: bool = False


class _Lines:
    """One line when a stage begins and one now and then while it goes on: a bar would fill a log.

    Of several stages at once each gets its lines, the less often the more there are.
    """

    def __init__(self, console: Console, clock_s: Callable[[], float] = time.monotonic) -> None:
        self._console = console
        self._clock_s = clock_s
        self._stages: dict[str, _Stage] = {}

    def show(self, progress: Progress) -> None:
        now_s = self._clock_s()
        if progress.note:
            self._say(progress.note)
        stage = self._stages.setdefault(progress.stage, _Stage(now_s, None))
        if progress.done < stage.done:
            # The same stage once more: the next job, or a board that takes over what another did not bring to an end.
            # Nothing can be said of its time before some of it has passed.
            stage.began_s = now_s
            stage.said_s = now_s
        stage.done = progress.done
        if stage.said_s is None:
            stage.said_s = now_s
            self._say(f"{progress.stage} …")
        elif 0 < progress.done < progress.total and now_s - stage.said_s >= _LINE_EVERY_S * self._unfinished():
            stage.said_s = now_s
            remaining_s = (now_s - stage.began_s) * (progress.total - progress.done) / progress.done
            self._say(f"{progress.stage}: {progress.done} of {progress.total}, about {remaining_s:.0f} s remaining")
        stage.finished = progress.done >= progress.total

    def _unfinished(self) -> int:
        return max(1, sum(not stage.finished for stage in self._stages.values()))

    def _say(self, text: str) -> None:
        self._console.print(text, markup=False, soft_wrap=True)


def result(shown: Any) -> None:
    """Print a table or a sentence for a person; a sentence stays one line, which a terminal may wrap."""
    width = None if sys.stdout.isatty() else _PIPED_WIDTH
    Console(width=width, highlight=False).print(shown, markup=False, soft_wrap=isinstance(shown, str))


def written_table(table: LookupTable, path: Path, as_json: bool) -> None:
    """Print a table that was just written, and where."""
    if as_json:
        document(TABLE_DOCUMENT.dump(table))
    else:
        result(terminal.lookup_table(table))
        result(f"wrote {path} and {journal_path(path)}")


def shelf_report(report: ShelfReport, as_json: bool) -> None:
    """Print what became of each board of a shelf."""
    if as_json:
        document(shelf.shelf_document(report))
    else:
        result(shelf.shelf_table(report))
        if report.table is not None:
            result(f"wrote {report.table}")


def document(content: Any) -> None:
    """Print one JSON document; where the output is not UTF-8, other signs than ASCII's are escaped."""
    encoding = (sys.stdout.encoding or "").lower().replace("-", "")
    sys.stdout.write(json.dumps(content, indent=2, ensure_ascii=encoding != "utf8", allow_nan=False) + "\n")
