"""`searcher lut diff | validate`: what differs between two tables, and whether tables can be believed."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from searcher.cli import show
from searcher.cli.options import Json
from searcher.reports import tables
from searcher.tables.diff import diff_document
from searcher.tables.diff import diff_tables as compared
from searcher.tables.lookup_table import TABLE_DOCUMENT
from searcher.tables.validate import require_valid, validate_table, validation_document


def diff_tables(
    before: Annotated[Path, typer.Argument(help="The first table.")],
    after: Annotated[Path, typer.Argument(help="The second.")],
    exit_code: Annotated[
        bool, typer.Option("--exit-code", help="Exit status 1 if blocks changed, come or go, or the keys differ.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Tell which blocks changed beyond their intervals, whether all drifted together, and what else differs."""
    diff = compared(TABLE_DOCUMENT.load(before), TABLE_DOCUMENT.load(after))
    if as_json:
        show.document(diff_document(diff))
    else:
        show.result(tables.diff_headline(diff))
        table = tables.diff_table(diff)
        if table is not None:
            show.result(table)
        for remark in tables.diff_remarks(diff):
            show.result(remark)
    if exit_code:
        diff.require_none()


def validate_tables(
    files: Annotated[list[Path], typer.Argument(help="Tables.")],
    as_json: Json = False,
) -> None:
    """Check tables and the journals beside them, one line a finding; exit status 1 if there is an error."""
    validations = [validate_table(file) for file in files]
    if as_json:
        show.document(validation_document(validations))
    else:
        for line in tables.validation_lines(validations):
            show.result(line)
    require_valid(validations)
