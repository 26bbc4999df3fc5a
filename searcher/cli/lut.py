"""`searcher lut`: look into lookup tables, build them from the operators of models; its other subcommands."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from searcher.artifacts import require_writable, utc_now, write_text
from searcher.cli import lut_checks, lut_complete, lut_files, show
from searcher.cli.options import Json, require_other_file
from searcher.devices.device import LOCAL
from searcher.errors import BadInputError
from searcher.reports import terminal
from searcher.tables.lookup_table import TABLE_DOCUMENT
from searcher.tables.operators import operator_rows, operator_table, read_sources

group = typer.Typer(no_args_is_help=True, rich_markup_mode=None)


@group.callback()
def tables() -> None:
    """Look into lookup tables; build, complete, compare, merge, check and exchange them."""


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


@group.command("build")
def build_table(
    from_ops: Annotated[list[Path], typer.Option("--from-ops", help="A report of `agent ops --out`; may be repeated.")],
    more: Annotated[list[Path] | None, typer.Argument(help="More reports.")] = None,
    out: Annotated[Path | None, typer.Option(help="The table to write.")] = None,
    rows: Annotated[Path | None, typer.Option(help="A CSV file to write: one row for each operator.")] = None,
    device: Annotated[str, typer.Option("--device", help="What the device is called.")] = LOCAL,
    as_json: Json = False,
) -> None:
    """Make a table, or rows of a dataset, of the operators of models that `agent ops` looked into."""
    if out is None and rows is None:
        raise BadInputError("nothing to write: give --out TABLE, --rows FILE.csv or both")
    files = [*from_ops, *(more or ())]
    for target in filter(None, (out, rows)):
        for file in files:
            require_other_file(target, file)
    sources = read_sources(files)
    if rows is not None:
        require_writable(rows, "dataset")
    if out is not None:
        created = utc_now()
        table = operator_table(sources, device, created)
        TABLE_DOCUMENT.save(table, out)
        if as_json:
            show.document(TABLE_DOCUMENT.dump(table))
        else:
            show.result(terminal.lookup_table(table))
            show.result(f"wrote {out}: estimates from {len(sources)} models, not measured alone")
    if rows is not None:
        write_text(rows, operator_rows(sources))
        if not as_json:
            show.result(f"wrote {rows}")


group.command("diff")(lut_checks.diff_tables)
group.command("validate")(lut_checks.validate_tables)
group.command("merge")(lut_files.merge)
group.command("complete")(lut_complete.complete)
group.command("export")(lut_files.export_table)
group.command("import")(lut_files.import_table)
