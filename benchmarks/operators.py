"""Whether the operators that `agent ops` tells sum to what a network takes, measured without any profiler.

`python -m benchmarks.operators` examines ten whole networks with ONNX Runtime and with LiteRT. Before each of the
agent's processes a plain loop, without any code of the agent, measures the same network in a process of its own: the
two alternate, and each process of the agent is compared with the plain loop just before it, so that a machine that
changes its speed within minutes changes both. `ratio` is the sum of the estimates and of the call over the agent's own
unprofiled latency, times the median over the pairs of the agent's latency over the plain loop's; `unpaired_ratio` is
the same sum over the median of all plain loops. Where the interval of the pairs' median is wider than half the limit,
too few pairs were taken for a machine as unsteady, and the network is examined again with twice as many, up to three
times; the ratio itself decides nothing. The last line is one JSON object: `onnx_ratio_worst` and `tflite_ratio_worst`
are the ratios farthest from 1, `profiler_inflation` the median of profiled ÷ unprofiled latency, `tflite_additivity`
what the parts sum to before they are scaled to the whole.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.bare import BareRunError, bare_latency_ms
from benchmarks.machine import describe_machine
from benchmarks.whole_networks import export, networks
from profiler_agent.errors import AgentError
from profiler_agent.launch import launch_worker
from profiler_agent.ops import Examination, examine
from profiler_agent.orders import BatchTaken, Reply, WorkOrder
from profiler_agent.records import OperatorReport, Settings, format_operator_report
from profiler_agent.statistics import median_interval
from searcher.artifacts import cache_folder
from searcher.export import to_onnx, to_tflite

_FORMATS = {"onnxruntime": to_onnx, "litert": to_tflite}
_LIMITS_PCT = {"onnxruntime": 2.0, "litert": 5.0}
_MOST_TRIES = 3
# Fewer have no interval of 95%.
_FEWEST_ROUNDS = 6
_NAMES = {"onnxruntime": "onnx", "litert": "tflite"}


def main() -> None:
    """Run the benchmark and print its result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir", type=Path, help="unused: this benchmark needs no public data")
    parser.add_argument("--cells", type=int, default=7, help="NAS-Bench-201 cells beside the three other networks")
    parser.add_argument("--seed", type=int, default=0, help="of the cells")
    parser.add_argument("--budget-s", type=float, default=22.0, help="measuring one network with one runtime")
    parser.add_argument("--rounds", type=int, default=12, help="fresh processes for a network")
    parser.add_argument("--out", type=Path, help="folder for the reports of `agent ops`")
    options = parser.parse_args()
    settings = Settings(rounds=options.rounds, samples=10)
    start_s = time.monotonic()
    made = networks(options.cells, options.seed)
    folder = cache_folder() / "exports"
    files = {
        (name, runtime): export(name, make, file_format, folder)
        for name, make in made.items()
        for runtime, file_format in _FORMATS.items()
    }
    results: dict[str, dict[str, Any]] = {}
    for (name, runtime), path in files.items():
        try:
            report, pairs = steadily(path, dataclasses.replace(settings, runtime=runtime), options.budget_s)
        except (AgentError, BareRunError) as e:
            sys.exit(f"benchmarks.operators: {name}: {e}")
        results.setdefault(name, {})[_NAMES[runtime]] = figures(report, pairs)
        print(f"{runtime:12} {ratio_of(report, pairs):.4f} {name}", file=sys.stderr)
        if options.out is not None:
            keep(report, options.out / f"{len(results)}-{_NAMES[runtime]}.json", name)
    result = {
        "benchmark": "operators",
        "machine": describe_machine(),
        "settings": {**dataclasses.asdict(settings), "budget_s": options.budget_s, "seed": options.seed},
        **summary(results),
        "networks": results,
        "seconds": round(time.monotonic() - start_s, 1),
    }
    print(json.dumps(result))


@dataclass(frozen=True)
class Pair:
    """Latencies of one network in neighbouring processes, in ms: one of the agent, and the plain loop just before."""

    agent_ms: float
    bare_ms: float


def steadily(model: Path, settings: Settings, budget_s: float) -> tuple[OperatorReport, tuple[Pair, ...]]:
    """Examine a network until the pairs tell enough, or three times, each twice as long: the steadiest counts."""
    tries: list[tuple[OperatorReport, tuple[Pair, ...]]] = []
    while len(tries) < _MOST_TRIES:
        more = 2 ** len(tries)
        tries.append(examined(model, dataclasses.replace(settings, rounds=more * settings.rounds), more * budget_s))
        _, pairs = tries[-1]
        if len(pairs) >= _FEWEST_ROUNDS and spread_pct(pairs) <= _LIMITS_PCT[settings.runtime] / 2:
            break
    # Few rounds have a narrow range by chance.
    return min(tries, key=lambda one: (len(one[1]) < _FEWEST_ROUNDS, spread_pct(one[1])))


def spread_pct(pairs: Sequence[Pair]) -> float:
    """Return half the width of the interval of the pairs' ratios, in percent of their median."""
    ratios = [pair.agent_ms / pair.bare_ms for pair in pairs]
    low, high, _ = median_interval(ratios)
    return 50 * (high - low) / statistics.median(ratios)


def examined(model: Path, settings: Settings, budget_s: float) -> tuple[OperatorReport, tuple[Pair, ...]]:
    """Examine a network, a plain loop before each measuring process, and return both."""
    pairs: list[Pair] = []

    def launch(order: WorkOrder) -> Iterator[Reply]:
        whole = next((block.block_id for block in order.blocks if block.file == str(model)), None)
        if whole is None:
            yield from launch_worker(order)
            return
        bare_ms = bare_latency_ms(settings.runtime, model)
        for reply in launch_worker(order):
            if isinstance(reply, BatchTaken) and reply.block_id == whole:
                pairs.append(Pair(statistics.median(reply.samples_ns) / reply.inner_loops / 1e6, bare_ms))
            yield reply

    with tempfile.TemporaryDirectory() as folder:
        wanted = Examination(model, settings, {}, budget_s)
        report = examine(wanted, Path(folder), lambda _sentence: None, launch=launch)
    return report, tuple(pairs)


def figures(report: OperatorReport, pairs: Sequence[Pair]) -> dict[str, Any]:
    """Return what is told of one network and runtime."""
    inflation = report.profiler_inflation
    bare_ms = statistics.median(pair.bare_ms for pair in pairs)
    return {
        "ratio": round(ratio_of(report, pairs), 4),
        "unpaired_ratio": round(report.total_ms / bare_ms, 4),
        "sum_ms": round(report.total_ms, 5),
        "bare_ms": round(bare_ms, 5),
        "spread_pct": round(spread_pct(pairs), 2),
        "rounds": len(pairs),
        "operators": len(report.operators),
        "unattributed_ms": round(report.unattributed_ms, 5),
        "additivity": None if report.additivity is None else round(report.additivity, 4),
        "profiler_inflation": None if inflation is None else round(inflation, 3),
    }


def ratio_of(report: OperatorReport, pairs: Sequence[Pair]) -> float:
    """Return the sum of the parts over what the plain loops took."""
    return report.total_ms / report.wall_ms * statistics.median(pair.agent_ms / pair.bare_ms for pair in pairs)


def summary(results: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Return the figures over all networks."""
    told: dict[str, Any] = {}
    for runtime, limit_pct in _LIMITS_PCT.items():
        family = _NAMES[runtime]
        ratios = [one[family]["ratio"] for one in results.values()]
        worst = max(ratios, key=lambda ratio: abs(ratio - 1))
        told[f"{family}_ratio_worst"] = worst
        told[f"{family}_unpaired_ratio_worst"] = max(
            (one[family]["unpaired_ratio"] for one in results.values()), key=lambda ratio: abs(ratio - 1)
        )
        told[f"{family}_ratio_median"] = round(statistics.median(ratios), 4)
        told[f"{family}_spread_worst_pct"] = max(one[family]["spread_pct"] for one in results.values())
        told[f"{family}_holds"] = abs(worst - 1) <= limit_pct / 100
        additivity = [one[family]["additivity"] for one in results.values() if one[family]["additivity"] is not None]
        told[f"{family}_additivity"] = {
            "least": min(additivity, default=None),
            "median": round(statistics.median(additivity), 4) if additivity else None,
            "most": max(additivity, default=None),
        }
    inflations = [one["onnx"]["profiler_inflation"] for one in results.values()]
    told["profiler_inflation"] = round(statistics.median(inflations), 3)
    return told


def keep(report: OperatorReport, path: Path, name: str) -> None:
    """Write a report, the model called by its network's name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(format_operator_report(dataclasses.replace(report, model=name)), encoding="utf-8")


if __name__ == "__main__":
    main()
