"""The plain protocol of other tools: block by block in one process, 10 warm-up runs, 50 timed runs, their mean.

`measure_naively` runs this file as a process of its own, with standard input and output in JSON. Each block gets an
equal share of the budget and repeats the whole protocol, opening of the session included, until that is spent; its
result is the mean of all timed runs. So it has as much time as it may want, sessions laid out anew in memory, and its
process's start for free. What one repetition alone would have said is kept too.

Models run as the agent runs them, with its session options and bound inputs and outputs: what is compared is the
protocol, not the interface to the runtime.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from profiler_agent.records import JobBlock

WARM_UP_RUNS, TIMED_RUNS = 10, 50


@dataclass(frozen=True)
class NaiveResult:
    """What the plain protocol says of one block.

    Attributes:
        mean_ms: mean latency over all repetitions, in ms.
        median_ms: median over the repetitions' means, in ms: not what such tools tell, but kinder on a busy machine.
        single_ms: mean latency of the first repetition alone, in ms.
        repetitions: of opening, warming up and timing.
    """

    mean_ms: float
    median_ms: float
    single_ms: float
    repetitions: int


@dataclass(frozen=True)
class NaivePass:
    """Results by block, and the seconds that they took together."""

    results: dict[str, NaiveResult]
    seconds: float


def measure_naively(blocks: Sequence[JobBlock], budget_s: float) -> NaivePass:
    """Measure blocks in a process of its own.

    Args:
        blocks: models with fixed input shapes of float32.
        budget_s: seconds for all blocks together, counted after the imports.

    Raises:
        CalledProcessError: it failed; its standard error went to ours.
    """
    order = {"budget_s": budget_s, "files": {block.block_id: block.file for block in blocks}}
    answer = subprocess.run(
        [sys.executable, "-m", "benchmarks.naive"],
        input=json.dumps(order),
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        cwd=Path(__file__).resolve().parents[1],
    )
    data = json.loads(answer.stdout)
    return NaivePass({name: NaiveResult(**one) for name, one in data["results"].items()}, data["seconds"])


def open_bound(model: Path) -> Callable[[], None]:
    """Open a model with the agent's session options and bound inputs and outputs; return what runs it once.

    Inputs and outputs are of float32 and fixed shapes.
    """
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
    binding = session.io_binding()
    generator = np.random.default_rng(0)
    # The binding keeps addresses only: the values must live as long as what runs the model.
    values: list[Any] = []
    for node in session.get_inputs():
        array = generator.standard_normal(node.shape, dtype=np.float32)
        values.append(onnxruntime.OrtValue.ortvalue_from_numpy(array))
        binding.bind_ortvalue_input(node.name, values[-1])
    for node in session.get_outputs():
        values.append(onnxruntime.OrtValue.ortvalue_from_shape_and_type(node.shape, np.float32))
        binding.bind_ortvalue_output(node.name, values[-1])

    def run(_kept: list[Any] = values) -> None:
        session.run_with_iobinding(binding)

    return run


def repeat_protocol(open_model: Callable[[], Callable[[], Any]], share_s: float) -> NaiveResult:
    """Repeat opening, warming up and timing until the share is spent, at least once."""
    end = time.perf_counter() + share_s
    means_ms: list[float] = []
    while not means_ms or time.perf_counter() < end:
        run = open_model()
        for _ in range(WARM_UP_RUNS):
            run()
        start = time.perf_counter_ns()
        for _ in range(TIMED_RUNS):
            run()
        means_ms.append((time.perf_counter_ns() - start) / TIMED_RUNS / 1e6)
    return NaiveResult(statistics.fmean(means_ms), statistics.median(means_ms), means_ms[0], len(means_ms))


def main() -> None:
    """Read the order, measure, and print one JSON object."""
    order = json.load(sys.stdin)
    start = time.perf_counter()
    share_s = order["budget_s"] / len(order["files"])
    results = {
        name: repeat_protocol(lambda model=Path(file): open_bound(model), share_s)  # type: ignore[misc]
        for name, file in order["files"].items()
    }
    seconds = time.perf_counter() - start
    print(json.dumps({"results": {name: asdict(one) for name, one in results.items()}, "seconds": seconds}))


if __name__ == "__main__":
    main()
