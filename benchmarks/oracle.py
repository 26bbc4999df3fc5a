"""How close the search comes to the best cell under a limit that the published latencies of a device set.

`python -m benchmarks.oracle --data-dir DIR` takes NAS-Bench-201 with the latency columns of three devices. Limits are
the 25, 50 and 75% quantiles of a column over all cells. No strategy sees the column: for each seed a cost model
(`searcher.cost_models.network_fit`) is fitted to 100 of its cells, drawn at random, and its 95% upper bound is held
against the limit. What is chosen is judged by the column, and by accuracies after full training. Strategies, all with
the same bounds:

* `search`: the genetic algorithm with Deb's rules and the score `fused`, 20 architectures in 100 generations;
* `random`: cells drawn at random among those within the bound, by the same score and with as many measurements as the
  search of the same seed took;
* `random_anywhere`: as many cells as that search looked at, measured or only priced, drawn at random from the space;
* `parameters`: the cell with the most parameters within the bound;
* `live_parameters`: that with the most living parameters, dead edges left out;
* `paper`: the genetic algorithm with φ alone and the paper's penalty (HW-EvRSNAS, Eqs. 4-5). φ is that of the same
  short trainings: the paper's hundred steps at full depth would take days for all cells;
* `within_bounds`: no strategy, but the best cell that any could choose: what its regret is, the cost model costs.

Values that scores are made of were measured once for every `score_key` and lie in a result file. `regret` is the
accuracy on CIFAR-10 of the best cell within the limit by the column minus that of the chosen one. A chosen cell that
breaks the limit by the column has the accuracy that it has, so that its regret may be negative; `regret_of_feasible`
leaves such runs out, and `feasible` is the share of the others.

The last line is one JSON object with

* `feasible_share`: share of the search's runs whose cell keeps its limit by the column, of the worst device and limit;
* `worst_regret_ratio_to_random`: mean regret of the search ÷ that of `random` over the same seeds, of the worst device
  and limit (null where random search alone has none); `worst_regret_ratio_to_random_pooled` takes the devices of each
  limit together, `worst_regret_ratio_to_random_within_bounds` counts regrets from the best cell within the bounds, so
  that what the cost model costs both is left out, and `worst_regret_ratio_to_random_anywhere` is to that strategy;
* `worst_regret_lead_over_parameters`, `…_over_live_parameters`, `…_over_paper`: mean regret of these minus the
  search's, of the worst device and limit: above 0, the search is better everywhere;
* `unconstrained_accuracy`: mean accuracy on CIFAR-10 of the search's cells without a limit;
* `rescored_agree`: whether ten cells that are trained again, drawn by `--rescore-seed`, come out as in the file;
* `cases`: every device and limit with all strategies, and `cost_models`: how good the fits are on the other cells.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.kept_scores import KeptScores, Scores, differences, drawn_keys, read_scores
from benchmarks.machine import describe_machine
from benchmarks.oracle_figures import Run, case_figures, fit_figures, summarise
from benchmarks.published_cells import Cells
from benchmarks.score_all import scorer, settings
from benchmarks.strategies import Chosen, Task, best_within, drawn, drawn_anywhere, evolved, most_parameters
from searcher.cost_models.network_fit import NetworkFit
from searcher.errors import SearcherError
from searcher.search.evaluator import trained_key
from searcher.search.evolution import EvolutionSettings
from searcher.search.preference import DEB, PAPER
from searcher.search.scores.counted import Counted
from searcher.search.scores.named_scores import score_named
from searcher.spaces.nasbench201 import NasBench201

DEVICES = ("raspi4", "pixel3", "eyeriss")
QUANTILES = (0.25, 0.5, 0.75)
CONFIDENCE = 0.95
# Of the spread of all cells. On one kind of processor trainings repeat to the last digit; elsewhere sums are rounded
# otherwise, and that grows.
_AGREE_WITHIN = 0.1
FITTED_CELLS = 100
_SCORES = Path(__file__).parent / "results" / "nasbench201_scores.json.gz"


@dataclass(frozen=True)
class Share:
    """All that one process needs for the runs of one seed.

    Attributes:
        data_dir: of public data.
        scores: of all keys, by name.
        devices: whose columns count.
        settings: of the genetic algorithm; their seed is also that of the cells that are fitted.
        quantiles: of the columns, which are the limits.
    """

    data_dir: Path
    scores: Scores
    devices: tuple[str, ...]
    settings: EvolutionSettings
    quantiles: tuple[float, ...] = QUANTILES


@dataclass(frozen=True)
class Outcome:
    """What one seed gave.

    Attributes:
        runs: of all devices and limits, by (device, quantile).
        fits: figures of the cost models by device.
        unconstrained: what each strategy chose without a limit.
    """

    runs: dict[tuple[str, float], Run]
    fits: dict[str, dict[str, float]]
    unconstrained: dict[str, Chosen]


def outcome(share: Share) -> Outcome:
    """Run all strategies under all limits."""
    cells = Cells.read(share.data_dir, share.devices)
    measurers = (KeptScores(share.scores), Counted(NasBench201()))
    runs, fits = {}, {}
    for device in share.devices:
        column = cells.latency_ms[device]
        chosen = np.random.default_rng(share.settings.seed).choice(len(column), FITTED_CELLS, replace=False)
        model = NetworkFit(NasBench201(), cells.genotypes[chosen], column[chosen])
        bounds_ms = model.uppers_ms(cells.genotypes, CONFIDENCE)
        others = cells.connected.copy()
        others[chosen] = False
        fits[device] = fit_figures(model.latencies_ms(cells.genotypes)[others], bounds_ms[others], column[others])
        for quantile in share.quantiles:
            task = Task(cells, bounds_ms, float(np.quantile(column, quantile)), measurers)
            runs[device, quantile] = Run(share.settings.seed, strategies(task, share.settings))
    unlimited = Task(cells, np.zeros(len(cells.genotypes)), None, measurers)
    return Outcome(runs, fits, strategies(unlimited, share.settings))


def strategies(task: Task, settings: EvolutionSettings) -> dict[str, Chosen]:
    """Let every strategy choose."""
    fused = score_named("fused")
    found = evolved(task, fused, DEB, settings)
    return {
        "search": found,
        "random": drawn(task, fused, found.measurements, settings.seed),
        "random_anywhere": drawn_anywhere(task, fused, found.architectures, settings.seed),
        "parameters": most_parameters(task),
        "live_parameters": most_parameters(task, living=True),
        "paper": evolved(task, score_named("rmi"), PAPER, settings),
        "within_bounds": best_within(task, "cifar10"),
    }


def run_all(data_dir: Path, scores: Scores, seeds: Sequence[int], devices: tuple[str, ...] = DEVICES) -> dict[str, Any]:
    """Return everything but what is measured again, worked out on all processors that may be used."""
    cells = Cells.read(data_dir, devices)
    shares = [Share(data_dir, scores, devices, EvolutionSettings(seed=seed)) for seed in seeds]
    workers = min(len(shares), len(os.sched_getaffinity(0)))
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        outcomes = list(pool.map(outcome, shares))
    cases = {}
    for device in devices:
        for quantile in QUANTILES:
            limit_ms = float(np.quantile(cells.latency_ms[device], quantile))
            runs = [one.runs[device, quantile] for one in outcomes]
            cases[f"{device} {100 * quantile:g}%"] = case_figures(cells, device, limit_ms, runs)
    unlimited = [Run(share.settings.seed, one.unconstrained) for share, one in zip(shares, outcomes, strict=True)]
    fits = {device: _mean([one.fits[device] for one in outcomes]) for device in devices}
    free = case_figures(cells, None, None, unlimited)
    return {**summarise(cases, free), "cases": cases, "unconstrained": free, "cost_models": fits}


def _mean(figures: Sequence[dict[str, float]]) -> dict[str, float]:
    return {name: round(float(np.mean([one[name] for one in figures])), 4) for name in figures[0]}


def rescored(scores: Scores, data_dir: Path, seed: int) -> dict[str, Any]:
    """Train some cells again, drawn by the seed, and compare φ and loss with those of the file."""
    space, drawn_again = NasBench201(), drawn_keys(scores, seed)
    cells = {trained_key(space, cell): space.representative(cell) for cell in space.architectures()}
    found = scorer(data_dir).measure([cells[key] for key in drawn_again])
    if any(one.problem is not None for one in found):
        return {"rescored_agree": False, "rescored_differences": None}
    off = differences(scores, {key: one.values for key, one in zip(drawn_again, found, strict=True)})
    return {"rescored_agree": max(off.values()) <= _AGREE_WITHIN, "rescored_differences": off}


def main() -> None:
    """Run the benchmark and print its result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--scores", type=Path, default=_SCORES, help="measured values of every score_key")
    parser.add_argument("--seed", type=int, default=0, help="of the first run; each other has the next one")
    parser.add_argument("--runs", type=int, default=10, help="seeds for every device and limit")
    parser.add_argument("--rescore-seed", type=int, default=0, help="draws the keys that are measured again")
    options = parser.parse_args()
    try:
        scores = read_scores(options.scores, settings())
        found = run_all(options.data_dir, scores, range(options.seed, options.seed + options.runs))
        again = rescored(scores, options.data_dir, options.rescore_seed)
    except SearcherError as e:
        sys.exit(f"benchmarks.oracle: {e}")
    about = {
        "seeds": [options.seed, options.seed + options.runs - 1],
        "confidence": CONFIDENCE,
        "fitted_cells": FITTED_CELLS,
        "score": "fused",
        "scores": settings(),
    }
    print(json.dumps({"benchmark": "oracle", "settings": about, "machine": describe_machine(), **again, **found}))


if __name__ == "__main__":
    main()
