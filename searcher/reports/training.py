"""A training for a terminal."""

from __future__ import annotations

from collections.abc import Iterator

from searcher.reports.terminal import spent
from searcher.verification.trained_network import MeasuredNetwork, TrainedNetwork


def trained_network(trained: TrainedNetwork) -> str:
    """Return what a training came to, a line a fact."""
    return "\n".join(_lines(trained))


def _lines(trained: TrainedNetwork) -> Iterator[str]:
    data, exported = trained.data, trained.exported
    yield f"{trained.architecture}: {trained.parameters:,} parameters, {trained.macs / 1e6:.2f} million MACs"
    yield f"test accuracy {trained.test_accuracy:.2f}% on {data.test_images} images of {data.name}"
    if trained.validation_accuracy is not None:
        yield f"validation accuracy {trained.validation_accuracy:.2f}% on {data.validation_images} images held back"
    yield (
        f"{exported.file} computes the same: {exported.accuracy:.2f}% on {exported.images} of them, torch "
        f"{exported.torch_accuracy:.2f}%, logits off by {exported.numerical_error:.1e}"
    )
    if trained.measured is not None:
        yield _measured(trained.measured)
    yield spent(trained.spent)


def _measured(one: MeasuredNetwork) -> str:
    low, high = one.measured_ci_ms
    predicted = "" if one.predicted_ms is None else f", predicted {one.predicted_ms:.4f} ms ({one.error_pct:+.1f}%)"
    limit = "" if one.max_latency_ms is None else f"; the limit of {one.max_latency_ms:.4f} ms is "
    kept = "" if one.max_latency_ms is None else "kept" if one.feasible else "missed"
    return (
        f"{one.measured_ms:.4f} ms [{low:.4f} … {high:.4f}] on {one.device.name} ({one.runtime} {one.runtime_version})"
        f"{predicted}{limit}{kept}"
    )
