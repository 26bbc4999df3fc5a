"""`searcher predictor eval`: a model held against latencies that it was not trained on."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated

import typer

from searcher.cli import network_models, show
from searcher.cli.options import Json
from searcher.cost_models.kernels.predictor import KernelPredictor
from searcher.errors import BadInputError
from searcher.reports.predictors import judged_table
from searcher.workflows.kernel_predictors import is_kernel_predictor, judge_kernel_predictor
from searcher.workflows.network_models import CONFIDENCE, is_network_model

_MOST_REFUSED = 5


def command(
    model: Annotated[Path, typer.Argument(help="A file that `searcher predictor train` wrote.")],
    file: Annotated[Path, typer.Argument(help="A dataset, or latencies of networks, that it was not trained on.")],
    confidence: Annotated[
        float | None, typer.Option(help=f"Of networks' intervals; {CONFIDENCE:g} unless given.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Tell how a model's predictions agree with latencies that it has not seen."""
    if is_kernel_predictor(model):
        if confidence is not None:
            raise BadInputError("the confidence of kernels' intervals is that of the training: --confidence there")
        _evaluate_kernels(model, file, as_json)
    elif is_network_model(model):
        network_models.evaluate(model, file, CONFIDENCE if confidence is None else confidence, as_json)
    else:
        raise network_models.no_model(model)


def _evaluate_kernels(path: Path, dataset: Path, as_json: bool) -> None:
    predictor = KernelPredictor.load(path)
    evaluation = judge_kernel_predictor(predictor, dataset)
    if as_json:
        show.document({**dataclasses.asdict(evaluation), "confidence": predictor.confidence})
        return
    show.result(judged_table(evaluation.judged, predictor.confidence))
    left_out = (
        (evaluation.trained_on, "which it was trained on"),
        (evaluation.near, "near-duplicates of what it was trained on"),
        (evaluation.other_keys, "measured under other conditions"),
        (evaluation.estimates, "estimates from whole models"),
    )
    for count, what in left_out:
        if count:
            show.result(f"left out: {count} rows, {what}")
    refused = list(evaluation.judged.refused.values())
    for why in refused[:_MOST_REFUSED]:
        show.result(f"refused: {why}")
    if len(refused) > _MOST_REFUSED:
        show.result(f"refused: {len(refused) - _MOST_REFUSED} more")
