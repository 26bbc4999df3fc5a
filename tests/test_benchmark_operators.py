"""Whether the benchmark of operators sums up what it should, and its plain loop runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.bare import BareRunError, bare_latency_ms
from benchmarks.operators import Pair, figures, summary
from benchmarks.whole_networks import networks
from tests.agent import models, tflite_models
from tests.agent.reports import report


def test_the_ratio_is_the_sum_of_the_parts_over_the_plain_loops() -> None:
    # The machine doubles its speed on the way; one pair is torn apart by that.
    pairs = (Pair(20.0, 16.0), Pair(20.0, 16.0), Pair(10.0, 16.0), Pair(10.0, 8.0))
    told = figures(report(), pairs)
    assert (told["ratio"], told["unpaired_ratio"]) == (1.25, 0.625)
    assert (told["sum_ms"], told["bare_ms"], told["rounds"]) == (10.0, 16.0, 4)
    assert told["spread_pct"] == 25.0
    assert (told["additivity"], told["profiler_inflation"], told["operators"]) == (0.97, 1.5, 2)


def test_the_worst_ratio_is_the_one_farthest_from_one() -> None:
    def one(ratio: float, inflation: float | None) -> dict[str, object]:
        return {
            "ratio": ratio,
            "unpaired_ratio": 2 - ratio,
            "additivity": ratio,
            "profiler_inflation": inflation,
            "spread_pct": 0.5,
        }

    told = summary(
        {
            "a": {"onnx": one(1.015, 1.2), "tflite": one(0.94, None)},
            "b": {"onnx": one(0.99, 2.0), "tflite": one(1.05, None)},
        }
    )
    assert (told["onnx_ratio_worst"], told["tflite_ratio_worst"]) == (1.015, 0.94)
    assert (told["onnx_holds"], told["tflite_holds"]) == (True, False)
    assert told["profiler_inflation"] == 1.6
    assert told["tflite_additivity"] == {"least": 0.94, "median": 0.995, "most": 1.05}


def test_ten_networks_are_drawn_by_a_seed() -> None:
    names = list(networks(7, seed=0))
    assert len(names) == 10
    assert names == list(networks(7, seed=0))
    assert names != list(networks(7, seed=1))


def test_the_plain_loop_measures_both_formats(tmp_path: Path) -> None:
    assert 0 < bare_latency_ms("onnxruntime", models.write_convolution(tmp_path / "m.onnx")) < 10
    assert 0 < bare_latency_ms("litert", tflite_models.write_convolution(tmp_path / "m.tflite")) < 10
    with pytest.raises(BareRunError, match=r"failed on missing\.onnx"):
        bare_latency_ms("onnxruntime", tmp_path / "missing.onnx")
