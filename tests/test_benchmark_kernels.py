"""Whether the benchmark of kernel predictors sums up what it should, and never what nobody predicted."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from benchmarks.kernel_baselines import Forests, Lines
from benchmarks.kernel_figures import JudgedKernel, kernel_figures
from benchmarks.kernel_networks import network_figures
from searcher.cost_models.kernels.kernel_model import Estimate
from searcher.cost_models.kernels.measured_kernel import MeasuredKernel
from searcher.errors import BadInputError
from searcher.spaces.block import BlockSpec
from tests.searcher.made_up_kernels import drawn, measured


def relu(channels: int) -> BlockSpec:
    return BlockSpec("relu", ((1, channels, 32, 32),), channels)


def judged(channels: int, predicted_ms: float | None, forest_ms: float = 2.0) -> JudgedKernel:
    """A kernel that takes 1 ms."""
    told = None if predicted_ms is None else Estimate(predicted_ms, (predicted_ms - 0.2, predicted_ms + 0.1))
    return JudgedKernel(relu(channels), 1.0, told, forest_ms, line_ms=1.05)


def test_refused_kernels_and_near_duplicates_are_told_apart() -> None:
    fresh = [judged(33, 1.05), judged(100, 1.08), judged(200, 1.3), judged(500, None, forest_ms=1.0)]
    told = kernel_figures(fresh, [relu(32), relu(1000)], 0)
    assert told["within_10"] == pytest.approx(2 / 3)
    assert told["within_10_with_refused"] == 0.5
    assert (told["unlike"], told["within_10_unlike"]) == (2, 0.5)
    assert (told["refused"], told["fresh_kernels"]) == (1, 4)
    assert told["interval_coverage"] == pytest.approx(2 / 3)
    assert (told["forests_within_10"], told["lines_within_10"]) == (0, 1)
    assert told["gain_over_forests"]["value"] == pytest.approx(2 / 3)
    assert told["types"]["relu"]["worst_error_pct"] == pytest.approx(30)
    assert kernel_figures(fresh[:1], [relu(32)], 0)["within_10_unlike"] is None
    with pytest.raises(BadInputError, match="refuses all of the 1 fresh kernels"):
        kernel_figures(fresh[3:], [relu(32)], 0)


def test_refused_networks_are_missed_and_no_numbers() -> None:
    told = {
        "a": {"error_pct": -4.0, "sum_error_pct": -30.0, "measured_ms": 1.0, "interval_ms": [0.9, 1.1]},
        "b": {"refused": "it has an LSTM", "measured_ms": 1.0},
        "c": {"refused": "it has an LSTM", "measured_ms": 1.0},
    }
    found = network_figures(told)
    assert found["networks_within_10"] == pytest.approx(1 / 3)
    assert (found["networks_within_10_by_sum"], found["networks_median_error_pct"]) == (0, 4.0)
    assert (found["networks_refused"], found["networks_interval_coverage"]) == (2, 1.0)
    nothing = network_figures({name: told[name] for name in "bc"})
    assert nothing["networks_median_error_pct"] is None
    json.dumps([found, nothing], allow_nan=False)


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
