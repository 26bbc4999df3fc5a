"""`searcher blocks`: what a space, or one architecture of it, is made of."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.table import Table

from searcher.cli import show
from searcher.cli.options import Cells, Channels, Classes, ImageSize, Json, Space
from searcher.spaces.architecture import Architecture
from searcher.spaces.catalogue import space_named
from searcher.spaces.darts import DartsSpace
from searcher.spaces.fbnet import FBNet
from searcher.spaces.nasbench201 import NasBench201
from searcher.spaces.survey_formulas import SURVEY, survey_flops, survey_parameters


def command(
    architecture: Annotated[str | None, typer.Argument(help="An architecture's text; none for the space.")] = None,
    space: Space = "nasbench201",
    cells: Cells = None,
    channels: Channels = None,
    classes: Classes = None,
    image_size: ImageSize = None,
    as_json: Json = False,
) -> None:
    """List blocks with how often one pass executes each."""
    searched = space_named(space, cells, classes, image_size, channels)
    if architecture is None:
        counts: dict[str, int | None] = {block.key: None for block in searched.all_blocks()}
        facts, printed = {}, {}
    else:
        parsed = searched.parse(architecture)
        counts = {block.key: count for block, count in searched.blocks(parsed).items()}
        facts, printed = _facts(searched, parsed), _survey(searched, parsed)
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


def _facts(space: NasBench201 | FBNet | DartsSpace, architecture: Architecture) -> dict[str, int | str]:
    counted: dict[str, int | str] = {"parameters": space.parameters(architecture), "macs": space.macs(architecture)}
    if isinstance(space, NasBench201):
        return {**counted, "computation": space.computation(architecture).text}
    if isinstance(space, FBNet):
        return {**counted, "layers": " ".join(space.choices(architecture))}
    return counted


def _survey(space: NasBench201 | FBNet | DartsSpace, architecture: Architecture) -> dict[str, int]:
    """Return the counts by the survey's formulas, which know no groups and are for NAS-Bench-201 alone."""
    if not isinstance(space, NasBench201):
        return {}
    return {"flops": survey_flops(space, architecture), "parameters": survey_parameters(space, architecture)}
