"""`searcher lut`: look into lookup tables."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from searcher.cli import show
from searcher.cli.options import Json
from searcher.reports import terminal
from searcher.tables.lookup_table import TABLE_DOCUMENT

group = typer.Typer(no_args_is_help=True, rich_markup_mode=None)


@group.callback()
def tables() -> None:
    """Look into lookup tables."""


@group.command("show")
def show_table(
    file: Annotated[Path, typer.Argument(help="A table that `searcher profile` wrote.")], as_json: Json = False
) -> None:
    """Print a table's blocks with their latencies and intervals."""
    table = TABLE_DOCUMENT.load(file)
    if as_json:
        show.document(TABLE_DOCUMENT.dump(table))
    else:
        show.result(terminal.lookup_table(table))
