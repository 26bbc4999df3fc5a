"""A new device from ten measurements: each published latency column left out in turn and predicted from the others.

`python -m benchmarks.transfer --data-dir DIR` takes the eight latency columns of NAS-Bench-201. Of the column that is
left out nothing is known but its values in ten cells: the others teach a prior (`searcher.cost_models.transfer`), which
is learnt anew for each column, its variances included. A repetition draws a pool of connected cells at random, and the
prior chooses ten of them to measure. All 15,625 cells are judged, those that are disconnected and have values below any
physical floor among them. Beside it, in the same repetition:

* `transfer_random`: the same model from ten cells of the pool that nobody chose;
* `transfer_interrupted`: the same as the transfer, one of the ten measured as three times what it is;
* `ridge`: ridge regression on the logarithms of the other columns; `ridge_with_counts`: with counts of live operations;
  `flops`: the order by multiply-accumulates; `nearest_device`: the column that orders the sample most alike, rescaled.
  Each has the chosen cells and, under `random`, those that nobody chose; a gain is over whichever of the two suits the
  baseline better on average.

The last line is one JSON object with

* `mean_spearman`, `raspi4_spearman`, `eyeriss_spearman`: rank correlation with the column, mean of repetitions (and
  columns); `worst_spearman`: of a single repetition;
* `gain_over_ridge` with `gain_over_ridge_interval`: mean difference in rank correlation in the same repetition, and its
  95% bootstrap interval (columns are drawn, and repetitions of each); `gains`: over all baselines, and over ridge by
  column;
* `interval_coverage`: share of all cells within their 90% intervals, mean of columns; `upper_coverage`: below their 95%
  bounds;
* `columns`: for each column the mean of all these and of the median error, the worst rank correlation, that of
  connected cells alone, and how many are below the physical floor (disconnected, and faster than all connected ones).
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.machine import describe_machine
from benchmarks.published_cells import Cells, Floats
from benchmarks.transfer_baselines import BASELINES, RIDGE, Baselines
from searcher.cost_models.agreement import spearman
from searcher.cost_models.known_devices import KnownDevices
from searcher.cost_models.transfer import DEFAULT_NETWORKS, Experience, Transfer
from searcher.errors import BadInputError, SearcherError
from searcher.spaces.nasbench201 import NasBench201

COLUMNS = ("raspi4", "pixel3", "eyeriss", "samsung_a50", "gold_6240", "silver_4114", "1080ti_1", "titanx_1")
INTERVAL, UPPER = 0.9, 0.95
TRANSFER, TRANSFER_RANDOM, TRANSFER_INTERRUPTED = "transfer", "transfer_random", "transfer_interrupted"
_INTERRUPTED = 3.0
_RANDOM = "_random"
_RESAMPLES = 2000


@dataclass(frozen=True)
class Settings:
    """How the benchmark is run.

    Attributes:
        samples: cells that are measured of a new device.
        repetitions: of each column.
        pool: cells to choose from.
        seed: of the first repetition; each other has the next one.
    """

    samples: int = DEFAULT_NETWORKS
    repetitions: int = 20
    pool: int = 300
    seed: int = 0


@dataclass(frozen=True)
class Share:
    """All that one process needs for a column."""

    data_dir: Path
    column: str
    settings: Settings


@dataclass(frozen=True, eq=False)
class Predicted:
    """What one repetition predicts of all cells: the transfer from chosen cells, and what is held against it."""

    transfer: Transfer
    others: Mapping[str, Floats]


def predict(
    experience: Experience, baselines: Baselines, cells: Cells, column: Floats, settings: Settings, seed: int
) -> Predicted:
    """Choose cells, measure them in a column, and predict all; the rest of the column is not looked at."""
    pool = np.random.default_rng(seed).choice(np.flatnonzero(cells.connected), settings.pool, replace=False)
    chosen = pool[experience.informative(cells.genotypes[pool], settings.samples)]
    drawn = pool[: settings.samples]
    at_random = Transfer(experience, cells.genotypes[drawn], column[drawn])
    interrupted_ms = column[chosen]
    interrupted_ms[seed % settings.samples] *= _INTERRUPTED
    others = {
        TRANSFER_RANDOM: at_random.latencies_ms(cells.genotypes),
        TRANSFER_INTERRUPTED: Transfer(experience, cells.genotypes[chosen], interrupted_ms).latencies_ms(
            cells.genotypes
        ),
    }
    for name in BASELINES:
        others[name] = baselines.predict(name, chosen, column[chosen])
        others[name + _RANDOM] = baselines.predict(name, drawn, column[drawn])
    return Predicted(Transfer(experience, cells.genotypes[chosen], column[chosen]), others)


def column_figures(share: Share) -> list[dict[str, float]]:
    """Predict one column from the others, and return the figures of each repetition."""
    cells = Cells.read(share.data_dir, COLUMNS)
    others = [name for name in COLUMNS if name != share.column]
    known_ms = np.stack([cells.latency_ms[name] for name in others], axis=1)
    experience = Experience(KnownDevices(NasBench201(), tuple(others), cells.genotypes, known_ms))
    baselines, column = Baselines.of(cells, known_ms), cells.latency_ms[share.column]
    found = []
    for seed in range(share.settings.seed, share.settings.seed + share.settings.repetitions):
        predicted = predict(experience, baselines, cells, column, share.settings, seed)
        ranks = {name: _rank(one, column) for name, one in predicted.others.items()}
        found.append({**transfer_figures(predicted.transfer, cells, column), **ranks})
    return found


def transfer_figures(transfer: Transfer, cells: Cells, column: Floats) -> dict[str, float]:
    """Return how well one transfer predicts and bounds a whole column."""
    began = time.perf_counter()
    predicted = transfer.latencies_ms(cells.genotypes)
    low, high = transfer.intervals_ms(cells.genotypes, INTERVAL).T
    seconds = time.perf_counter() - began
    within, below = (low <= column) & (column <= high), column <= transfer.uppers_ms(cells.genotypes, UPPER)
    return {
        TRANSFER: _rank(predicted, column),
        "connected": _rank(predicted[cells.connected], column[cells.connected]),
        "median_error_pct": float(100 * np.median(np.abs(predicted / column - 1))),
        "interval_coverage": float(within.mean()),
        "interval_coverage_connected": float(within[cells.connected].mean()),
        "upper_coverage": float(below.mean()),
        "upper_coverage_connected": float(below[cells.connected].mean()),
        "median_interval_width_pct": float(100 * np.median((high - low) / predicted)),
        "not_believed": float(len(transfer.not_believed)),
        "prediction_s": seconds,
    }


def summarise(found: Mapping[str, Sequence[Mapping[str, float]]], generator: np.random.Generator) -> dict[str, Any]:
    """Return the figures of all columns together.

    Args:
        found: figures of each repetition, by column.
        generator: draws the resamples.
    """
    ranks = {name: _table(found, name) for name in (TRANSFER, TRANSFER_RANDOM, TRANSFER_INTERRUPTED, *_both(BASELINES))}
    suited = {name: max((name, name + _RANDOM), key=lambda one: ranks[one].mean()) for name in BASELINES}
    gains = {name: ranks[TRANSFER] - ranks[suited[name]] for name in BASELINES}
    intervals = {name: interval(gain, generator) for name, gain in gains.items()}
    by_column = dict(zip(found, gains[RIDGE].mean(axis=1).tolist(), strict=True))
    named = {f"{name}_spearman": _mean(found[name], TRANSFER) for name in ("raspi4", "eyeriss") if name in found}
    return {
        "mean_spearman": float(ranks[TRANSFER].mean()),
        **named,
        "worst_spearman": float(ranks[TRANSFER].min()),
        "gain_over_ridge": float(gains[RIDGE].mean()),
        "gain_over_ridge_interval": intervals[RIDGE],
        "interval_coverage": float(_table(found, "interval_coverage").mean()),
        "upper_coverage": float(_table(found, "upper_coverage").mean()),
        "mean_spearman_of_all": {name: float(one.mean()) for name, one in ranks.items()},
        "gains": {
            name: {"over": suited[name], "gain": float(gains[name].mean()), "interval": intervals[name]}
            for name in BASELINES
        },
        "gain_over_ridge_by_column": by_column,
    }


def interval(gains: Floats, generator: np.random.Generator) -> list[float]:
    """Return the 95% bootstrap interval of the mean of (columns, repetitions) paired differences.

    Columns are drawn, and then repetitions of each: what the mean would be of other devices is part of it.
    """
    columns, repetitions = gains.shape
    drawn = generator.integers(columns, size=(_RESAMPLES, columns, 1))
    means = gains[drawn, generator.integers(repetitions, size=(_RESAMPLES, columns, repetitions))].mean(axis=(1, 2))
    return [float(one) for one in np.quantile(means, [0.025, 0.975])]


def column_summary(cells: Cells, name: str, figures: Sequence[Mapping[str, float]]) -> dict[str, Any]:
    """Return the mean of each figure of a column, the worst rank correlation, and what lies below the floor."""
    column = cells.latency_ms[name]
    floor_ms = column[cells.connected].min()
    return {
        "spearman": _mean(figures, TRANSFER),
        "worst_spearman": min(one[TRANSFER] for one in figures),
        "below_floor": int((column[~cells.connected] < floor_ms).sum()),
        **{key: _mean(figures, key) for key in figures[0] if key != TRANSFER},
    }


def _rank(predicted: Floats, column: Floats) -> float:
    # Predictions that are all alike order nothing.
    return spearman(predicted, column) or 0.0


def _both(names: Sequence[str]) -> list[str]:
    return [name + kind for name in names for kind in ("", _RANDOM)]


def _table(found: Mapping[str, Sequence[Mapping[str, float]]], name: str) -> Floats:
    return np.array([[one[name] for one in figures] for figures in found.values()])


def _mean(figures: Sequence[Mapping[str, float]], name: str) -> float:
    return float(np.mean([one[name] for one in figures]))


def _rounded(told: Any) -> Any:
    if isinstance(told, dict):
        return {key: _rounded(value) for key, value in told.items()}
    if isinstance(told, list):
        return [_rounded(value) for value in told]
    return round(told, 4) if isinstance(told, float) else told


def run(data_dir: Path, settings: Settings) -> dict[str, Any]:
    """Leave each column out in turn, on all processors that may be used.

    Raises:
        SearcherError: the data cannot be read, or the settings suit no transfer.
    """
    cells = Cells.read(data_dir, COLUMNS)
    if settings.pool > cells.connected.sum():
        raise BadInputError(f"a pool has at most {cells.connected.sum()} connected cells, not {settings.pool}")
    shares = [Share(data_dir, column, settings) for column in COLUMNS]
    workers = min(len(shares), len(os.sched_getaffinity(0)))
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        found = dict(zip(COLUMNS, pool.map(column_figures, shares), strict=True))
    summary = summarise(found, np.random.default_rng(settings.seed))
    columns = {name: column_summary(cells, name, figures) for name, figures in found.items()}
    told: dict[str, Any] = _rounded({**summary, "columns": columns})
    return told


def main() -> None:
    """Run the benchmark and print its result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--samples", type=int, default=Settings.samples, help="cells measured of the new device")
    parser.add_argument("--repetitions", type=int, default=Settings.repetitions, help="of each column")
    parser.add_argument("--pool", type=int, default=Settings.pool, help="connected cells to choose from")
    parser.add_argument("--seed", type=int, default=Settings.seed, help="of the first repetition")
    options = parser.parse_args()
    settings = Settings(options.samples, options.repetitions, options.pool, options.seed)
    if settings.repetitions < 1:
        parser.error("--repetitions takes 1 at least")
    began = time.perf_counter()
    try:
        found = run(options.data_dir, settings)
    except SearcherError as e:
        sys.exit(f"benchmarks.transfer: {e}")
    about = {**asdict(settings), "interval": INTERVAL, "upper": UPPER, "columns": list(COLUMNS)}
    seconds = round(time.perf_counter() - began, 1)
    told = {"benchmark": "transfer", "settings": about, "machine": describe_machine(), "seconds": seconds, **found}
    print(json.dumps(told))


if __name__ == "__main__":
    main()
