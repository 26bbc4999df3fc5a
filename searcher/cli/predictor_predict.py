"""`searcher predictor predict`: what an ONNX file, one kernel, or a network of a space takes."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated

import typer

from searcher.cli import network_models, show
from searcher.cli.options import Cells, Json
from searcher.cost_models.kernels.predictor import KernelPredictor
from searcher.errors import BadInputError
from searcher.workflows.kernel_predictors import is_kernel_predictor
from searcher.workflows.network_models import CONFIDENCE, is_network_model
from searcher.workflows.predict_kernels import predict


def command(
    model: Annotated[Path, typer.Argument(help="A file that `searcher predictor train` wrote.")],
    target: Annotated[
        str | None, typer.Argument(help="For a predictor of kernels: an ONNX file, or a block's key.")
    ] = None,
    optimization: Annotated[
        str | None, typer.Option(help="Graph optimisation that the file is to run at; refused if it is another.")
    ] = None,
    threads: Annotated[int | None, typer.Option(help="Threads that it is to run with; refused if they differ.")] = None,
    architecture: Annotated[str | None, typer.Option(help="For a model of networks: the text of one.")] = None,
    cells: Cells = None,
    confidence: Annotated[
        float | None, typer.Option(help=f"Of a network's interval; {CONFIDENCE:g} unless given.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Predict a latency, with an interval."""
    if is_kernel_predictor(model):
        if target is None or architecture is not None or cells is not None or confidence is not None:
            raise BadInputError("a predictor of kernels takes an ONNX file or a block's key, and no option of networks")
        _predict_kernels(model, target, optimization, threads, as_json)
    elif is_network_model(model):
        if architecture is None or target is not None or optimization is not None or threads is not None:
            raise BadInputError("a model of networks takes --architecture, and no file, optimisation or threads")
        chosen = CONFIDENCE if confidence is None else confidence
        network_models.predict(model, architecture, cells, chosen, as_json)
    else:
        raise network_models.no_model(model)


def _predict_kernels(path: Path, target: str, optimization: str | None, threads: int | None, as_json: bool) -> None:
    predictor = KernelPredictor.load(path)
    told = predict(predictor, target, optimization, threads)
    if as_json:
        show.document(dataclasses.asdict(told))
        return
    for kernel in told.kernels:
        low, high = kernel.interval_ms
        show.result(f"{kernel.latency_ms:10.5f} ms ({low:.5f} … {high:.5f})  {kernel.operation}  {kernel.block}")
    show.result(f"{told.call_ms:10.5f} ms  call of the runtime")
    if told.fitted:
        show.result(f"{told.beyond_ms:+10.5f} ms  what networks take beyond that")
    low, high = told.interval_ms
    share = f"{100 * told.confidence:g}%"
    held = f"with {share}, as networks have shown" if told.fitted else f"if each kernel lies in its {share} interval"
    show.result(f"{told.latency_ms:.4f} ms; between {low:.4f} and {high:.4f} ms {held}")
    if not told.fitted and len(told.kernels) > 1:
        show.result("what caches do between kernels is not in it: searcher predictor calibrate measures whole networks")
    if told.note:
        show.result(told.note)
