"""Predictors on kernels that were really measured: ONNX Runtime 1.31 on one core of an x86-64 virtual machine.

`measured_kernels.csv` holds random convolutions, depthwise convolutions and max pools in three rounds of the agent,
those to judge by from another seed. The machine did other work meanwhile, as machines do.
"""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from searcher.cost_models.kernels.judging import JudgedPredictor, judge_predictor
from searcher.cost_models.kernels.measured_kernel import MeasuredKernel
from searcher.cost_models.kernels.predictor import KernelPredictor, PredictorFile
from searcher.cost_models.kernels.training import train_types
from searcher.spaces.block_key import block_of_key
from searcher.spaces.counts import block_macs
from searcher.spaces.kernels import kernel_type
from tests.searcher.builders import KEY


def kernels(part: str) -> list[MeasuredKernel]:
    with Path(__file__).with_name("measured_kernels.csv").open(encoding="utf-8", newline="") as file:
        return [
            MeasuredKernel(
                block_of_key(row["block"]),
                float(row["latency_ms"]),
                float(row["call_ms"]),
                (float(row["interval_low_ms"]), float(row["interval_high_ms"])),
                row["block"],
            )
            for row in csv.DictReader(file)
            if row["part"] == part
        ]


@pytest.fixture(scope="module")
def judged() -> JudgedPredictor:
    trained = kernels("trained")
    models = {one.name: one.model for one in train_types(trained, 0.9, seed=0) if one.model is not None}
    assert models.keys() == {"convolution", "depthwise", "max_pool"}
    call_ms = trained[0].call_ms
    keys = tuple(sorted(one.spec.key for one in trained))
    file = PredictorFile("2026-11-22", KEY, "a.csv", "00", {}, 0, 0.9, call_ms, None, models, {}, keys)
    return judge_predictor(KernelPredictor(file), kernels("judged"))


def test_sixty_kernels_of_a_type_predict_others(judged: JudgedPredictor) -> None:
    assert judged.overall.points > 90
    assert judged.overall.within_10 > 0.85
    assert judged.overall.median_error_pct < 4
    assert judged.types["convolution"].within_10 > 0.9
    assert abs(judged.overall.bias_pct) < 4


def test_intervals_hold_about_as_often_as_they_say(judged: JudgedPredictor) -> None:
    assert judged.overall.coverage > 0.8
    assert judged.overall.median_half_width_pct < 20


def test_multiply_accumulates_alone_predict_far_less(judged: JudgedPredictor) -> None:
    own = [[one for one in kernels(part) if kernel_type(one.spec) == "convolution"] for part in ("trained", "judged")]
    (known_macs, known_ms), (macs, measured_ms) = (
        (np.array([block_macs(one.spec) for one in some]), np.array([one.latency_ms for one in some])) for some in own
    )
    slope, base = np.polyfit(np.log(known_macs), np.log(known_ms), 1)
    within_10 = np.mean(np.abs(np.exp(base + slope * np.log(macs)) / measured_ms - 1) <= 0.1)
    assert within_10 < 0.5 < judged.types["convolution"].within_10
