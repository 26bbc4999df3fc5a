"""What `searcher predictor train | eval | predict` do with whole networks: latencies of them, and models of these."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from searcher.artifacts import utc_now
from searcher.cli import show
from searcher.cli.options import require_other_file
from searcher.cost_models.network_model import NETWORK_MODEL_DOCUMENT
from searcher.devices.transport import printable
from searcher.errors import BadInputError
from searcher.workflows.network_models import (
    judge_network_model,
    predict_network,
    train_network_model,
)


def no_model(path: Path) -> BadInputError:
    """Return why a file is neither a predictor of kernels nor a model of networks."""
    try:
        path.read_bytes()
    except OSError as e:
        return BadInputError(f"cannot read the model {path}: {e.strerror or e}")
    return BadInputError(f"{path} is no model that searcher predictor train wrote")


def train(networks: Path, out: Path, overwrite: bool, as_json: bool) -> None:
    """Fit a model to a file of network latencies and write it.

    Raises:
        BadInputError: the file cannot be used, or `out` is in the way.
    """
    require_other_file(out, networks)
    if out.exists() and not overwrite:
        raise BadInputError(f"{out} is there already; --overwrite replaces it")
    NETWORK_MODEL_DOCUMENT.require_writable(out)
    created = utc_now()
    model = train_network_model(networks, created)
    NETWORK_MODEL_DOCUMENT.save(model, out)
    if as_json:
        show.document(NETWORK_MODEL_DOCUMENT.dump(model))
    else:
        told = f"latencies of {model.space} on {printable(model.device)}, fitted to {model.sample.networks} networks"
        show.result(f"wrote {out}: {told}")


def evaluate(model: Path, networks: Path, confidence: float, as_json: bool) -> None:
    """Print how a model's predictions agree with networks that it was not fitted to.

    Raises:
        BadInputError: a file cannot be used.
    """
    judged = judge_network_model(NETWORK_MODEL_DOCUMENT.load(model), networks, confidence)
    if as_json:
        show.document(dataclasses.asdict(judged))
        return
    counts = ((judged.disconnected, "disconnected ones"), (judged.trained_on, "that it was fitted to"))
    left_out = "".join(f", {count} {which} left out" for count, which in counts if count)
    show.result(f"{judged.networks} networks of {judged.space} on {printable(judged.device)}{left_out}")
    show.result(
        f"mean error {judged.mape_pct:.1f}%; within 5%: {100 * judged.within_5_share:.1f}%, within 10%: "
        f"{100 * judged.within_10_share:.1f}%"
    )
    ranks = ("rank correlation", judged.spearman), ("Kendall's tau", judged.kendall_tau)
    show.result("; ".join(f"{name} {'unknown' if value is None else f'{value:.3f}'}" for name, value in ranks))
    show.result(
        f"intervals of {100 * judged.confidence:g}% hold {100 * judged.in_interval_share:.1f}%; below their upper ends "
        f"lie {100 * judged.below_bound_share:.1f}%"
    )


def predict(model: Path, architecture: str, cells: int | None, confidence: float, as_json: bool) -> None:
    """Print what a network is predicted to take.

    Raises:
        BadInputError: the model cannot be used, or the text is no architecture of its space.
    """
    predicted = predict_network(NETWORK_MODEL_DOCUMENT.load(model), architecture, confidence, cells)
    if as_json:
        show.document(dataclasses.asdict(predicted))
        return
    low, high = predicted.interval_ms
    show.result(f"{predicted.latency_ms:.4f} ms; with {100 * confidence:g}% between {low:.4f} and {high:.4f} ms")
