"""`searcher lut complete`: blocks that a table lacks, predicted by a predictor of kernels."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from searcher.cli import options, show
from searcher.errors import BadInputError
from searcher.reports import terminal
from searcher.spaces.catalogue import space_named
from searcher.tables.lookup_table import TABLE_DOCUMENT
from searcher.tables.merge import read_tables
from searcher.workflows.complete_table import CompletionRequest, complete_table, read_predictor


def complete(
    predictor: Annotated[Path, typer.Option(help="A predictor of kernels, under the conditions of the table.")],
    out: Annotated[Path, typer.Option("--out", "--output", help="The table to write.")],
    lut: Annotated[
        Path | None, typer.Option(help="The table whose measured blocks stay; without it all blocks are predicted.")
    ] = None,
    space: options.Space = "nasbench201",
    channels: options.Channels = None,
    classes: options.Classes = None,
    image_size: options.ImageSize = None,
    data: options.Data = "digits",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a file that is there.")] = False,
    as_json: options.Json = False,
) -> None:
    """Write a table of all blocks of a space: measured where they were, else predicted, and marked so."""
    for file in (predictor, *([] if lut is None else [lut])):
        options.require_other_file(out, file)
    if out.exists() and not overwrite:
        raise BadInputError(f"{out} is there already; --overwrite replaces it")
    wanted = space_named(space, None, classes, image_size, channels)
    source = None if lut is None else read_tables([lut])[0]
    request = CompletionRequest(wanted, read_predictor(predictor), source, data)
    TABLE_DOCUMENT.require_writable(out)
    table = show.run(complete_table(request))
    TABLE_DOCUMENT.save(table, out)
    if as_json:
        show.document(TABLE_DOCUMENT.dump(table))
    else:
        show.result(terminal.lookup_table(table))
        show.result(f"wrote {out}: {len(table.entries)} blocks, {len(table.predicted)} of them predicted")
