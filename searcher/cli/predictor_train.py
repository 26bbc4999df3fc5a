"""`searcher predictor train`: a model of kernels from a dataset, or of whole networks from their latencies."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from searcher.artifacts import utc_now
from searcher.cli import network_models, show
from searcher.cli.options import Json, Seed, require_other_file
from searcher.cost_models.kernels.predictor import PREDICTOR_DOCUMENT
from searcher.errors import BadInputError
from searcher.reports.predictors import trained_table
from searcher.workflows.kernel_predictors import (
    CONFIDENCE,
    TrainingRequest,
    conditions_of,
    is_kernel_dataset,
    train_kernel_predictor,
)
from searcher.workflows.network_models import is_network_latencies

_WHERE = "FIELD=VALUE of the table key, such as threads=1: of a dataset of several keys, the rows to train on."


def command(
    file: Annotated[Path, typer.Argument(help="A dataset of kernels, or latencies of whole networks.")],
    out: Annotated[Path, typer.Option("--out", "--output", help="The model to write.")],
    where: Annotated[list[str] | None, typer.Option(help=_WHERE)] = None,
    confidence: Annotated[
        float | None, typer.Option(help=f"Of kernels' intervals; {CONFIDENCE:g} unless given.")
    ] = None,
    seed: Seed = 0,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a file that is there.")] = False,
    as_json: Json = False,
) -> None:
    """Train a model on measured latencies and store it, without pickle."""
    if is_kernel_dataset(file):
        _train_kernels(
            file, out, where or (), CONFIDENCE if confidence is None else confidence, seed, overwrite, as_json
        )
        return
    if not is_network_latencies(file):
        raise BadInputError(
            f"nothing can be trained on {file}: it is neither a dataset of kernels (FILE.csv, FILE.parquet) nor a file "
            "of network latencies"
        )
    if where or confidence is not None:
        raise BadInputError("--where and --confidence go with datasets of kernels")
    network_models.train(file, out, overwrite, as_json)


def _train_kernels(
    dataset: Path, out: Path, where: Sequence[str], confidence: float, seed: int, overwrite: bool, as_json: bool
) -> None:
    require_other_file(out, dataset)
    if out.exists() and not overwrite:
        raise BadInputError(f"{out} is there already; --overwrite replaces it")
    PREDICTOR_DOCUMENT.require_writable(out)
    created = utc_now()
    request = TrainingRequest(dataset, conditions_of(where), confidence, seed, created)
    file = show.run(train_kernel_predictor(request))
    PREDICTOR_DOCUMENT.save(file, out)
    if as_json:
        judged = {name: dataclasses.asdict(model.judged) for name, model in file.kernels.items()}
        forms = {name: model.form for name, model in file.kernels.items()}
        show.document({"file": str(out), "judged": judged, "forms": forms, "left_out": dict(file.left_out)})
        return
    show.result(trained_table(file))
    for name, why in file.left_out.items():
        show.result(f"{name} is left out: {why}")
    show.result(f"wrote {out}")
