"""The benchmark of sampling under limits: what it says of few limits, and of a folder without data."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from benchmarks import sampling
from searcher.spaces.nasbench201 import NasBench201


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> None:
    monkeypatch.setattr(sys, "argv", ["sampling", *arguments])
    sampling.main()


def require_sense(limits: list[dict[str, Any]], shares: list[float]) -> None:
    assert [one["share"] for one in limits] == [pytest.approx(share, abs=2e-3) for share in shares]
    for one in limits:
        assert one["penalty_samples"] == one["deb_samples"] == 50
        # Fifty of which a share is feasible take fifty by that share, give or take.
        assert one["rejection_samples"] == pytest.approx(50 / one["share"], rel=0.6)
        assert one["deb_trainings"] == 50 * one["feasible_share"] <= one["penalty_trainings"] <= 50
        assert 50 <= one["deb_samples_to_feasible"] <= 50 * 101
    samples = [one["rejection_samples"] for one in limits]
    assert samples == sorted(samples)


def test_rejection_takes_more_samples_the_tighter_the_limit(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run(monkeypatch, "--runs", "2", "--shares", "0.01", "0.5", "0.2")
    result = json.loads(capsys.readouterr().out.splitlines()[-1])
    flops = result["limits"]["flops"]
    # Cells without a convolution are 4.3%, and none has less.
    require_sense(flops, [0.503, 0.212, 0.043])
    assert [one["at_most"] for one in flops][-1] == pytest.approx(7.78304)
    assert (result["rejection_samples"], result["penalty_samples"]) == (flops[-1]["rejection_samples"], 50)


def test_latencies_of_a_public_table(data_file: Callable[[str], Path]) -> None:
    space = NasBench201()
    column = sampling.latency_column(space, data_file("nasbench201_latency.csv.gz").parent)
    first = space.parse(
        "|avg_pool_3x3~0|+|nor_conv_1x1~0|skip_connect~1|+|nor_conv_1x1~0|skip_connect~1|skip_connect~2|"
    )
    assert column.cost(first) == pytest.approx(10.482, abs=5e-4)
    require_sense(sampling.tightening(space, column, [0.25, 0.05], 2), [0.25, 0.05])


def test_a_folder_without_the_data_is_one_sentence(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(SystemExit) as ended:
        run(monkeypatch, "--data-dir", str(tmp_path))
    assert str(ended.value).startswith("benchmarks.sampling: cannot read raspi4_ms from ")
