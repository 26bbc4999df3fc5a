"""`searcher blocks`: what a space, or one architecture of it, is made of."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.table import Table

from searcher.cli import show
from searcher.cli.options import Cells, Json, Space
from searcher.spaces.catalogue import space_named
from searcher.spaces.survey_formulas import SURVEY, survey_flops, survey_parameters


def command(
    architecture: Annotated[str | None, typer.Argument(help="An architecture's text; none for the space.")] = None,
    space: Space = "nasbench201",
    cells: Cells = 5,
    as_json: Json = False,
) -> None:
    """List blocks with how often one pass executes each."""
    searched = space_named(space, cells)
    if architecture is None:
        counts: dict[str, int | None] = {block.key: None for block in searched.all_blocks()}
        facts, printed = {}, {}
    else:
        parsed = searched.parse(architecture)
        counts = {block.key: count for block, count in searched.blocks(parsed).items()}
        facts = {
            "parameters": searched.parameters(parsed),
            "macs": searched.macs(parsed),
            "computation": searched.computation(parsed).text,
        }
        printed = {"flops": survey_flops(searched, parsed), "parameters": survey_parameters(searched, parsed)}
    if as_json:
        survey = {"survey_formulas": {"source": SURVEY, **printed}} if printed else {}
        show.document({"space": space, "architecture": architecture, "blocks": counts, **facts, **survey})
        return
    table = Table("block", "count") if architecture else Table("block")
    for key, count in counts.items():
        table.add_row(key, *([] if count is None else [str(count)]))
    show.result(table)
    for name, value in facts.items():
        show.result(f"{name}: {value:,}" if isinstance(value, int) else f"{name}: {value}")
    for name, value in printed.items():
        show.result(f"{name} by the formulas of {SURVEY}: {value:,}")
