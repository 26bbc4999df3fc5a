"""How many architectures a second a cost model prices from a table, from integer encodings to latencies, on one core.

`python -m benchmarks.table_lookup` pins itself to one processor and allows BLAS one thread. For each space it draws a
new batch of encodings for each repetition, so that nothing can have been kept of any of them, and times
`BlockSum.latencies_ms` on it; drawing is not timed. The table's entries are made up (random and positive): their values
change the answers, not the work.

Beside it, in the same run, the road for one architecture: `latency_ms` in a plain loop over new `Architecture` objects,
what it keeps of cells thrown away before. Both roads must agree on what both have priced, or the benchmark ends with
status 1.

The last line is one JSON object with

* `architectures_per_second`: of the slower space, by the median batch;
* `spaces`: for each space, and for nasbench201 with all that a calibrated model counts (ReLUs shared and fused), this
  figure, that of its slowest and fastest batch, that of the loop (`one_at_a_time_per_second`), the ratio of the two,
  and by how much both roads' answers differ at most, relative.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.machine import describe_machine
from profiler_agent.environment import read_environment
from profiler_agent.records import TableKey
from searcher.cost_models.block_sum import BlockSum
from searcher.spaces.architecture import Architecture
from searcher.spaces.block import CALL_OVERHEAD
from searcher.spaces.catalogue import SPACES, space_named
from searcher.spaces.computation import computation
from searcher.spaces.darts import DartsSpace
from searcher.spaces.fusion import PRODUCERS, Fusion
from searcher.spaces.nasbench201 import NasBench201
from searcher.spaces.space import SearchSpace
from searcher.tables.lookup_table import Entry, LookupTable, Provenance

# BLAS libraries read these when they are loaded, and never again.
_ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
_AGREE_WITHIN = 1e-9


class DisagreementError(Exception):
    """The two roads to a latency give different answers."""


@dataclass(frozen=True)
class Plan:
    """What is timed.

    Attributes:
        batch: architectures that are priced at once.
        one_at_a_time: architectures that are priced one by one.
        repetitions: of either, each with new architectures.
        seed: of tables and architectures.
    """

    batch: int
    one_at_a_time: int
    repetitions: int
    seed: int


def made_up_table(space: SearchSpace, generator: np.random.Generator) -> LookupTable:
    """Return a table of random entries: the call takes 5 to 50 µs, every block up to 1 ms more."""
    call_ms = generator.uniform(0.005, 0.05)
    entries = {}
    for block in space.all_blocks():
        ms = call_ms if block == CALL_OVERHEAD else call_ms + generator.uniform(0.001, 1.0)
        entries[block.key] = Entry(ms, (ms, ms), 0.0, 1, 1, False, (), "")
    key = TableKey("made up", "none", "0", "none", "none", "fp32", 1, "any", False, "hot")
    return LookupTable(space.name, key, read_environment(), Provenance("", "made up", "0", None, {}), entries)


def encodings(space: SearchSpace, count: int, generator: np.random.Generator) -> NDArray[np.int64]:
    """Draw (count, genes) encodings uniformly."""
    if isinstance(space, DartsSpace):  # its positions depend on each other
        return np.array([space.sample(generator).genotype for _ in range(count)], np.int64)
    genes, choices = space.additive_counts().choices.shape[:2]
    return generator.integers(choices, size=(count, genes))


def cases() -> dict[str, SearchSpace]:
    """Return the spaces that are timed, by name."""
    spaces: dict[str, SearchSpace] = {name: space_named(name) for name in SPACES}
    fused = NasBench201(fusion=Fusion(merges=True, into=frozenset(PRODUCERS)))
    return {**spaces, "nasbench201, ReLUs fused": fused}


def measure(space: SearchSpace, plan: Plan) -> dict[str, Any]:
    """Time both roads on one space.

    Raises:
        DisagreementError: their answers differ by more than rounding.
    """
    generator = np.random.default_rng(plan.seed)
    model = BlockSum(space, made_up_table(space, generator))
    at_once = [_rate_at_once(model, encodings(space, plan.batch, generator)) for _ in range(plan.repetitions + 1)]
    del at_once[0]  # the first batch also pays for memory that later ones find
    singly, differences = [], []
    for _ in range(plan.repetitions):
        genotypes = encodings(space, plan.one_at_a_time, generator)
        rate, latencies = _one_at_a_time(space, model, genotypes)
        singly.append(rate)
        differences.append(float(np.max(np.abs(model.latencies_ms(genotypes) / latencies - 1))))
    require_agreement(space.name, max(differences))
    median, single = statistics.median(at_once), statistics.median(singly)
    return {
        "architectures_per_second": round(median),
        "slowest_batch_per_second": round(min(at_once)),
        "fastest_batch_per_second": round(max(at_once)),
        "one_at_a_time_per_second": round(single),
        "ratio": round(median / single, 1),
        "largest_relative_difference": max(differences),
    }


def require_agreement(space: str, difference: float) -> None:
    """Raise DisagreementError where the answers of both roads differ, relative, by more than rounding."""
    # Written so that what is no number is no agreement.
    if not difference <= _AGREE_WITHIN:
        raise DisagreementError(f"of one architecture of {space} the two roads' latencies differ by {difference:.2g}")


def _rate_at_once(model: BlockSum, genotypes: NDArray[np.int64]) -> float:
    start = time.perf_counter()
    model.latencies_ms(genotypes)
    return len(genotypes) / (time.perf_counter() - start)


def _one_at_a_time(
    space: SearchSpace, model: BlockSum, genotypes: NDArray[np.int64]
) -> tuple[float, NDArray[np.float64]]:
    rows = genotypes.tolist()
    computation.cache_clear()
    start = time.perf_counter()
    latencies = [model.latency_ms(Architecture(space.name, tuple(row))) for row in rows]
    return len(rows) / (time.perf_counter() - start), np.array(latencies)


def _on_one_core() -> None:
    """Pin this process, and begin it anew where BLAS was loaded with leave to use more threads."""
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    if any(os.environ.get(name) != value for name, value in _ONE_THREAD.items()):
        command = [sys.executable, "-m", "benchmarks.table_lookup", *sys.argv[1:]]
        os.execve(sys.executable, command, {**os.environ, **_ONE_THREAD})


def main() -> None:
    """Run the benchmark and print its result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=100_000, help="architectures priced at once")
    parser.add_argument("--one-at-a-time", type=int, default=2_000, help="architectures priced one by one")
    parser.add_argument("--repetitions", type=int, default=15)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    _on_one_core()
    plan = Plan(options.batch, options.one_at_a_time, options.repetitions, options.seed)
    try:
        spaces = {name: measure(space, plan) for name, space in cases().items()}
    except DisagreementError as e:
        sys.exit(f"benchmarks.table_lookup: {e}")
    result = {
        "benchmark": "table_lookup",
        "machine": describe_machine(),
        "settings": {
            **vars(options),
            "encodings": "int64, uniform, new for each repetition",
            "table": "made-up positive entries",
            "processor": min(os.sched_getaffinity(0)),
            "threads": _ONE_THREAD,
        },
        "architectures_per_second": min(one["architectures_per_second"] for one in spaces.values()),
        "spaces": spaces,
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
