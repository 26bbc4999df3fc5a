"""Kernel predictors as tables for a person."""

from __future__ import annotations

from rich.table import Table

from searcher.cost_models.kernels.judging import JudgedPredictor, KernelErrors
from searcher.cost_models.kernels.predictor import PredictorFile


def trained_table(file: PredictorFile) -> Table:
    """Return the types of a predictor, and how well each foretold kernels that it had not seen."""
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
    shown.caption = "Errors on kernels left out in parts, each foretold from the others."
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
