"""How many samples fill a population of 50 under tightening limits (HW-EvRSNAS, Fig. 5): penalty against rejection.

`python -m benchmarks.sampling` takes the multiply-accumulates of NAS-Bench-201's cells, which the space knows; with
`--data-dir` also their latencies on raspi4, of `nasbench201_latency.csv.gz` in that folder. Limits are quantiles of the
connected cells, down to the thousandth. Where cells cost the same, more of them keep a limit than its quantile says:
one in 23 has no convolution, and so the least multiply-accumulates. Nothing is trained, and all cells are worth the
same: only limits guide. Each number is the mean of 10 runs.

The last line is one JSON object with

* `population`, `runs`;
* `rejection_samples`, `penalty_samples`: at the tightest limit on multiply-accumulates;
* `limits`: for `flops` (MFLOPs) and, with data, `raspi4` (ms) a list, the widest first, with
  * `at_most`, and `share`, which of the connected cells keep it;
  * `feasible_share`: which of random samples keep it and are connected;
  * `rejection_samples`: drawn until each of 50 members keeps it, or has been drawn as often as a search draws at most;
    `rejection_unfilled`: members for which that was not enough;
  * `penalty_samples`: 50 whatever the limit, of which `penalty_trainings` are connected and trained;
  * `deb_samples`: 50 as well, of which `deb_trainings` keep the limit and are trained;
  * `deb_samples_to_feasible`: members that a search by Deb's rules has seen when 50 of them, whether or not they are
    alike, have kept the limit; null if a run has not come so far after 100 generations.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from searcher.cost_models.prices import UNITS, CountPrice
from searcher.errors import BadInputError, SearcherError
from searcher.search.evaluator import Evaluator, Rung
from searcher.search.evolution import EvolutionSettings, admitted, evolve
from searcher.search.limits import Constraint, Limit
from searcher.search.possible import connected_encodings
from searcher.search.preference import debs
from searcher.search.scores.measuring import Measured
from searcher.spaces.architecture import Architecture
from searcher.spaces.nasbench201 import NasBench201

POPULATION, RUNS = 50, 10
SHARES = (0.5, 0.25, 0.1, 0.05, 0.02, 0.01, 0.005, 0.002, 0.001)
_GENERATIONS = 100
_LATENCIES, _COLUMN = "nasbench201_latency.csv.gz", "raspi4_ms"


@dataclass(frozen=True, eq=False)
class Column:
    """What each cell costs, looked up; fits `Priced`.

    Attributes:
        name: of the column.
        quantity: flops or latency.
        by_genotype: (5, 5, 5, 5, 5, 5) the cost of each cell, in the unit.
    """

    name: str
    quantity: str
    by_genotype: NDArray[np.float64]

    @property
    def unit(self) -> str:
        """Of the quantity."""
        return UNITS[self.quantity]

    def cost(self, architecture: Architecture) -> float:
        """Return what a cell costs."""
        return float(self.by_genotype[architecture.genotype])

    def costs(self, genotypes: NDArray[np.integer[Any]]) -> NDArray[np.float64]:
        """Return (n,) what (n, 6) encodings cost."""
        return np.asarray(self.by_genotype[tuple(genotypes.T)], np.float64)


class Alike:
    """Finds all architectures worth the same; fits `Measurer` and `Score`."""

    name = "alike"
    names = values = ("worth",)
    identity: Mapping[str, Any] = {}

    def measure(self, architectures: Sequence[Architecture]) -> list[Measured]:
        """Return 0 for each."""
        return [Measured({"worth": 0.0})] * len(architectures)

    def scores(self, measured: Sequence[Mapping[str, float]]) -> NDArray[np.float64]:
        """Return (n,) zeros."""
        return np.zeros(len(measured))


def flops_column(space: NasBench201) -> Column:
    """Return the multiply-accumulates of all cells, in millions."""
    genotypes = np.indices((5,) * 6).reshape(6, -1).T
    return Column("flops", "flops", CountPrice(space, "flops").costs(genotypes).reshape((5,) * 6))


def latency_column(space: NasBench201, data_dir: Path) -> Column:
    """Read the latencies of all cells on raspi4, in ms.

    Raises:
        BadInputError: the file cannot be read or lacks a cell.
    """
    found = np.full((5,) * 6, np.nan)
    try:
        with gzip.open(data_dir / _LATENCIES, "rt", encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                found[space.parse(row["architecture"]).genotype] = float(row[_COLUMN])
    except (OSError, EOFError, KeyError, ValueError) as e:
        raise BadInputError(f"cannot read {_COLUMN} from {data_dir / _LATENCIES}: {e}") from e
    if np.isnan(found).any():
        raise BadInputError(f"{data_dir / _LATENCIES} lacks {int(np.isnan(found).sum())} cells")
    return Column("raspi4", "latency", found)


def tightening(space: NasBench201, column: Column, shares: Sequence[float], runs: int) -> list[dict[str, Any]]:
    """Return what the JSON says of limits at quantiles of the connected cells, the widest first."""
    connected = np.sort(column.costs(connected_encodings(space)))
    limits = {float(connected[max(1, round(share * len(connected))) - 1]) for share in shares}
    return [_limited(space, column, connected, at_most, runs) for at_most in sorted(limits, reverse=True)]


def _limited(
    space: NasBench201, column: Column, connected: NDArray[np.float64], at_most: float, runs: int
) -> dict[str, Any]:
    constraint = Constraint(Limit(column.quantity, at_most), column)
    found = [_run(space, constraint, seed) for seed in range(runs)]
    reached = [one.deb_samples_to_feasible for one in found]
    return {
        "at_most": at_most,
        "share": float((connected <= at_most).mean()),
        "feasible_share": float(np.mean([one.feasible for one in found]) / POPULATION),
        "rejection_samples": float(np.mean([one.rejection_samples for one in found])),
        "rejection_unfilled": float(np.mean([one.rejection_unfilled for one in found])),
        "penalty_samples": POPULATION,
        "penalty_trainings": float(np.mean([one.connected for one in found])),
        "deb_samples": POPULATION,
        "deb_trainings": float(np.mean([one.feasible for one in found])),
        "deb_samples_to_feasible": None
        if any(one is None for one in reached)
        else float(np.mean([one for one in reached if one is not None])),
    }


@dataclass(frozen=True)
class _Run:
    connected: int
    feasible: int
    rejection_samples: int
    rejection_unfilled: int
    deb_samples_to_feasible: int | None


def _run(space: NasBench201, constraint: Constraint, seed: int) -> _Run:
    alike = Alike()
    evaluator = Evaluator(space, [constraint], [Rung(alike)], alike, screens=True)
    generator = np.random.default_rng(seed)
    filled = [admitted(lambda: space.sample(generator), evaluator.violation) for _ in range(POPULATION)]
    unfilled = sum(evaluator.violation(member) > 0 for member, _ in filled)
    settings = EvolutionSettings(population=POPULATION, generations=_GENERATIONS, seed=seed)
    seen, kept, first = 0, 0, None
    for generation in evolve(space, evaluator.evaluate, debs, settings):
        candidates = [candidate for _, candidate in generation.population]
        first = first or candidates
        feasible = [candidate.feasible for candidate in candidates]
        if kept + sum(feasible) >= POPULATION:
            place = np.flatnonzero(feasible)[POPULATION - kept - 1]
            return _finished(first, filled, unfilled, seen + int(place) + 1)
        seen, kept = seen + len(candidates), kept + sum(feasible)
    return _finished(first or [], filled, unfilled, None)


def _finished(
    first: Sequence[Any], filled: Sequence[tuple[Architecture, int]], unfilled: int, seen: int | None
) -> _Run:
    return _Run(
        connected=sum(candidate.problem is None for candidate in first),
        feasible=sum(candidate.feasible for candidate in first),
        rejection_samples=sum(draws for _, draws in filled),
        rejection_unfilled=unfilled,
        deb_samples_to_feasible=seen,
    )


def main() -> None:
    """Run the benchmark and print its result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir", type=Path, help="folder of public data, for latencies on raspi4")
    parser.add_argument("--runs", type=int, default=RUNS)
    parser.add_argument("--shares", type=float, nargs="+", default=SHARES, help="of cells that keep the limit")
    options = parser.parse_args()
    space = NasBench201()
    try:
        columns = [flops_column(space)]
        if options.data_dir is not None:
            columns.append(latency_column(space, options.data_dir))
        limits = {one.name: tightening(space, one, options.shares, options.runs) for one in columns}
    except SearcherError as e:
        sys.exit(f"benchmarks.sampling: {e}")
    tightest = limits["flops"][-1]
    result = {
        "benchmark": "sampling",
        "population": POPULATION,
        "runs": options.runs,
        "rejection_samples": tightest["rejection_samples"],
        "penalty_samples": tightest["penalty_samples"],
        "limits": limits,
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
