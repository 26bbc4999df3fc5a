"""A family of NAS-Bench-201 cells from one differentiable search, judged by published accuracies and latencies.

`python -m benchmarks.darts_cc --data-dir DIR` takes the folder of public data. For each seed one search with N = 1
runs on the CIFAR-10 images there, by the road that `searcher darts` takes and with its defaults. It is priced by
latency models of the raspi4 and pixel3 columns, each fitted to 100 random cells of the column, and by a lookup table
that was measured on an x86 machine. Members are picked by the supernet's validation score alone; published figures
only judge them. With `--ablation` one seed of each variant of the method is searched instead. Searches run side by
side, each on one thread.

The last line is one JSON object with

* `distinct`: different architectures of a family, of the seed with the fewest;
* `price_spearman`: rank correlation of a device's price and the expected latency there, of the worst device and seed;
* `picked_accuracy`: CIFAR-10 test accuracy after 200 epochs of the member that is picked without a limit, the median
  over seeds, in percent;
* `picked_percentile_worst`: at limits of the 25%, 50% and 75% quantiles of each column, the share in percent of the
  random connected cells within the limit that the picked member is more accurate than: the worst of all limits,
  devices and seeds; 0 where no member is believed to keep the limit or the picked one breaks it;
* `all_skip_on_front`: whether any family's front holds a cell that computes nothing but skips;
* `family_cost_ratio`: seconds of a search for a family and of judging its members, over those of a search at one
  price and of judging its one; the mean of an epoch of either kind is measured in turn;
* `step_ratio`: seconds of a step of weights and structure over those of a first-order step without latency and
  hypernetwork, the median of pairs measured in turn, with the 95% interval of that median in `step_interval`;
* `searches`: the same for each search, `machine` and `settings`.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import multiprocessing
import statistics
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.darts_steps import cost_ratios, finish
from benchmarks.machine import describe_machine
from benchmarks.published_cells import Cells
from searcher.errors import SearcherError
from searcher.search.differentiable.family import Family, FamilyMember
from searcher.search.differentiable.settings import DartsSettings
from searcher.search.scores.trained_on_batch import quickest_precision
from searcher.spaces.architecture import Architecture
from searcher.spaces.cell import AVG_POOL, CONVOLUTIONS
from searcher.spaces.nasbench201 import NasBench201
from searcher.tables.network_latencies import NETWORKS_DOCUMENT, NetworkLatencies, NetworkLatency
from searcher.workflows.darts_family import FamilyRequest, darts_family
from searcher.workflows.darts_folder import ControlChoice
from searcher.workflows.darts_run import DartsOutcome, DartsRequest, darts_run

DEVICES = ("raspi4", "pixel3")
QUANTILES = (0.25, 0.5, 0.75)
FITTED = 100
_TABLE = Path(__file__).parents[1] / "luts" / "x86_64-virtual-machine-nasbench201-onnxruntime.json"
_SPACE = NasBench201()

# What each variant changes; the first is the method as it is used.
_PUBLISHED: dict[str, Any] = {
    "warm_up_epochs": 0,
    "trained_odds": 1.0,
    "uniform_share": 0.0,
    "structure_paths": 0,
    "temperature_from": 1.0,
    "temperature_to": 0.2,
}
VARIANTS: Mapping[str, tuple[Mapping[str, Any], Mapping[str, Any]]] = {
    "prices simplex": ({}, {}),
    "no latency or complexity term": ({}, {"most_complexity": 0.0, "most_latency": 0.0}),
    "scalar control": ({}, {"name": "scalar"}),
    "operations simplex": ({}, {"name": "operations"}),
    "uniform paths": ({"trained_odds": 1.0}, {}),
    "soft mixtures, without warm-up": (_PUBLISHED, {}),
    "soft mixtures, without warm-up, auxiliary skip": ({**_PUBLISHED, "auxiliary_skip": 1.0}, {}),
    "soft mixtures, without warm-up, at most two skips": ({**_PUBLISHED, "skip_limit": 2}, {}),
    "losses of eight sampled cells": ({"structure_samples": 8}, {}),
}


@dataclasses.dataclass(frozen=True)
class Task:
    """One search to run and judge.

    Attributes:
        data_dir: of the public data.
        variant: one of `VARIANTS`.
        seed: of the search, and of the cells that latency models are fitted to.
        epochs: of the search; None for the default.
    """

    data_dir: Path
    variant: str
    seed: int
    epochs: int | None = None

    @property
    def settings(self) -> DartsSettings:
        """The settings of the search."""
        changed: dict[str, Any] = dict(VARIANTS[self.variant][0])
        settings = DartsSettings(mirror=True, precision=quickest_precision(), seed=self.seed)
        if self.epochs is not None:
            warm_up = settings.warm_up_epochs * self.epochs // settings.epochs
            changed = {"warm_up_epochs": warm_up, **changed, "epochs": self.epochs}
        return dataclasses.replace(settings, **changed)

    def request(self, prices: Sequence[Path], output: Path) -> DartsRequest:
        """Return the search as the command would begin it."""
        return DartsRequest(
            space=_SPACE.name,
            luts=tuple(prices),
            output=output,
            data=f"cifar10:{self.data_dir / 'cifar10_subset.npz'}",
            control=dataclasses.replace(ControlChoice(), **VARIANTS[self.variant][1]),
            settings=self.settings,
            threads=1,
        )


def column_file(cells: Cells, device: str, seed: int, folder: Path) -> Path:
    """Write latencies of random cells of a published column, as `searcher darts --lut` reads them."""
    generator = np.random.default_rng([seed, DEVICES.index(device)])
    rows = generator.choice(len(cells.genotypes), FITTED, replace=False)
    networks = {
        _SPACE.format(cells.architecture(int(row))): NetworkLatency(float(cells.latency_ms[device][row]))
        for row in rows
    }
    path = folder / f"{device}.json"
    told = NetworkLatencies(_SPACE.name, device, "2021-01-01T00:00:00Z", f"column {device}", None, networks)
    NETWORKS_DOCUMENT.save(told, path)
    return path


def run_search(task: Task) -> dict[str, Any]:
    """Run one search and judge its family."""
    cells = Cells.read(task.data_dir, DEVICES)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        prices = [*(column_file(cells, device, task.seed, folder) for device in DEVICES), _TABLE]
        began = time.perf_counter()
        outcome = finish(darts_run(task.request(prices, folder / "run")), f"{task.variant}, seed {task.seed}")
        family = finish(darts_family(FamilyRequest(folder / "run")))
    return {"seconds": round(time.perf_counter() - began, 1), **judged(cells, outcome, family, task)}


def judged(cells: Cells, outcome: DartsOutcome, family: Family, task: Task) -> dict[str, Any]:
    """Return what is told of one search."""
    accuracy = cells.accuracy["cifar10"]
    picked = family.members[0]
    limits = [at_limit(cells, family, device, quantile) for device in DEVICES for quantile in QUANTILES]
    spearmans = {name: value for name, value in outcome.last.monotony.items() if name != "complexity"}
    best = max(family.members, key=lambda member: accuracy[_row(cells, member)])
    return {
        "variant": task.variant,
        "seed": task.seed,
        "epochs": outcome.last.epoch,
        "stopped": outcome.last.stopped,
        "distinct": len(family.members),
        "price_spearman": spearmans,
        "picked": picked.architecture,
        "picked_accuracy": round(float(accuracy[_row(cells, picked)]), 2),
        "best_accuracy": round(float(accuracy[_row(cells, best)]), 2),
        "median_skips": statistics.median(member.architecture.count("skip_connect") for member in family.members),
        "all_skip_on_front": any(member.pareto and computes_nothing(member) for member in family.members),
        "percentile_worst": min(one["percentile"] for one in limits),
        "limits": limits,
    }


def at_limit(cells: Cells, family: Family, device: str, quantile: float) -> dict[str, Any]:
    """Judge the member that is picked under a limit: the best validated of those whose bound keeps it."""
    latencies, accuracy = cells.latency_ms[device], cells.accuracy["cifar10"]
    limit_ms = float(np.quantile(latencies, quantile))
    place = [one.name for one in family.devices].index(device)
    within = [member for member in family.members if (member.latencies[place].bound_ms or np.inf) <= limit_ms]
    told: dict[str, Any] = {"device": device, "quantile": quantile, "limit_ms": round(limit_ms, 3)}
    if not within:
        return {**told, "members": 0, "keeps": False, "accuracy": None, "percentile": 0.0}
    row = _row(cells, within[0])  # members are in the order of preference
    keeps = bool(latencies[row] <= limit_ms)
    random = accuracy[cells.connected & (latencies <= limit_ms)]
    percentile = 100 * float(np.mean(random < accuracy[row])) if keeps else 0.0
    return {
        **told,
        "members": len(within),
        "keeps": keeps,
        "accuracy": round(float(accuracy[row]), 2),
        "percentile": round(percentile, 1),
        "percentile_75_accuracy": round(float(np.percentile(random, 75)), 2),
    }


def computes_nothing(member: FamilyMember) -> bool:
    """Tell whether a cell executes neither a convolution nor a pool: skips alone."""
    executed = dict(_SPACE.computation(_SPACE.parse(member.architecture)).operations)
    return not any(executed.get(operation) for operation in (*CONVOLUTIONS, AVG_POOL))


def _row(cells: Cells, member: FamilyMember) -> int:
    architecture: Architecture = _SPACE.parse(member.architecture)
    return cells.row(architecture)


def summary(searches: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the figures of the searches of one variant."""
    spearmans = [value for one in searches for value in one["price_spearman"].values() if value is not None]
    return {
        "distinct": min(one["distinct"] for one in searches),
        "price_spearman": max(spearmans, default=None),
        "picked_accuracy": statistics.median(one["picked_accuracy"] for one in searches),
        "picked_percentile_worst": min(one["percentile_worst"] for one in searches),
        "all_skip_on_front": any(one["all_skip_on_front"] for one in searches),
    }


def main() -> None:
    """Run the benchmark and print its result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir", type=Path, required=True, help="folder of the public data")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--epochs", type=int, help="fewer than the default, to try the benchmark out")
    parser.add_argument("--ablation", action="store_true", help="one search of each variant, of the first seed")
    parser.add_argument("--processes", type=int, default=2, help="searches side by side")
    options = parser.parse_args()
    if options.ablation:
        tasks = [Task(options.data_dir, variant, options.seeds[0], options.epochs) for variant in VARIANTS]
    else:
        tasks = [Task(options.data_dir, next(iter(VARIANTS)), seed, options.epochs) for seed in options.seeds]
    try:
        spawning = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(options.processes, mp_context=spawning) as pool:
            searches = list(pool.map(run_search, tasks))
        figures: dict[str, Any] = {} if options.ablation else summary(searches)
        if not options.ablation:
            with tempfile.TemporaryDirectory() as temporary:
                folder = Path(temporary)
                cells = Cells.read(options.data_dir, DEVICES)
                prices = [*(column_file(cells, device, 0, folder) for device in DEVICES), _TABLE]
                members = statistics.median(one["distinct"] for one in searches)
                figures |= cost_ratios(tasks[0].request(prices, folder / "run"), int(members))
    except SearcherError as e:
        sys.exit(f"darts_cc: {e}")
    settings = dataclasses.asdict(tasks[0].settings) | {"fitted_cells": FITTED, "processes": options.processes}
    print(json.dumps({**figures, "searches": searches, "settings": settings, "machine": describe_machine()}))


if __name__ == "__main__":
    main()
