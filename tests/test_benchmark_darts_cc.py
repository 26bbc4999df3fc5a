"""Whether the benchmark of the differentiable search picks and judges right."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks.darts_cc import DEVICES, QUANTILES, VARIANTS, Task, at_limit, column_file, computes_nothing, summary
from benchmarks.published_cells import Cells
from searcher.cost_models.network_fit import NetworkFit
from searcher.search.differentiable.family import Family, FamilyDevice, FamilyMember, MemberLatency
from searcher.spaces.nasbench201 import NasBench201
from searcher.tables.network_latencies import NETWORKS_DOCUMENT

SPACE = NasBench201()
SKIPS = "|skip_connect~0|+|skip_connect~0|none~1|+|skip_connect~0|skip_connect~1|skip_connect~2|"
DEAD_CONVOLUTION = "|nor_conv_3x3~0|+|none~0|none~1|+|skip_connect~0|none~1|none~2|"
POOL = "|none~0|+|none~0|none~1|+|avg_pool_3x3~0|none~1|none~2|"


@pytest.fixture(scope="module")
def cells(data_dir: Path) -> Cells:
    return Cells.read(data_dir, DEVICES)


def member(text: str, bound_ms: float) -> FamilyMember:
    latencies = tuple(MemberLatency(device, bound_ms, bound_ms, bound_ms, None) for device in DEVICES)
    return FamilyMember(text, ((1.0,),), latencies, 1, 1, 50.0, 1.0, True, True)


def family(*members: FamilyMember) -> Family:
    devices = tuple(FamilyDevice(device, None, 0.95) for device in DEVICES)
    return Family("nasbench201", "prices", (), 6, 1, 1, None, devices, members, members[0].architecture, None)


def test_the_first_member_whose_bound_keeps_the_limit_is_judged_by_the_column(cells: Cells) -> None:
    latencies, accuracy = cells.latency_ms["raspi4"], cells.accuracy["cifar10"]
    limit_ms = float(np.quantile(latencies, 0.5))
    within = cells.connected & (latencies <= limit_ms)
    best = int(np.flatnonzero(within)[accuracy[within].argmax()])
    slow = int(latencies.argmax())
    texts = [SPACE.format(cells.architecture(row)) for row in (slow, best)]
    told = at_limit(cells, family(member(texts[0], limit_ms + 1), member(texts[1], limit_ms - 1)), "raspi4", 0.5)
    assert told["members"] == 1
    assert told["keeps"]
    assert told["accuracy"] == pytest.approx(accuracy[best], abs=0.005)
    assert told["percentile"] == pytest.approx(100, abs=0.1)
    assert told["percentile_75_accuracy"] == pytest.approx(90.9, abs=0.1)


def test_a_member_that_breaks_the_limit_is_worth_nothing_and_so_is_none(cells: Cells) -> None:
    slow = SPACE.format(cells.architecture(int(cells.latency_ms["pixel3"].argmax())))
    broken = at_limit(cells, family(member(slow, 0.1)), "pixel3", 0.25)
    assert (broken["members"], broken["keeps"], broken["percentile"]) == (1, False, 0.0)
    none = at_limit(cells, family(member(slow, 1e6)), "pixel3", 0.25)
    assert (none["members"], none["percentile"]) == (0, 0.0)


@pytest.mark.parametrize(("text", "nothing"), [(SKIPS, True), (DEAD_CONVOLUTION, True), (POOL, False)])
def test_a_cell_of_skips_is_told_by_what_it_executes(text: str, nothing: bool) -> None:
    assert computes_nothing(member(text, 1.0)) is nothing


def test_a_summary_tells_the_worst_and_the_median() -> None:
    def search(accuracy: float, distinct: int, spearman: float | None, skips: bool) -> dict[str, object]:
        return {
            "distinct": distinct,
            "price_spearman": {"raspi4": spearman, "pixel3": -1.0},
            "picked_accuracy": accuracy,
            "percentile_worst": accuracy - 10,
            "all_skip_on_front": skips,
        }

    assert summary([search(90, 8, -0.7, False), search(94, 6, None, True), search(93, 9, -1.0, False)]) == {
        "distinct": 6,
        "price_spearman": -0.7,
        "picked_accuracy": 93,
        "picked_percentile_worst": 80,
        "all_skip_on_front": True,
    }


def test_latencies_of_a_column_are_what_a_search_reads(cells: Cells, tmp_path: Path) -> None:
    path = column_file(cells, "raspi4", 3, tmp_path)
    latencies = NETWORKS_DOCUMENT.load(path)
    assert len(latencies.networks) == 100
    for text, one in latencies.networks.items():
        assert one.median_ms == cells.latency_ms["raspi4"][cells.row(SPACE.parse(text))]
    assert NetworkFit.of(SPACE, latencies).latency_range().low_ms > 0


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_variant_can_be_shortened(variant: str) -> None:
    settings = Task(Path(), variant, 1, epochs=5).settings
    assert settings.epochs == 5
    assert settings.warm_up_epochs in (0, 3)


@pytest.mark.slow
def test_a_short_run_prints_all_figures(data_dir: Path) -> None:
    command = [sys.executable, "-m", "benchmarks.darts_cc", "--data-dir", str(data_dir), "--epochs", "2"]
    done = subprocess.run(
        [*command, "--seeds", "3", "--processes", "1"],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    found = json.loads(done.stdout.splitlines()[-1])
    assert {"distinct", "price_spearman", "picked_accuracy", "picked_percentile_worst"} <= set(found)
    assert 0.5 < found["step_ratio"] < 3
    assert found["family_cost_ratio"] > 0.5
    (search,) = found["searches"]
    assert len(search["limits"]) == len(DEVICES) * len(QUANTILES)
    assert search["picked_accuracy"] <= search["best_accuracy"]
