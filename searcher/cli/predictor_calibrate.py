"""`searcher predictor calibrate`: a predictor of kernels, fitted to whole networks that are drawn and measured."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from searcher.cli import options, show
from searcher.cli.reached import AS_USUAL, Reached, reaches_devices
from searcher.cost_models.kernels.predictor import PREDICTOR_DOCUMENT, KernelPredictor
from searcher.devices.device import LOCAL
from searcher.errors import BadInputError
from searcher.reports.predictors import correction_table
from searcher.workflows.calibrate_predictor import (
    MOST_MACS,
    NETWORKS,
    PredictorCalibrationRequest,
    calibrate_predictor,
)


@reaches_devices
def command(
    predictor: Annotated[Path, typer.Argument(help="A predictor of kernels that `searcher predictor train` wrote.")],
    out: Annotated[Path, typer.Option("--out", "--output", help="The predictor to write.")],
    device: options.DeviceName = LOCAL,
    networks: Annotated[int, typer.Option(help="Networks to draw and measure.")] = NETWORKS,
    most_macs: Annotated[int, typer.Option(help="Multiply-accumulates of the largest.")] = MOST_MACS,
    reached: Reached = AS_USUAL,
    precision: options.Precision = PredictorCalibrationRequest.precision_pct,
    rounds: options.Rounds = PredictorCalibrationRequest.rounds,
    samples: options.Samples = PredictorCalibrationRequest.samples,
    seed: options.Seed = 0,
    budget_s: options.Budget = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a file that is there.")] = False,
    as_json: options.Json = False,
) -> None:
    """Measure whole networks on the device, and let the predictor learn what they take beyond their kernels."""
    options.require_other_file(out, predictor)
    options.require_positive("--budget-s", budget_s)
    if out.exists() and not overwrite:
        raise BadInputError(f"{out} is there already; --overwrite replaces it")
    PREDICTOR_DOCUMENT.require_writable(out)
    request = PredictorCalibrationRequest(
        predictor=KernelPredictor.load(predictor),
        device=reached.device(device),
        networks=networks,
        seed=seed,
        most_macs=most_macs,
        precision_pct=precision,
        rounds=rounds,
        samples=samples,
        budget_s=budget_s,
    )
    file = show.run(calibrate_predictor(request))
    PREDICTOR_DOCUMENT.save(file, out)
    if file.networks is None:
        return
    if as_json:
        found = file.networks
        ratio = found.ratio(file.confidence)
        show.document({"file": str(out), "prices_ms": dict(found.prices_ms), "ratio": ratio, "errors": found.errors})
        return
    show.result(correction_table(file.networks, file.confidence))
    show.result(f"wrote {out}")
