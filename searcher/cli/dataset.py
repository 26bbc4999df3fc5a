"""`searcher dataset`: what kernels took on devices, for models to learn from; `build` has a file of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from searcher.artifacts import sha256_of, utc_now
from searcher.cli import show
from searcher.cli.options import Json, Seed, require_other_file
from searcher.reports.datasets import added_report, card_remarks, dataset_table, fresh_error_table
from searcher.tables.dataset_card import CARD_DOCUMENT, card_beside, card_path
from searcher.tables.dataset_file import read_dataset
from searcher.tables.operators import read_sources
from searcher.workflows.dataset_files import add_operators, part_paths, split_dataset

group = typer.Typer(no_args_is_help=True, rich_markup_mode=None)
_Dataset = Annotated[Path, typer.Argument(help="A dataset, FILE.csv or FILE.parquet.")]
_PartOption = Annotated[Path | None, typer.Option(help="Instead of a file beside the dataset.")]


@group.callback()
def datasets() -> None:
    """Measure kernels for models to learn from; show, split and extend such datasets."""


@group.command("show")
def show_dataset(file: _Dataset, as_json: Json = False) -> None:
    """Read a dataset whole, and print what it holds and what its card tells."""
    rows = read_dataset(file)
    card = card_beside(file, utc_now())
    fits = card.file_sha256 == sha256_of(file)
    if as_json:
        show.document({"rows": len(rows), "card_fits": fits, "card": CARD_DOCUMENT.dump(card)})
        return
    show.result(dataset_table(rows, f"{len(rows)} kernels in {file.name}"))
    errors = fresh_error_table(card)
    if errors is not None:
        show.result(errors)
    for remark in card_remarks(card):
        show.result(remark)
    if not card_path(file).exists():
        show.result(f"there is no card {card_path(file).name} beside it")
    elif not fits:
        show.result(f"its card does not fit: {file.name} has changed since the card was written")


@group.command("split")
def split(
    file: _Dataset,
    test_share: Annotated[float, typer.Option(help="Of each type's kernels that go into the test part.")] = 0.2,
    seed: Seed = 0,
    train: _PartOption = None,
    test: _PartOption = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace files that are there.")] = False,
    as_json: Json = False,
) -> None:
    """Write a part to train on and a part to test on; near-duplicates of one never lie in the other."""
    usual = part_paths(file)
    parts = (train or usual[0], test or usual[1])
    cards = split_dataset(file, test_share, seed, parts, overwrite=overwrite)
    if as_json:
        told = {name: CARD_DOCUMENT.dump(card) for name, card in zip(("train", "test"), cards, strict=True)}
        show.document(told)
        return
    for path, card in zip(parts, cards, strict=True):
        show.result(f"wrote {card.rows} kernels to {path}, and {card_path(path).name}")


@group.command("add")
def add(
    file: _Dataset,
    from_ops: Annotated[list[Path], typer.Option("--from-ops", help="A report of `agent ops --out`; may be repeated.")],
    more: Annotated[list[Path] | None, typer.Argument(help="More reports.")] = None,
    as_json: Json = False,
) -> None:
    """Let the operators of whole models join as estimates, as far as they are kernels; begin a dataset if need be."""
    files = [*from_ops, *(more or ())]
    for report in files:
        require_other_file(file, report, "the dataset")
    card, added = add_operators(file, read_sources(files))
    if as_json:
        show.document(CARD_DOCUMENT.dump(card))
        return
    for told in added:
        show.result(added_report(told))
    show.result(f"wrote {file}: {card.rows} kernels")
