"""What the agent adds to a run: its batches against a bare loop of the same runtime, alternating in one process.

`python -m benchmarks.overhead` opens each model twice, through the agent's session and by hand, and takes the
agent's batches and bare loops in turn. A case holds when the median difference of the pairs is at most 1 µs, or their
median ratio within 2% of 1. The last line is one JSON object with `cases` and `holds`.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from benchmarks.machine import describe_machine
from profiler_agent.records import Settings
from profiler_agent.runtimes import load_runtime
from profiler_agent.sampling import take_batch
from searcher.export.exporter import exporter_for
from searcher.spaces.block import CALL_OVERHEAD, BlockSpec

_LIMIT_US, _LIMIT_PCT = 1.0, 2.0


def cases() -> dict[str, BlockSpec]:
    """Return the models that are compared."""
    sizes = ((16, 32), (32, 32), (64, 32))
    return {"identity": CALL_OVERHEAD} | {
        f"relu_conv3x3_bn_{channels}": BlockSpec(
            "relu_conv_bn", ((1, channels, size, size),), channels, kernel=3, padding=1
        )
        for channels, size in sizes
    }


def main() -> None:
    """Run the benchmark and print its result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=40, help="batches of each kind and model")
    options = parser.parse_args()
    settings = Settings(optimization="extended", threads=1)
    with tempfile.TemporaryDirectory() as folder:
        results = {name: compare(spec, settings, options.pairs, Path(folder)) for name, spec in cases().items()}
    result = {
        "benchmark": "overhead",
        "machine": describe_machine(),
        "runtime": f"onnxruntime {onnxruntime.__version__}",
        "settings": {"optimization": "extended", "threads": 1, "samples": settings.samples, "pairs": options.pairs},
        "cases": results,
        "holds": all(case["holds"] for case in results.values()),
    }
    print(json.dumps(result))


def compare(spec: BlockSpec, settings: Settings, pairs: int, folder: Path) -> dict[str, Any]:
    """Alternate the agent's batches with bare loops of the same length, and compare their medians."""
    model = exporter_for("onnxruntime").export_block(spec, folder).path
    session = load_runtime("onnxruntime").open(model, settings, {})
    bare_run = open_bare(model)
    agent_us: list[float] = []
    bare_us: list[float] = []
    for _ in range(pairs):
        batch = take_batch(session.run, time.perf_counter_ns, settings.samples, settings.min_sample_ns)
        agent_us.append(statistics.median(batch.samples_ns) / batch.inner_loops / 1e3)
        bare_us.append(bare_loop_us(bare_run, batch.inner_loops, settings.samples))
    pairs_us = list(zip(agent_us, bare_us, strict=True))
    # Pair by pair: a slow spell of the machine falls on both of a pair, but on more batches of one kind than the other.
    difference_us = statistics.median(mine - theirs for mine, theirs in pairs_us)
    ratio = statistics.median(mine / theirs for mine, theirs in pairs_us)
    return {
        "agent_us": round(statistics.median(agent_us), 3),
        "bare_us": round(statistics.median(bare_us), 3),
        "difference_us": round(difference_us, 3),
        "ratio": round(ratio, 4),
        "holds": abs(difference_us) <= _LIMIT_US or abs(ratio - 1) <= _LIMIT_PCT / 100,
    }


def open_bare(model: Path) -> Callable[[], None]:
    """Open a model as a plain script would, and return what runs it once."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
    binding = session.io_binding()
    for node in session.get_inputs():
        array = np.random.default_rng(0).standard_normal(node.shape, dtype=np.float32)
        binding.bind_cpu_input(node.name, array)
    for node in session.get_outputs():
        binding.bind_ortvalue_output(
            node.name, onnxruntime.OrtValue.ortvalue_from_shape_and_type(node.shape, np.float32)
        )

    def run() -> None:
        session.run_with_iobinding(binding)

    run()
    return run


def bare_loop_us(run: Callable[[], None], loops: int, repetitions: int) -> float:
    """Return the median over repetitions of the mean duration of one run in a plain loop, in µs."""
    for _ in range(loops * 5):
        run()
    durations = []
    for _ in range(repetitions):
        start = time.perf_counter_ns()
        for _ in range(loops):
            run()
        durations.append((time.perf_counter_ns() - start) / loops / 1e3)
    return statistics.median(durations)


if __name__ == "__main__":
    main()
