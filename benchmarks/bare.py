"""A plain timing loop in a process of its own, without any code of the agent: what a user would write by hand.

`python -m benchmarks.bare RUNTIME MODEL` prints the median latency of one inference in ns.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

_WARM_UP_S = 0.15
_SAMPLES = 40
_LEAST_USED, _FEWEST_WHOLE = 0.98, 8
_MIN_SAMPLE_NS = 1_000_000


class BareRunError(Exception):
    """The plain loop failed; the message says why."""


def bare_latency_ms(runtime: str, model: Path) -> float:
    """Return the median latency of one inference, measured in a fresh process, in ms.

    Raises:
        BareRunError: the process failed.
    """
    command = [sys.executable, "-m", "benchmarks.bare", runtime, str(model)]
    root = Path(__file__).resolve().parents[1]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=root, check=False)
    if done.returncode != 0:
        raise BareRunError(f"the plain loop failed on {model.name}: {done.stderr.strip().splitlines()[-1:]}")
    return float(done.stdout.split()[-1]) / 1e6


def main() -> None:
    """Measure one model and print its latency."""
    runtime, model = sys.argv[1:]
    run = _open_onnx(model) if runtime == "onnxruntime" else _open_litert(model)
    start_s = time.perf_counter()
    runs = 0
    while time.perf_counter() - start_s < _WARM_UP_S or runs < 5:
        run()
        runs += 1
    loops = max(1, round(_MIN_SAMPLE_NS / (_loop_ns(run, runs)[0] / runs)))
    samples = [_loop_ns(run, loops) for _ in range(_SAMPLES)]
    # On a machine with other work, samples in which this process did not run throughout tell of that work.
    whole = [wall for wall, used in samples if used >= _LEAST_USED * wall]
    kept = whole if len(whole) >= _FEWEST_WHOLE else [wall for wall, _ in samples]
    print(statistics.median(kept) / loops)


def _loop_ns(run: Callable[[], object], loops: int) -> tuple[int, int]:
    """Return how long the runs took by the clock, and how much of the processor they used, in ns."""
    used, start = time.process_time_ns(), time.perf_counter_ns()
    for _ in range(loops):
        run()
    return time.perf_counter_ns() - start, time.process_time_ns() - used


def _open_onnx(model: str) -> Callable[[], object]:
    import onnxruntime  # noqa: PLC0415 - the process holds one runtime

    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    binding = session.io_binding()
    for node in session.get_inputs():
        array = np.random.default_rng(0).standard_normal(node.shape, dtype=np.float32)
        binding.bind_ortvalue_input(node.name, onnxruntime.OrtValue.ortvalue_from_numpy(array))
    for node in session.get_outputs():
        output = onnxruntime.OrtValue.ortvalue_from_shape_and_type(node.shape, np.float32)
        binding.bind_ortvalue_output(node.name, output)
    return lambda: session.run_with_iobinding(binding)


def _open_litert(model: str) -> Callable[[], object]:
    from ai_edge_litert.interpreter import Interpreter  # noqa: PLC0415 - the process holds one runtime

    interpreter = Interpreter(model_path=model, num_threads=1)
    interpreter.allocate_tensors()
    for details in interpreter.get_input_details():
        array = np.random.default_rng(0).standard_normal(details["shape"], dtype=np.float32)
        interpreter.set_tensor(details["index"], array)
    invoke: Callable[[], object] = interpreter.invoke
    return invoke


if __name__ == "__main__":
    main()
