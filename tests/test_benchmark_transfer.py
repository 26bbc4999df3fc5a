"""Whether the benchmark of the transfer to a new device looks at nothing that it must not see, and judges right."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks.published_cells import Cells
from benchmarks.transfer import (
    COLUMNS,
    TRANSFER,
    TRANSFER_INTERRUPTED,
    TRANSFER_RANDOM,
    Settings,
    Share,
    column_figures,
    column_summary,
    interval,
    predict,
    run,
    summarise,
    transfer_figures,
)
from benchmarks.transfer_baselines import BASELINES, FLOPS, NEAREST, RIDGE, Baselines, ridge
from searcher.cost_models.agreement import spearman
from searcher.cost_models.transfer import Experience
from searcher.errors import BadInputError
from searcher.spaces.nasbench201 import NasBench201
from tests.searcher.known_devices import CELLS, CONNECTED, made_up_devices, made_up_ms

SPACE = NasBench201()
SETTINGS = Settings(repetitions=1, pool=200)


def made_up_cells() -> Cells:
    return Cells(CELLS.astype(np.int64), CONNECTED, {}, {})


def test_nothing_of_a_column_is_seen_but_what_was_measured() -> None:
    known, cells = made_up_devices(4), made_up_cells()
    experience, baselines = Experience(known), Baselines.of(cells, known.latency_ms)
    column = made_up_ms(60, "all")
    seed = 3
    first = predict(experience, baselines, cells, column, SETTINGS, seed)
    pool = np.random.default_rng(seed).choice(np.flatnonzero(CONNECTED), SETTINGS.pool, replace=False)
    measured = np.concatenate([pool[experience.informative(CELLS[pool], 10)], pool[:10]])
    unseen = np.setdiff1d(np.arange(len(CELLS)), measured)
    other = column.copy()
    other[unseen] = 7 * np.random.default_rng(1).permutation(column[unseen])
    second = predict(experience, baselines, cells, other, SETTINGS, seed)
    assert np.array_equal(first.transfer.latencies_ms(CELLS), second.transfer.latencies_ms(CELLS))
    assert np.array_equal(first.transfer.intervals_ms(CELLS, 0.9), second.transfer.intervals_ms(CELLS, 0.9))
    assert not np.array_equal(first.others[TRANSFER_INTERRUPTED], first.transfer.latencies_ms(CELLS))
    assert all(np.array_equal(first.others[name], second.others[name]) for name in first.others)
    # What was measured is seen.
    other[measured] = np.random.default_rng(2).permutation(other[measured])
    third = predict(experience, baselines, cells, other, SETTINGS, seed)
    assert not np.array_equal(first.transfer.latencies_ms(CELLS), third.transfer.latencies_ms(CELLS))


def test_repetitions_measure_other_cells() -> None:
    known, cells = made_up_devices(4), made_up_cells()
    experience, baselines = Experience(known), Baselines.of(cells, known.latency_ms)
    column = made_up_ms(61, "all")
    one, other = (predict(experience, baselines, cells, column, SETTINGS, seed) for seed in (0, 1))
    assert not np.array_equal(one.transfer.latencies_ms(CELLS), other.transfer.latencies_ms(CELLS))
    assert set(one.others) == {
        TRANSFER_RANDOM,
        TRANSFER_INTERRUPTED,
        *BASELINES,
        *(f"{name}_random" for name in BASELINES),
    }


def test_baselines_are_what_they_are_called() -> None:
    known, cells = made_up_devices(4), made_up_cells()
    baselines = Baselines.of(cells, known.latency_ms)
    rows = np.flatnonzero(CONNECTED)[:10]
    few = np.arange(0, len(CELLS), 400)
    assert baselines.macs[few].tolist() == [SPACE.macs(cells.architecture(int(row))) for row in few]
    assert np.array_equal(baselines.predict(FLOPS, rows, np.ones(10)), baselines.macs)
    scaled = 3 * known.latency_ms[:, 2]
    assert baselines.predict(NEAREST, rows, scaled[rows]) == pytest.approx(scaled)
    # A power of one device is linear in its logarithm.
    column = known.latency_ms[:, 1] ** 0.5
    assert (spearman(baselines.predict(RIDGE, rows, column[rows]), column) or 0.0) > 0.97


def test_the_ridge_takes_the_penalty_that_suits_the_sample() -> None:
    generator = np.random.default_rng(4)
    features = generator.normal(size=(500, 3))
    linear = features @ np.array([1.0, -2.0, 0.5]) + 4
    assert ridge(features, np.arange(12), linear[:12]) == pytest.approx(linear, abs=0.01)
    noise = generator.normal(size=500)
    assert np.std(ridge(features, np.arange(12), noise[:12])) < 0.5


def test_gains_have_intervals_that_know_of_columns_and_repetitions() -> None:
    generator = np.random.default_rng(5)
    assert interval(np.full((8, 20), 0.25), generator) == [0.25, 0.25]
    by_column = np.repeat(np.linspace(0, 0.8, 8)[:, None], 20, axis=1)
    low, high = interval(by_column, generator)
    assert 0.1 < low < 0.35 < 0.45 < high < 0.7
    within = np.tile(np.linspace(0, 0.8, 20), (8, 1))
    narrow = interval(within, generator)
    assert low < narrow[0] < 0.4 < narrow[1] < high


def test_a_baseline_is_judged_by_the_sample_that_suits_it() -> None:
    better = {f"{name}{kind}": 0.5 for name in BASELINES for kind in ("", "_random")} | {f"{RIDGE}_random": 0.75}
    transfers = {TRANSFER: 1.0, TRANSFER_RANDOM: 0.9, TRANSFER_INTERRUPTED: 0.95}
    repetition = {**better, **transfers, "interval_coverage": 0.9, "upper_coverage": 0.95}
    told = summarise({"raspi4": [repetition] * 2, "eyeriss": [repetition] * 2}, np.random.default_rng(6))
    assert (told["mean_spearman"], told["raspi4_spearman"], told["gain_over_ridge"]) == (1.0, 1.0, 0.25)
    assert told["gains"][RIDGE]["over"] == "ridge_random"
    assert told["gains"][FLOPS] == {"over": FLOPS, "gain": 0.5, "interval": [0.5, 0.5]}


def test_coverage_counts_what_lies_within() -> None:
    known, cells = made_up_devices(4), made_up_cells()
    column = made_up_ms(62, "all")
    baselines = Baselines.of(cells, known.latency_ms)
    transfer = predict(Experience(known), baselines, cells, column, SETTINGS, 0).transfer
    low, high = transfer.intervals_ms(CELLS, 0.9).T
    middle = transfer_figures(transfer, cells, (low + high) / 2)
    beyond = transfer_figures(transfer, cells, np.where(np.arange(len(CELLS)) % 4 == 0, 1.01 * high, (low + high) / 2))
    assert middle["interval_coverage"] == 1.0
    assert beyond["interval_coverage"] == pytest.approx(0.75, abs=0.001)


def test_a_published_column_is_predicted_and_its_floor_told(data_dir: Path) -> None:
    figures = column_figures(Share(data_dir, "raspi4", Settings(repetitions=1)))
    assert len(figures) == 1
    assert figures[0][TRANSFER] > max(0.95, figures[0][RIDGE])
    told = column_summary(Cells.read(data_dir, COLUMNS), "raspi4", figures)
    assert told["below_floor"] == 289
    assert told["worst_spearman"] == told["spearman"] == figures[0][TRANSFER]
    with pytest.raises(BadInputError, match="a pool has at most 15284 connected cells"):
        run(data_dir, Settings(pool=15_625))


def test_a_folder_without_data_is_one_sentence(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "benchmarks.transfer", "--data-dir", str(tmp_path)]
    result = subprocess.run(command, cwd=Path(__file__).resolve().parents[1], capture_output=True, text=True)
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr.startswith("benchmarks.transfer: cannot read ")


@pytest.mark.slow
def test_all_columns_meet_what_is_promised(data_dir: Path) -> None:
    command = [sys.executable, "-m", "benchmarks.transfer", "--data-dir", str(data_dir), "--repetitions", "3"]
    root = Path(__file__).resolve().parents[1]
    result = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True)
    told = json.loads(result.stdout.splitlines()[-1])
    assert told["mean_spearman"] > 0.94
    assert told["raspi4_spearman"] > 0.95
    assert told["eyeriss_spearman"] > 0.85
    assert told["gain_over_ridge_interval"][0] > 0
    assert 0.8 < told["interval_coverage"] < 0.97
    assert set(told["columns"]) == set(COLUMNS)
