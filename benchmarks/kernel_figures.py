"""What predictions of fresh kernels were worth, as the kernel benchmark tells it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from searcher.cost_models.kernels.kernel_model import Estimate
from searcher.errors import BadInputError
from searcher.spaces.block import BlockSpec
from searcher.spaces.kernels import kernel_type
from searcher.tables.dataset_groups import groups_of

_NEAR = 0.1
_BOOTSTRAP, _INTERVAL = 2000, (2.5, 97.5)


@dataclass(frozen=True)
class JudgedKernel:
    """One fresh kernel: measured, and predicted by each; None where the predictor refuses it."""

    spec: BlockSpec
    measured_ms: float
    predicted: Estimate | None
    forest_ms: float
    line_ms: float


def kernel_figures(judged: Sequence[JudgedKernel], trained_on: Sequence[BlockSpec], seed: int) -> dict[str, Any]:
    """Return figures of all fresh kernels, and of each type.

    Args:
        judged: the fresh kernels.
        trained_on: kernels that the predictor knows, to tell near-duplicates of them.
        seed: of the bootstrap.

    Raises:
        BadInputError: the predictor refuses all of them.
    """
    answered = [one for one in judged if one.predicted is not None]
    if not answered:
        raise BadInputError(f"the predictor refuses all of the {len(judged)} fresh kernels")
    near = np.array([_near(one.predicted.latency_ms, one) for one in answered if one.predicted is not None])
    forests = np.array([_near(one.forest_ms, one) for one in answered])
    lines = np.array([_near(one.line_ms, one) for one in answered])
    generator = np.random.default_rng(seed)
    rows = generator.integers(len(near), size=(_BOOTSTRAP, len(near)))
    gains = (near.astype(float) - forests)[rows].mean(axis=1)
    groups = groups_of([*trained_on, *(one.spec for one in answered)])
    unlike = near[~np.isin(groups[len(trained_on) :], groups[: len(trained_on)])]
    by_type: dict[str, list[JudgedKernel]] = {}
    for one in judged:
        by_type.setdefault(kernel_type(one.spec), []).append(one)
    return {
        "within_10": near.mean(),
        "within_10_with_refused": near.sum() / len(judged),
        "within_10_unlike": unlike.mean() if unlike.size else None,
        "unlike": unlike.size,
        "refused": len(judged) - len(answered),
        "interval_coverage": _coverage(answered),
        "forests_within_10": forests.mean(),
        "lines_within_10": lines.mean(),
        "gain_over_forests": {
            "value": near.mean() - forests.mean(),
            "interval": np.percentile(gains, _INTERVAL).tolist(),
        },
        "fresh_kernels": len(judged),
        "types": {name: _type_figures(rows) for name, rows in by_type.items()},
    }


def _type_figures(judged: Sequence[JudgedKernel]) -> dict[str, Any]:
    answered = [one for one in judged if one.predicted is not None]
    if not answered:
        return {"refused": len(judged)}
    errors = [abs(_error(one.predicted.latency_ms, one)) for one in answered if one.predicted is not None]
    return {
        "within_10": float(np.mean([error <= _NEAR for error in errors])),
        "within_5": float(np.mean([error <= _NEAR / 2 for error in errors])),
        "median_error_pct": 100 * float(np.median(errors)),
        "worst_error_pct": 100 * max(errors),
        "interval_coverage": _coverage(answered),
        "forests_within_10": float(np.mean([_near(one.forest_ms, one) for one in answered])),
        "refused": len(judged) - len(answered),
    }


def _coverage(answered: Sequence[JudgedKernel]) -> float:
    held = [
        one.predicted.interval_ms[0] <= one.measured_ms <= one.predicted.interval_ms[1]
        for one in answered
        if one.predicted is not None
    ]
    return float(np.mean(held))


def _error(predicted_ms: float, one: JudgedKernel) -> float:
    return predicted_ms / one.measured_ms - 1


def _near(predicted_ms: float, one: JudgedKernel) -> bool:
    return abs(_error(predicted_ms, one)) <= _NEAR
