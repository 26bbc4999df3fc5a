"""How light the agent is: memory, start-up and size of the process that measures, against the bare runtime.

`python -m benchmarks.footprint` starts, in turn, a bare script that imports numpy and the runtime and opens one model,
and a worker of the agent that opens the same model, and compares their peak resident memory and the time until the
session is open. The agent's parent process, which only schedules, is reported apart, and so are the archive as which
the agent travels (`payload_kb`) and the source files that lie on the device (`unpacked_kb`). The last line is one JSON
object.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import profiler_agent
from benchmarks.machine import describe_machine
from profiler_agent.launch import RUN_WORKER
from profiler_agent.orders import WorkOrder, format_order
from profiler_agent.records import JobBlock, Settings
from profiler_agent.runtimes import load_runtime
from searcher.devices.deploy import agent_files, pack_agent

_BARE = """
import sys, numpy, onnxruntime
session = onnxruntime.InferenceSession(sys.argv[1], providers=["CPUExecutionProvider"])
array = numpy.zeros(session.get_inputs()[0].shape, dtype=numpy.float32)
session.run(None, {session.get_inputs()[0].name: array})
print("ready", flush=True)
sys.stdin.read()
"""
_PARENT = "import profiler_agent.__main__; print('ready', flush=True); import sys; sys.stdin.read()"
_EMPTY = "print('ready', flush=True); import sys; sys.stdin.read()"


def start(program: str, *arguments: str, first_line: str = "") -> tuple[float, float]:
    """Run a program until its first line; return the seconds to it and the peak resident memory by then, in MB."""
    began = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-c", program, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(Path(profiler_agent.__file__).parents[1])},
    )
    assert process.stdin is not None
    assert process.stdout is not None
    if first_line:
        process.stdin.write(first_line.encode() + b"\n")
        process.stdin.flush()
    process.stdout.readline()
    seconds = time.perf_counter() - began
    # Where the program waits or ends by itself its peak can still be read: a zombie's is gone, hence the reading first.
    status = Path(f"/proc/{process.pid}/status")
    peak_kb = next((int(line.split()[1]) for line in status.read_text().splitlines() if line.startswith("VmHWM")), 0)
    process.stdin.close()
    process.stdout.read()
    process.wait()
    return seconds, peak_kb / 1024


def main() -> None:
    """Run the benchmark and print its result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=15)
    options = parser.parse_args()
    kinds: dict[str, list[tuple[float, float]]] = {"bare": [], "worker": [], "parent": [], "python": []}
    with tempfile.TemporaryDirectory() as folder:
        model = Path(folder, "model.onnx")
        model.write_bytes(load_runtime("onnxruntime").sentinel_model)
        # With a block to measure the worker is still there when its memory is read; it ends with its input.
        block = JobBlock("model", str(model), "")
        order = format_order(WorkOrder("onnxruntime", Settings(), (block,), list_operations=False))
        for _ in range(options.runs):
            kinds["bare"].append(start(_BARE, str(model)))
            kinds["worker"].append(start(RUN_WORKER, first_line=order))
            kinds["parent"].append(start(_PARENT))
            kinds["python"].append(start(_EMPTY))
    print(json.dumps(summary(kinds, options.runs)))


def payload_bytes() -> int:
    """Return the size of the archive as which the agent is sent to a device."""
    with tempfile.TemporaryDirectory() as folder:
        archive = Path(folder, "agent.zip")
        pack_agent(archive)
        return archive.stat().st_size


def summary(kinds: dict[str, list[tuple[float, float]]], runs: int) -> dict[str, Any]:
    """Return the medians and their differences; payload is the archive as which the agent is sent to a device."""
    seconds = {name: statistics.median(one for one, _ in taken) for name, taken in kinds.items()}
    memory = {name: statistics.median(one for _, one in taken if one > 0) for name, taken in kinds.items()}
    return {
        "benchmark": "footprint",
        "machine": describe_machine(),
        "settings": {"runs": runs, "runtime": f"onnxruntime {load_runtime('onnxruntime').version}"},
        "rss_mb": {name: round(one, 2) for name, one in memory.items()},
        "startup_ms": {name: round(1000 * one, 1) for name, one in seconds.items()},
        "rss_above_runtime_mb": round(memory["worker"] - memory["bare"], 2),
        "startup_above_import_ms": round(1000 * (seconds["worker"] - seconds["bare"]), 1),
        "parent_rss_above_python_mb": round(memory["parent"] - memory["python"], 2),
        "payload_kb": round(payload_bytes() / 1024, 1),
        "unpacked_kb": round(sum(path.stat().st_size for path in agent_files().values()) / 1024, 1),
    }


if __name__ == "__main__":
    main()
