"""Whole networks held against what a predictor of kernels tells of their ONNX files."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.whole_networks import networks as known_networks
from searcher.artifacts import ExportedModel, sha256_of
from searcher.cli import show
from searcher.cost_models.kernels.kernel_model import UnknownKernelError, summed
from searcher.cost_models.kernels.predictor import KernelPredictor
from searcher.devices.device import LOCAL, Device, connect
from searcher.export import to_onnx
from searcher.export.kernels_of_onnx import cut
from searcher.workflows.measure_networks import measure_models, settings_of_key

# Pixels that published designs are made for; those of NAS-Bench-201 have their own.
_PUBLISHED = {"MobileNetV2": 224, "ResNet-18": 224}
_NEAR_PCT = 10.0


def judge_networks(predictor: KernelPredictor, cells: int, seed: int) -> dict[str, dict[str, Any]]:
    """Predict networks from their files, and measure them.

    Args:
        predictor: of this machine.
        cells: networks of NAS-Bench-201 to draw.
        seed: draws them.

    Returns:
        By the network's name what was predicted, with and without the fit to networks, and what was measured; or why
        it was refused.
    """
    models: list[ExportedModel] = []
    told: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, network in known_networks(cells, seed).items():
            if name == "VGG-like":
                continue
            side = _PUBLISHED.get(name, network.image_size)
            path = Path(folder, f"network-{len(models)}.onnx")
            to_onnx.write(network.make(), ((1, 3, side, side),), path)
            models.append(ExportedModel(name, path, sha256_of(path)))
            told[name] = _predicted(predictor, path)
        settings = settings_of_key(predictor.key, predictor.sentinel_ms, precision_pct=1.0, rounds=20, samples=10)
        measured = show.run(measure_models(models, Device(LOCAL), settings, predictor.key, connect)).latencies()
    for name, one in told.items():
        measured_ms = measured[name].median_ms
        one["measured_ms"] = measured_ms
        for kind in [key.removesuffix("predicted_ms") for key in one if key.endswith("predicted_ms")]:
            one[f"{kind}error_pct"] = 100 * (one[f"{kind}predicted_ms"] / measured_ms - 1)
    return told


def _predicted(predictor: KernelPredictor, path: Path) -> dict[str, Any]:
    kernels = [one.spec for one in cut(path, predictor.key.optimization, predictor.key.threads)]
    try:
        predicted = predictor.network(kernels)
    except UnknownKernelError as e:
        return {"refused": str(e)}
    return {
        "kernels": len(kernels),
        "predicted_ms": predicted.latency_ms,
        "interval_ms": list(predicted.interval_ms),
        "sum_predicted_ms": predictor.call_ms + summed(predicted.kernels).latency_ms,
    }


def network_figures(told: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Return shares of networks that were predicted well; a refused one counts as missed."""
    errors, plain = (
        [abs(one[name]) for one in told.values() if name in one] for name in ("error_pct", "sum_error_pct")
    )
    answered = [one for one in told.values() if "interval_ms" in one]
    held = [one["interval_ms"][0] <= one["measured_ms"] <= one["interval_ms"][1] for one in answered]
    return {
        "networks_within_10": sum(error <= _NEAR_PCT for error in errors) / len(told),
        "networks_within_10_by_sum": sum(error <= _NEAR_PCT for error in plain) / len(told),
        "networks_median_error_pct": float(np.median(errors)) if errors else None,
        "networks_refused": len(told) - len(answered),
        "networks_interval_coverage": float(np.mean(held)) if held else None,
        "networks": told,
    }
