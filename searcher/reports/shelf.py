"""What became of each board of a shelf: for a person in the terminal, and as plain data."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rich.table import Table

from searcher.devices.transport import printable
from searcher.errors import SearcherError

COMPLETE, FAILED, LEFT_OUT = "complete", "failed", "left out"
_KILO = 1000.0


class IncompleteShelfError(SearcherError):
    """Not every board of a shelf did what it was to do."""


@dataclass(frozen=True)
class BoardReport:
    """What became of one board.

    Attributes:
        name: of the board.
        device: how it is reached.
        state: `complete`, `failed`, or `left out` for a board that is not like those it was to share a table with.
        reason: why it is not complete; None if it is.
        notes: what else is to be known of it: where a partial result lies, and how its job can go on.
        blocks: how many blocks tables have from it now.
        seconds: how long it was at work, waiting for the device included.
        sent_bytes: bytes that were sent to it.
        table: file of its own table; None where there is none.
    """

    name: str
    device: str
    state: str
    reason: str | None
    notes: tuple[str, ...]
    blocks: int
    seconds: float
    sent_bytes: int
    table: str | None


@dataclass(frozen=True)
class ShelfReport:
    """What became of a shelf.

    Attributes:
        boards: in the order in which they were named.
        seconds: from the first board's beginning to the last one's end.
        table: file of the table that they share; None where each has its own, and where there is none.
        problem: why there is no table that they share; None if there is, or was to be none.
    """

    boards: tuple[BoardReport, ...]
    seconds: float
    table: str | None = None
    problem: str | None = None

    @property
    def complete(self) -> int:
        """How many boards are complete."""
        return sum(board.state == COMPLETE for board in self.boards)

    def require_complete(self) -> None:
        """Raise IncompleteShelfError unless every board is complete, and the table that they share is there."""
        if self.problem is not None:
            raise IncompleteShelfError(self.problem)
        others = [board for board in self.boards if board.state != COMPLETE]
        if others:
            more = f" (and {len(others) - 1} more)" if len(others) > 1 else ""
            raise IncompleteShelfError(
                f"{self.complete} of {len(self.boards)} boards are complete; {others[0].name}{more}: {others[0].reason}"
            )


def shelf_document(report: ShelfReport) -> dict[str, Any]:
    """Return a report as JSON-ready plain data."""
    return {
        "devices": len(report.boards),
        "complete": report.complete,
        "seconds": round(report.seconds, 1),
        "sent_bytes": sum(board.sent_bytes for board in report.boards),
        "table": report.table,
        "problem": report.problem,
        "boards": [{**dataclasses.asdict(board), "seconds": round(board.seconds, 1)} for board in report.boards],
    }


def shelf_table(report: ShelfReport) -> Table:
    """Return a report as a table."""
    title = f"{report.complete} of {len(report.boards)} boards complete after {duration(report.seconds)}"
    shown = Table(title=title, title_justify="left")
    for name, right in (("board", 0), ("device", 0), ("", 0), ("blocks", 1), ("time", 1), ("sent", 1), ("", 0)):
        shown.add_column(name, overflow="fold", justify="right" if right else "left")
    for board in report.boards:
        shown.add_row(
            board.name,
            board.device,
            board.state,
            str(board.blocks),
            duration(board.seconds),
            size(board.sent_bytes),
            _told(board),
        )
    return shown


def _told(board: BoardReport) -> str:
    said: Sequence[str] = [board.table or ""] if board.reason is None else [board.reason, *board.notes]
    return printable("\n".join(said))


def duration(seconds: float) -> str:
    """Return a duration as people say it."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def size(size_bytes: int) -> str:
    """Return a size as people say it, in decimal units."""
    value, unit = float(size_bytes), "B"
    for larger in ("kB", "MB", "GB"):
        if value < _KILO:
            break
        value, unit = value / _KILO, larger
    return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
