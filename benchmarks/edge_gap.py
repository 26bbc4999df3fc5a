"""How far the edge-additive model is from the sum over blocks whose prices it has, on the architectures of a space.

`python -m benchmarks.edge_gap TABLE…` takes lookup tables that `searcher profile` wrote. Of a small space all
architectures are looked at, of a large one a random sample; disconnected ones are left out. Nothing is measured.

The last line is one JSON object with

* `spearman`: rank correlation of the two models, of the worst table;
* `median_pct`, `worst_pct`: by how much the edge-additive model says more, of the worst table;
* `tables`: the same for each, with `worst`, the architecture that is farthest off, and `architectures`, their number.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.table_lookup import encodings
from searcher.cost_models.block_sum import BlockSum
from searcher.cost_models.edge_additive import EdgeAdditive, gap
from searcher.errors import SearcherError
from searcher.spaces.catalogue import space_named
from searcher.spaces.space import SearchSpace
from searcher.tables.lookup_table import TABLE_DOCUMENT, LookupTable

_MOST_IN_FULL = 1_000_000


def all_or_some(space: SearchSpace, sample: int, seed: int) -> NDArray[np.integer[Any]]:
    """Return all encodings of a space, or (sample, genes) drawn ones where they are more than a million."""
    genes, choices = space.additive_counts().choices.shape[:2]
    if choices**genes <= _MOST_IN_FULL:
        return np.indices((choices,) * genes).reshape(genes, -1).T
    return encodings(space, sample, np.random.default_rng(seed))


def gap_of(table: LookupTable, sample: int, seed: int) -> dict[str, Any]:
    """Return what the JSON says of one table."""
    space = space_named(table.space)
    model = BlockSum(space, table)
    found = gap(space, EdgeAdditive.of(space, model.block_ms), model, all_or_some(space, sample, seed))
    return {"space": space.name, "device": table.provenance.device, **dataclasses.asdict(found)}


def main() -> None:
    """Run the benchmark and print its result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tables", type=Path, nargs="+", help="lookup tables")
    parser.add_argument("--sample", type=int, default=100_000, help="architectures of a large space")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    try:
        tables = {str(path): gap_of(TABLE_DOCUMENT.load(path), options.sample, options.seed) for path in options.tables}
    except SearcherError as e:
        sys.exit(f"benchmarks.edge_gap: {e}")
    correlations = [one["spearman"] for one in tables.values() if one["spearman"] is not None]
    result = {
        "benchmark": "edge_gap",
        "settings": {"sample": options.sample, "seed": options.seed},
        "spearman": min(correlations, default=None),
        "median_pct": max((one["median_pct"] for one in tables.values()), key=abs),
        "worst_pct": max((one["worst_pct"] for one in tables.values()), key=abs),
        "tables": tables,
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
