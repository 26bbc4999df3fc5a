"""`searcher lut merge | export | import`: tables from tables, to flat files, and from files of others."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from searcher.artifacts import utc_now
from searcher.cli import show
from searcher.cli.options import Json, require_other_file
from searcher.errors import BadInputError
from searcher.reports import tables, terminal
from searcher.tables.flat import export_table as write_rows
from searcher.tables.foreign.importing import FORMATS, ImportRequest, import_file
from searcher.tables.lookup_table import TABLE_DOCUMENT, LookupTable
from searcher.tables.merge import Prefer, disagreements, merge_tables, read_tables
from searcher.tables.network_latencies import NETWORKS_DOCUMENT

_Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace a file that is there.")]


def merge(
    files: Annotated[list[Path], typer.Argument(help="Tables of one key and space.")],
    out: Annotated[Path, typer.Option(help="The table to write.")],
    prefer: Annotated[
        Prefer | None, typer.Option(help="Which entry to take where tables have different ones for a block.")
    ] = None,
    overwrite: _Overwrite = False,
    as_json: Json = False,
) -> None:
    """Make one table of several of the same key; it tells where each entry comes from."""
    _require_free(out, overwrite, files)
    read = read_tables(files)
    merged = merge_tables(read, prefer)
    TABLE_DOCUMENT.save(merged, out)
    if as_json:
        show.document(TABLE_DOCUMENT.dump(merged))
        return
    show.result(terminal.lookup_table(merged))
    apart = disagreements(read)
    if apart:
        show.result(f"intervals of {len(apart)} blocks do not overlap in all tables: {', '.join(apart)}")
    show.result(f"wrote {out}: {len(merged.entries)} blocks of {len(files)} tables")


def export_table(
    table: Annotated[Path, typer.Argument(help="The table.")],
    out: Annotated[Path, typer.Option(help="FILE.csv or FILE.parquet (needs pyarrow).")],
    overwrite: _Overwrite = False,
) -> None:
    """Write a table as flat rows, one for each block, its key and origin in each of them."""
    _require_free(out, overwrite, [table])
    loaded = TABLE_DOCUMENT.load(table)
    write_rows(loaded, out)
    show.result(f"wrote {out}: {len(loaded.entries)} rows")


def import_table(
    file: Annotated[Path, typer.Argument(help="The file; it may be packed by gzip.")],
    out: Annotated[Path, typer.Option(help="The table, or the file of network latencies, to write.")],
    foreign: Annotated[str, typer.Option("--format", help=f"One of {', '.join(FORMATS)}.")],
    space: Annotated[
        str | None, typer.Option(help="Space of the networks or blocks; nasbench201 unless given.")
    ] = None,
    column: Annotated[str | None, typer.Option(help="Which latencies, such as raspi4_ms.")] = None,
    data_set: Annotated[
        str | None, typer.Option("--data-set", help="Of HW-NAS-Bench's cells; cifar10 unless given.")
    ] = None,
    device: Annotated[str | None, typer.Option("--device", help="What the device is called.")] = None,
    overwrite: _Overwrite = False,
    as_json: Json = False,
) -> None:
    """Read what others published: block tables, or latencies of whole networks."""
    _require_free(out, overwrite, [file])
    created = utc_now()
    document = import_file(ImportRequest(file, foreign, created, space, column, data_set, device))
    if isinstance(document, LookupTable):
        TABLE_DOCUMENT.save(document, out)
        plain = TABLE_DOCUMENT.dump(document) if as_json else {}
    else:
        NETWORKS_DOCUMENT.save(document, out)
        plain = NETWORKS_DOCUMENT.dump(document) if as_json else {}
    if as_json:
        show.document(plain)
    else:
        show.result(f"wrote {out}: {tables.imported(document)}")


def _require_free(out: Path, overwrite: bool, inputs: list[Path]) -> None:
    """Refuse an output that would replace an input, or another file that nobody wants replaced."""
    for file in inputs:
        require_other_file(out, file)
    if out.exists() and not overwrite:
        raise BadInputError(f"{out} is there already; --overwrite replaces it")
