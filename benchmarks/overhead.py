"""What the agent adds to a run: its batches against a bare loop of the same runtime, alternating in one process.

`python -m benchmarks.overhead` opens each model twice, through the agent's session and by hand, and takes the
agent's batches and bare loops in turn: with ONNX Runtime in this process, with LiteRT and tflite-runtime in one of
their own Python each. A case holds when the median difference of the pairs is at most 1 µs, or their median ratio
within 2% of 1. Beside LiteRT's pairs, `litert-benchmark` measures the same files, where it is installed.

The last line is one JSON object with `cases` (those of TFLite by runtime and name), `holds` (all of them do) and
`not_compared` (runtimes that do not work here, with the reason; then nothing holds).
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from benchmarks.block_set import BenchmarkError
from benchmarks.machine import describe_machine
from benchmarks.pairs import compare
from profiler_agent.records import Settings
from profiler_agent.runtimes import load_runtime
from searcher.devices.prepare import local_variables
from searcher.errors import SearcherError
from searcher.export.exporter import exporter_for
from searcher.spaces.block import CALL_OVERHEAD, BlockSpec

_ROOT = Path(__file__).resolve().parents[1]
_TFLITE_RUNTIMES = ("litert", "tflite-runtime")


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
        results = {name: compare_onnx(spec, settings, options.pairs, Path(folder)) for name, spec in cases().items()}
        versions: dict[str, str | None] = {"onnxruntime": onnxruntime.__version__}
        tool_version: str | None = None
        not_compared: dict[str, str] = {}
        for runtime in _TFLITE_RUNTIMES:
            try:
                told, found = compare_tflite(runtime, options.pairs, Path(folder))
            except (BenchmarkError, SearcherError) as e:
                versions[runtime], not_compared[runtime] = None, str(e)
            else:
                versions[runtime] = told["version"]
                tool_version = tool_version or told["tool"]
                results |= found
    result = {
        "benchmark": "overhead",
        "machine": describe_machine(),
        "runtime": f"onnxruntime {onnxruntime.__version__}",
        "runtimes": versions,
        "not_compared": not_compared,
        "litert_benchmark": tool_version,
        "settings": {"optimization": "extended", "threads": 1, "samples": settings.samples, "pairs": options.pairs},
        "cases": results,
        "holds": all(case["holds"] for case in results.values()) and not not_compared,
    }
    print(json.dumps(result, allow_nan=False))


def compare_onnx(spec: BlockSpec, settings: Settings, pairs: int, folder: Path) -> dict[str, Any]:
    """Compare one model in this process."""
    model = exporter_for("onnxruntime").export_block(spec, folder).path
    session = load_runtime("onnxruntime").open(model, settings, {})
    return compare(session.run, open_bare(model), settings, pairs)


def compare_tflite(runtime: str, pairs: int, folder: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Compare all models in a process of its own, which has the runtime.

    Args:
        runtime: its identifier.
        pairs: batches of each kind and model.
        folder: for the exported files.

    Returns:
        What the process told (`version`, and `tool`, the version of litert-benchmark or None), and each case by runtime
        and name.

    Raises:
        BenchmarkError: the runtime does not work.
        SearcherError: it cannot be had, or its files not be made.
    """
    environment = {**os.environ, **local_variables(runtime)}
    exporter = exporter_for(runtime)
    models = {name: exporter.export_block(spec, folder).path for name, spec in cases().items()}
    command = [sys.executable, "-m", "benchmarks.tflite_pairs", runtime, str(pairs), *map(str, models.values())]
    done = subprocess.run(command, cwd=_ROOT, env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or ["it gave no reason"])[-1]
        raise BenchmarkError(f"{runtime} cannot be compared: {last}")
    told = json.loads(done.stdout.splitlines()[-1])
    return told, {f"{runtime}/{name}": one for name, one in zip(models, told["results"], strict=True)}


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


if __name__ == "__main__":
    main()
