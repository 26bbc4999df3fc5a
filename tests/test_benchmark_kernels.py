"""The benchmark of kernel predictors: what its figures count, and what it compares with."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from benchmarks.kernel_baselines import Forests, Lines
from benchmarks.kernel_networks import network_figures
from benchmarks.kernels import Judged, kernel_figures
from searcher.cost_models.kernels.kernel_model import Estimate
from searcher.cost_models.kernels.measured_kernel import MeasuredKernel
from searcher.spaces.block import BlockSpec
from tests.searcher.made_up_kernels import drawn, measured

RELU, SUM = BlockSpec("relu", ((1, 8, 8, 8),), 8), BlockSpec("add", ((1, 8, 8, 8),) * 2, 8)


def judged(predicted_ms: float | None, spec: BlockSpec = RELU, forest_ms: float = 2.0) -> Judged:
    """A kernel of 1 ms whose interval is 5% on both sides of the prediction."""
    estimate = None if predicted_ms is None else Estimate(predicted_ms, (0.95 * predicted_ms, 1.05 * predicted_ms))
    return Judged(spec, 1.0, estimate, forest_ms, 1.0)


def test_shares_are_of_what_was_predicted_and_refusals_are_told() -> None:
    kernels = [judged(1.02), judged(0.91), judged(1.11), judged(None), judged(1.04, SUM, forest_ms=1.05)]
    told = kernel_figures(kernels, seed=0)
    assert told["within_10"] == pytest.approx(3 / 4)
    assert told["within_10_with_refused"] == pytest.approx(3 / 5)
    assert (told["refused"], told["fresh_kernels"]) == (1, 5)
    # 0.91 and 1.11 are further off than their intervals reach.
    assert told["interval_coverage"] == pytest.approx(2 / 4)
    assert told["forests_within_10"] == pytest.approx(1 / 4)
    assert told["gain_over_forests"]["value"] == pytest.approx(2 / 4)
    low, high = told["gain_over_forests"]["interval"]
    assert low <= 0.5 <= high
    assert told["lines_within_10"] == 1
    assert told["types"]["add"] == {
        "within_10": 1.0,
        "within_5": 1.0,
        "median_error_pct": pytest.approx(4),
        "worst_error_pct": pytest.approx(4),
        "interval_coverage": 1.0,
        "forests_within_10": 1.0,
        "refused": 0,
    }
    assert told["types"]["relu"]["refused"] == 1


def test_a_type_that_is_refused_whole_has_no_figures() -> None:
    told = kernel_figures([judged(1.0), judged(None, SUM)], seed=0)
    assert told["types"]["add"] == {"refused": 1}


def test_networks_that_are_refused_count_as_missed() -> None:
    near = {"measured_ms": 10.0, "interval_ms": [9.5, 10.5], "error_pct": -4.0, "sum_error_pct": -12.0}
    far = {"measured_ms": 10.0, "interval_ms": [11.0, 12.0], "error_pct": 15.0, "sum_error_pct": 9.0}
    told = network_figures({"a": near, "b": far, "c": {"refused": "unknown", "measured_ms": 1.0}})
    assert told["networks_within_10"] == pytest.approx(1 / 3)
    assert told["networks_within_10_by_sum"] == pytest.approx(1 / 3)
    assert told["networks_interval_coverage"] == pytest.approx(1 / 2)
    assert told["networks_refused"] == 1


def test_baselines_learn_what_they_can() -> None:
    kernels = measured(drawn("pointwise", 150, 1), 1, noise=0.0)
    unknown = measured(drawn("pointwise", 40, 2), 2, noise=0.0)
    off = {
        type(model).__name__: np.median([abs(model.latency_ms(one.spec) / one.latency_ms - 1) for one in unknown])
        for model in (Forests(kernels, seed=0), Lines(kernels))
    }
    assert 0 < off["Forests"] < 0.35
    # What is computed in proportion to its work is a line, without error.
    line = Lines([replace(one, latency_ms=0.01 + one.spec.input_shapes[0][2] * 1e-4) for one in square(40)])
    other = BlockSpec("relu", ((1, 1, 30, 1),), 1)
    assert line.latency_ms(other) == pytest.approx(0.01 + 30e-4)


def square(count: int) -> list[MeasuredKernel]:
    return measured([BlockSpec("relu", ((1, 1, side, 1),), 1) for side in range(1, count)], 0, noise=0.0)
