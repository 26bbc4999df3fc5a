"""How well a predictor predicts measured kernels that it was not trained on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from searcher.cost_models.kernels.kernel_model import Estimate, UnknownKernelError
from searcher.cost_models.kernels.measured_kernel import MeasuredKernel
from searcher.cost_models.kernels.predictor import KernelPredictor
from searcher.errors import BadInputError
from searcher.spaces.kernels import kernel_type


@dataclass(frozen=True)
class KernelErrors:
    """Errors of predictions, the runtime's call on both sides.

    Attributes:
        points: how many kernels.
        within_5: share predicted within ±5%.
        within_10: share predicted within ±10%.
        within_20: share predicted within ±20%.
        mape: mean size of the errors, in percent.
        median_error_pct: median size of the errors, in percent.
        bias_pct: mean error, predicted minus measured, in percent.
        coverage: share whose measured latency lies in the interval.
        median_half_width_pct: median half-width of the intervals, in percent of the prediction.
    """

    points: int
    within_5: float
    within_10: float
    within_20: float
    mape: float
    median_error_pct: float
    bias_pct: float
    coverage: float
    median_half_width_pct: float


@dataclass(frozen=True)
class JudgedPredictor:
    """What a predictor is worth on measured kernels.

    Attributes:
        overall: of all kernels that it predicted.
        types: of each type of kernel.
        refused: kernels that it did not predict, by key, and why.
    """

    overall: KernelErrors
    types: Mapping[str, KernelErrors]
    refused: Mapping[str, str]


def judge_predictor(predictor: KernelPredictor, kernels: Sequence[MeasuredKernel]) -> JudgedPredictor:
    """Hold predictions against measured kernels, all of which count: whoever calls leaves out what was trained on.

    Raises:
        BadInputError: the predictor predicts none of them.
    """
    told: list[tuple[MeasuredKernel, Estimate]] = []
    refused: dict[str, str] = {}
    for kernel in kernels:
        try:
            told.append((kernel, predictor.estimate(kernel.spec)))
        except UnknownKernelError as e:
            refused[kernel.spec.key] = str(e)
    if not told:
        why = next(iter(refused.values()), "there are none")
        raise BadInputError(f"the predictor predicts none of these kernels: {why}")
    by_type: dict[str, list[tuple[MeasuredKernel, Estimate]]] = {}
    for pair in told:
        by_type.setdefault(kernel_type(pair[0].spec), []).append(pair)
    types = {name: _errors(by_type[name], predictor.call_ms) for name in sorted(by_type)}
    return JudgedPredictor(_errors(told, predictor.call_ms), types, refused)


def _errors(told: Sequence[tuple[MeasuredKernel, Estimate]], call_ms: float) -> KernelErrors:
    measured = np.array([kernel.latency_ms for kernel, _ in told])
    predicted = np.array([estimate.latency_ms for _, estimate in told]) + call_ms
    low, high = np.array([estimate.interval_ms for _, estimate in told]).T + call_ms
    errors_pct = 100 * (predicted / measured - 1)
    sizes = np.abs(errors_pct)
    return KernelErrors(
        points=len(told),
        within_5=float((sizes <= 5).mean()),
        within_10=float((sizes <= 10).mean()),
        within_20=float((sizes <= 20).mean()),
        mape=float(sizes.mean()),
        median_error_pct=float(np.median(sizes)),
        bias_pct=float(errors_pct.mean()),
        coverage=float(((low <= measured) & (measured <= high)).mean()),
        median_half_width_pct=float(np.median(50 * (high - low) / predicted)),
    )
