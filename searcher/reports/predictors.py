"""Kernel predictors as tables for a person."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from rich.table import Table

from searcher.cost_models.kernels.judging import JudgedPredictor, KernelErrors
from searcher.cost_models.kernels.predictor import PredictorFile
from searcher.cost_models.kernels.whole_networks import NetworkCorrection


def trained_table(file: PredictorFile) -> Table:
    """Return the types of a predictor, and how well each predicted kernels that it had not seen."""
    key = file.key
    title = f"Kernels on {key.device_fingerprint}: {key.runtime} {key.runtime_version}, {key.precision}"
    shown = Table(title=f"{title}, {key.threads} thread(s)", title_justify="left")
    shown.add_column("type")
    for heading in ("kernels", "within ±5%", "within ±10%", "median error"):
        shown.add_column(heading, justify="right")
    shown.add_column("form")
    for name, model in file.kernels.items():
        judged = model.judged
        shown.add_row(
            name,
            str(judged.points),
            _share(judged.within_5),
            _share(judged.within_10),
            f"{judged.median_error_pct:.1f}%",
            model.form,
        )
    shown.caption = "Errors on kernels left out in parts, each predicted from the others."
    return shown


def judged_table(judged: JudgedPredictor, confidence: float) -> Table:
    """Return a predictor's errors on kernels that it was not trained on, for each type and for all."""
    shown = Table(title="Predicted against measured, the runtime's call included", title_justify="left")
    shown.add_column("type")
    held = f"in {100 * confidence:g}% interval"
    for heading in ("kernels", "±5%", "±10%", "±20%", "mean error", "bias", held, "interval"):
        shown.add_column(heading, justify="right")
    for name, errors in judged.types.items():
        shown.add_row(name, *_cells(errors))
    shown.add_section()
    shown.add_row("all", *_cells(judged.overall))
    return shown


def correction_table(correction: NetworkCorrection, confidence: float) -> Table:
    """Return how far whole networks are from the sum of their kernels, and from what is predicted since."""
    shown = Table(title=f"{len(correction.errors)} whole networks, measured ÷ predicted", title_justify="left")
    shown.add_column("predicted by")
    for heading in ("least", "median", "greatest", "within ±10%"):
        shown.add_column(heading, justify="right")
    shown.add_row("the sum of kernels", *_ratios(correction.plain_errors))
    shown.add_row("the fit to the other networks", *_ratios(correction.errors))
    ratio = correction.ratio(confidence)
    shown.caption = f"{100 * confidence:g}% lie within a factor of {ratio:.3f} of the latter."
    return shown


def _ratios(errors: Sequence[float]) -> tuple[str, ...]:
    near = sum(abs(1 / error - 1) <= 0.1 for error in errors) / len(errors)
    ends = (min(errors), statistics.median(errors), max(errors))
    return (*(f"{error:.3f}" for error in ends), _share(near))


def _cells(errors: KernelErrors) -> tuple[str, ...]:
    return (
        str(errors.points),
        *(_share(share) for share in (errors.within_5, errors.within_10, errors.within_20)),
        f"{errors.mape:.1f}%",
        f"{errors.bias_pct:+.1f}%",
        _share(errors.coverage),
        f"±{errors.median_half_width_pct:.1f}%",
    )


def _share(share: float) -> str:
    return f"{100 * share:.1f}%"
