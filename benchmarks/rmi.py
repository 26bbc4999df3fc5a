"""How fast and how well the evaluator scores candidates, beside a plain loop in the style of RMI-NAS.

`python -m benchmarks.rmi --data-dir DIR [--rescore-seed S]` judges 60 random NAS-Bench-201 cells, which a seed fixes.
DIR holds `cifar10_subset.npz`, `resnet20_cifar10.pt` and `nasbench201_accuracy.csv.gz`. The loop
(benchmarks.plain_loop: N = 5, batch 32, 150 steps, one by one) took long, so its scores are kept in
benchmarks/results/plain_loop.json; each run scores five of the cells, drawn by S, with the loop again, and tells
whether they come out as kept.

Times are of those five cells, both roads in this run and in turn. The loop takes them one by one; the evaluator, which
works on a generation at once, takes each of them four times, and all twenty at once.

The last line is one JSON object with

* `speedup`: the loop's time for a candidate ÷ the evaluator's in its chosen setting;
* `equal_work_speedup`: the same where the loop trains at the evaluator's N and batch for the evaluator's steps alone;
  `equal_work_speedup_fp32` where the evaluator keeps to the loop's fp32, too;
* `tau`: Kendall's τ-b of the evaluator's φ with true CIFAR-10 accuracy; `tau_reference`: of the loop's φ;
* `delta_tau_low`: lower end of the paired 95% bootstrap interval of `tau` - `tau_reference`;
* `tau_fused`: of the score `fused`, and `fused_gain`, by how much that is above living parameters alone (paired);
* `rescored_agree`: whether the five come out as kept, with `rescored`, how far they are off;
* `scores`: τ with its interval for every score.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.machine import describe_machine
from benchmarks.plain_loop import SETTINGS as LOOP_SETTINGS
from benchmarks.plain_loop import THREADS, LoopScore, PlainLoop, judged_cells, read_scores
from benchmarks.published_cells import Cells
from benchmarks.score_all import CELLS_PER_STAGE, SETTINGS, scorer
from searcher.errors import SearcherError
from searcher.search.scores.batch_training import FP32
from searcher.search.scores.correlation import correlation, correlation_difference
from searcher.search.scores.counted import Counted
from searcher.search.scores.joined import Joined
from searcher.search.scores.named_scores import FUSED, LIVE_PARAMETERS, NAMED_SCORES, RMI
from searcher.search.scores.zero_cost import ZeroCost, ZeroCostSettings
from searcher.spaces.architecture import Architecture
from searcher.spaces.nasbench201 import NasBench201
from searcher.training.datasets import load_dataset

_KEPT = Path(__file__).parent / "results" / "plain_loop.json"
_RESCORED, _TIMES_EACH, _ROUNDS = 5, 4, 3
# The loop is the same arithmetic on the same processor bit for bit. Elsewhere sums are rounded otherwise, and 150 steps
# at this rate let that grow: between one and two threads φ moved by less than this.
_AGREES_WITHIN = 0.05
_SPACE = NasBench201()


def measured_values(cells: Sequence[Architecture], data_dir: Path) -> list[Mapping[str, float]]:
    """Return all values that named scores are made of, for each cell.

    Raises:
        SearcherError: one of them cannot be measured.
    """
    dataset = load_dataset(f"cifar10:{data_dir / 'cifar10_subset.npz'}")
    zero_cost = ZeroCost(NasBench201(cells_per_stage=1), dataset, ZeroCostSettings())
    found = Joined([Counted(_SPACE), zero_cost, scorer(data_dir)]).measure(cells)
    problems = [one.problem for one in found if one.problem is not None]
    if problems:
        raise SearcherError(f"one of the cells has no score: {problems[0]}")
    return [one.values for one in found]


def correlations(
    values: Sequence[Mapping[str, float]], kept: Mapping[str, LoopScore], truth: NDArray[np.float64]
) -> dict[str, Any]:
    """Return τ with true accuracy of every score, the loop's beside them, and what is compared of them."""
    loop = [kept[_SPACE.format(cell)] for cell in judged_cells()]
    scored = {score.name: score.scores(values) for score in (*NAMED_SCORES, LIVE_PARAMETERS)}
    scored |= {"loop rmi": np.array([one.rmi for one in loop]), "loop rmi-loss": -np.array([one.loss for one in loop])}
    taus = {name: correlation(one, truth, np.random.default_rng(0)) for name, one in scored.items()}
    difference = correlation_difference(scored[RMI.name], scored["loop rmi"], truth, np.random.default_rng(0))
    alone = scored[LIVE_PARAMETERS.name]
    gain = correlation_difference(scored[FUSED.name], alone, truth, np.random.default_rng(0))
    return {
        "tau": taus[RMI.name].value,
        "tau_reference": taus["loop rmi"].value,
        "delta_tau_low": None if difference.interval is None else difference.interval[0],
        "delta_tau": asdict(difference),
        "tau_fused": taus[FUSED.name].value,
        "fused_gain": asdict(gain),
        "scores": {name: asdict(one) for name, one in taus.items()},
    }


def speeds(cells: Sequence[Architecture], data_dir: Path) -> tuple[dict[str, Any], list[LoopScore]]:
    """Time both roads on the same cells, in turn; and return the loop's full scores."""
    same = replace(LOOP_SETTINGS, steps=SETTINGS.steps, batch_size=SETTINGS.batch_size)
    evaluator, exact = scorer(data_dir, THREADS), scorer(data_dir, THREADS, FP32)
    loop, short_loop = PlainLoop(data_dir), PlainLoop(data_dir, CELLS_PER_STAGE, same)
    many = [cell for cell in cells for _ in range(_TIMES_EACH)]
    rescored, seconds = (
        list[LoopScore](),
        dict[str, list[float]](evaluator=[], evaluator_fp32=[], loop=[], short_loop=[]),
    )
    list(evaluator.trajectories(cells[:2]))  # what is allocated once
    short_loop.score(cells[0])
    for turn in range(_ROUNDS):
        for name, road in (("evaluator", evaluator), ("evaluator_fp32", exact)):
            start = time.perf_counter()
            list(road.trajectories(many))
            seconds[name].append((time.perf_counter() - start) / len(many))
        seconds["short_loop"].append(float(np.mean([short_loop.score(cell).seconds for cell in cells])))
        rescored += [loop.score(cell) for cell in cells[turn::_ROUNDS]]
    seconds["loop"] = [float(np.mean([one.seconds for one in rescored]))]
    medians = {name: float(np.median(one)) for name, one in seconds.items()}
    return {
        "speedup": medians["loop"] / medians["evaluator"],
        "equal_work_speedup": medians["short_loop"] / medians["evaluator"],
        "equal_work_speedup_fp32": medians["short_loop"] / medians["evaluator_fp32"],
        "seconds_per_candidate": {name: [round(one, 4) for one in values] for name, values in seconds.items()},
    }, rescored


def agreement(rescored: Sequence[LoopScore], kept: Mapping[str, LoopScore]) -> dict[str, Any]:
    """Tell whether the loop says of cells what it said when its scores were kept."""
    off = {one.architecture: one.rmi - kept[one.architecture].rmi for one in rescored}
    return {"rescored_agree": all(abs(one) <= _AGREES_WITHIN for one in off.values()), "rescored": off}


def main() -> None:
    """Run the benchmark and print its result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--rescore-seed", type=int, default=0, help="draws the cells that the loop scores again")
    options = parser.parse_args()
    torch.set_num_threads(THREADS)
    try:
        with tempfile.TemporaryDirectory() as cache:
            os.environ["PROFILER_CACHE"] = cache  # nothing kept of an earlier run may answer
            kept, cells, published = read_scores(_KEPT), judged_cells(), Cells.read(options.data_dir, ())
            if len(kept) != len(cells):
                raise SearcherError(f"{_KEPT} holds {len(kept)} of {len(cells)} scores: run benchmarks.plain_loop")
            drawn = np.random.default_rng(options.rescore_seed).choice(len(cells), _RESCORED, replace=False)
            timed, rescored = speeds([cells[index] for index in drawn], options.data_dir)
            known = np.array([published.accuracy["cifar10"][published.row(cell)] for cell in cells])
            judged = correlations(measured_values(cells, options.data_dir), kept, known)
    except SearcherError as e:
        sys.exit(f"benchmarks.rmi: {e}")
    result = {
        "benchmark": "rmi",
        "settings": {
            "threads": THREADS,
            "evaluator": {**asdict(SETTINGS), "cells_per_stage": CELLS_PER_STAGE},
            "loop": asdict(LOOP_SETTINGS),
            "fused": [part.name for part in FUSED.parts],
            "rescore_seed": options.rescore_seed,
            "cells": len(cells),
        },
        "machine": describe_machine(),
        **timed,
        **judged,
        **agreement(rescored, kept),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
