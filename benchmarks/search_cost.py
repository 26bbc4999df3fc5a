"""What a whole search costs: 20 architectures in 100 generations under a latency limit, on real images.

`python -m benchmarks.search_cost --data-dir DIR [--lut FILE]` searches NAS-Bench-201 with the default score and its
default setting, as `searcher search` does, in a cache folder of its own that is empty at first. DIR holds
`cifar10_subset.npz` and `resnet20_cifar10.pt`; FILE is a lookup table, by default one that the project ships. Three
searches of one seed follow each other: with nothing kept; with halving, with nothing kept; and once more as the first,
with what that kept.

The last line is one JSON object with

* `seconds`: of the first search, from the table to the ranked candidates;
* `device`: what trained the candidates;
* `trainings`: how many trainings that took, of how many `evaluations` (members of all generations);
* `avoided`: evaluations without a training, by what spared it: those met before, those that train like one met before
  (`shared`), those screened out as over the limit or disconnected;
* `halved`: seconds, and trainings in each rung, with halving; `again`: seconds and trainings with what was kept;
* `spent`: processor time, energy and CO₂ of the first search.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from benchmarks.machine import describe_machine
from searcher.cli import show
from searcher.errors import SearcherError
from searcher.search.candidate import SearchResult
from searcher.search.evolution import EvolutionSettings
from searcher.search.scores.batch_training import RmiSettings
from searcher.search.scores.trained_on_batch import quickest_precision
from searcher.spaces.nasbench201 import NasBench201
from searcher.tables.lookup_table import TABLE_DOCUMENT
from searcher.workflows.scoring import QUICK_STEPS, Halving, Scoring
from searcher.workflows.search_space import SearchRequest, search_space

_LUTS = Path(__file__).parents[1] / "luts"
_HALVING = (Halving(QUICK_STEPS // 2, 0.5),)


def figures(found: SearchResult) -> dict[str, Any]:
    """Return what the JSON says of one search.

    Raises:
        SearcherError: the search kept no account.
    """
    spent, measured = found.spent, found.measurements
    if spent is None or measured is None:
        raise SearcherError("the search kept no account")
    evaluations = _evaluations(found.settings["evolution"])
    trainings = list(measured.measured)
    trainings[0] -= spent.cached
    return {
        "seconds": round(spent.wall_s, 1),
        "evaluations": evaluations,
        "trainings": trainings,
        "avoided": {
            "met_before": evaluations - len(found.candidates),
            "shared": measured.shared,
            "over_limits": measured.over_limits,
            "disconnected": measured.disconnected,
            "kept": spent.cached,
            "halved": list(measured.halved),
        },
    }


def _evaluations(evolution: Mapping[str, int]) -> int:
    return int(evolution["population"] * (evolution["generations"] + 1))


def request_of(data_dir: Path, lut: Path, generations: int, seed: int) -> SearchRequest:
    """Return the search that is timed.

    Raises:
        BadInputError: the table cannot be read.
    """
    return SearchRequest(
        space=NasBench201(),
        scoring=Scoring(rmi=RmiSettings(steps=QUICK_STEPS, seed=seed, precision=quickest_precision())),
        table=TABLE_DOCUMENT.load(lut),
        limit_ms=None,
        data=f"cifar10:{data_dir / 'cifar10_subset.npz'}",
        reference=data_dir / "resnet20_cifar10.pt",
        evolution=EvolutionSettings(generations=generations, seed=seed),
        source=lut.name,
    )


def main() -> None:
    """Run the benchmark and print its result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--lut", type=Path, default=sorted(_LUTS.glob("*.json"))[0])
    parser.add_argument("--generations", type=int, default=EvolutionSettings().generations)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    try:
        request = request_of(options.data_dir, options.lut, options.generations, options.seed)
        first, again = _in_one_cache(request, request)
        (halved,) = _in_one_cache(replace(request, scoring=replace(request.scoring, halving=_HALVING)))
        told = figures(first)
        found = {
            "halved": figures(halved),
            "again": figures(again),
            "spent": asdict(first.spent) if first.spent else None,
        }
    except SearcherError as e:
        sys.exit(f"benchmarks.search_cost: {e}")
    result = {
        "benchmark": "search_cost",
        "settings": {"lut": options.lut.name, "seed": options.seed, **first.settings, "score": first.score},
        "machine": describe_machine(),
        "device": f"cpu, {request.scoring.threads} processors",
        **told,
        "trainings": told["trainings"][0],
        **found,
    }
    print(json.dumps(result))


def _in_one_cache(*requests: SearchRequest) -> list[SearchResult]:
    with tempfile.TemporaryDirectory() as cache:
        os.environ["PROFILER_CACHE"] = cache
        return [show.run(search_space(request)) for request in requests]


if __name__ == "__main__":
    main()
