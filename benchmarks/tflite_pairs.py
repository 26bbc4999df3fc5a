"""The part of `benchmarks.overhead` that runs a TFLite runtime, as a process of that runtime's own Python.

`python -m benchmarks.tflite_pairs RUNTIME PAIRS MODEL...` prints one JSON object. Between LiteRT's pairs, the program
litert-benchmark is run on the same files, where ai-edge-litert brings it. It times single runs of another interface of
LiteRT (CompiledModel) and rounds them to 10 µs; its own code is run here with that rounding turned off.
"""

from __future__ import annotations

import importlib
import json
import random
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.pairs import compare
from profiler_agent.records import Settings
from profiler_agent.runtimes import load_runtime
from profiler_agent.runtimes.inputs import random_array

_INTERPRETERS = {"litert": "ai_edge_litert.interpreter", "tflite-runtime": "tflite_runtime.interpreter"}
_PAIRS_PER_TOOL_RUN = 8
_TOOL_WARM_UPS, _TOOL_RUNS = 100, 1000
_TOOL = "from ai_edge_litert.tools import benchmark_litert_model as tool"
_TOOL_UNROUNDED = f"{_TOOL}; tool.round = lambda value, _digits: value; tool.main()"


def main() -> None:
    """Compare each model and print the results in their order."""
    name, pairs, *models = sys.argv[1:]
    runtime = load_runtime(name)
    settings = runtime.effective(Settings(threads=1))
    has_tool = name == "litert" and _has_tool()
    results = [_compared(name, Path(model), settings, int(pairs), has_tool) for model in models]
    print(json.dumps({"version": runtime.version, "tool": runtime.version if has_tool else None, "results": results}))


def _compared(name: str, model: Path, settings: Settings, pairs: int, has_tool: bool) -> dict[str, Any]:
    session = load_runtime(name).open(model, settings, {})
    interpreter = _open_bare(name, model)
    tool_us: list[float] = []
    ratios: list[float] = []

    def run_tool(pair: int, agent_us: float) -> None:
        if has_tool and pair % _PAIRS_PER_TOOL_RUN == 0:
            tool_us.append(_tool_median_us(model))
            ratios.append(agent_us / tool_us[-1])

    result = compare(session.run, interpreter.invoke, settings, pairs, run_tool)
    if name == "litert":
        result["litert_benchmark"] = _summary(tool_us, ratios) if tool_us else None
    return result


def _summary(tool_us: list[float], ratios: list[float]) -> dict[str, float]:
    return {
        "median_us": round(statistics.median(tool_us), 3),
        "agent_over_tool": round(statistics.median(ratios), 4),
        "processes": len(tool_us),
    }


def _open_bare(name: str, model: Path) -> Any:
    """Open a model as a plain script would."""
    interpreter = importlib.import_module(_INTERPRETERS[name]).Interpreter(model_path=str(model), num_threads=1)
    interpreter.allocate_tensors()
    for one in interpreter.get_input_details():
        interpreter.set_tensor(one["index"], random_array(one["shape"], one["dtype"], random.Random(0)))
    interpreter.invoke()
    return interpreter


def _has_tool() -> bool:
    return subprocess.run([sys.executable, "-c", _TOOL], check=False, capture_output=True).returncode == 0


def _tool_median_us(model: Path) -> float:
    """Return the median latency that one process of litert-benchmark finds, in µs."""
    with tempfile.TemporaryDirectory() as folder:
        document = Path(folder, "result.json")
        counts = (f"--warmup_runs={_TOOL_WARM_UPS}", f"--num_runs={_TOOL_RUNS}", "--num_threads=1")
        options = (f"--model={model}", *counts, f"--result_json={document}")
        subprocess.run([sys.executable, "-c", _TOOL_UNROUNDED, *options], check=True, capture_output=True)
        median_ms: float = json.loads(document.read_text())["latency"]["median_ms"]
    return median_ms * 1e3


if __name__ == "__main__":
    main()
