"""pyperf's default shape for the blocks of a job: `pyperf timeit` on a session whose inputs and outputs are bound.

pyperf is not among the project's packages; this module only starts it. Its values are means of at least 100 ms of
runs. The observation of a process is, as for the agent, the median of its values, and the interval the agent's for one
look at 95%.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from profiler_agent.records import JobBlock
from profiler_agent.statistics import median, median_interval

_ROOT = Path(__file__).resolve().parents[1]


def measure_with_pyperf(blocks: Sequence[JobBlock], target_pct: float) -> dict[str, Any]:
    """Measure each block once by `pyperf timeit` with its defaults.

    Args:
        blocks: models with fixed input shapes of float32.
        target_pct: half-width of the interval, in percent of the median, that counts as reached.

    Raises:
        CalledProcessError: pyperf failed; its standard error went to ours.
    """
    start = time.monotonic()
    half_widths = {block.block_id: half_width_pct(timed_processes(Path(block.file))) for block in blocks}
    return {
        "seconds": round(time.monotonic() - start, 1),
        "median_half_width_pct": round(statistics.median(half_widths.values()), 3),
        "blocks_within_target": sum(one <= target_pct for one in half_widths.values()),
        "half_width_pct": {name: round(one, 3) for name, one in half_widths.items()},
    }


def timed_processes(model: Path) -> list[list[float]]:
    """Return pyperf's values, in s, of each process that timed a model."""
    opened = f"run = open_bound(Path({str(model)!r}))"
    setup = f"from pathlib import Path; from benchmarks.naive import open_bound; {opened}"
    path = os.pathsep.join(filter(None, (str(_ROOT), os.environ.get("PYTHONPATH"))))
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder, "values.json")
        subprocess.run(
            [
                *(sys.executable, "-m", "pyperf", "timeit", "--quiet", "--inherit-environ=PYTHONPATH"),
                *("--setup", setup, "--output", str(output), "run()"),
            ],
            stdout=subprocess.DEVNULL,
            check=True,
            env={**os.environ, "PYTHONPATH": path},
        )
        return processes_of(json.loads(output.read_text()))


def processes_of(document: dict[str, Any]) -> list[list[float]]:
    """Return the values of each process in a document of pyperf's; processes that only calibrated have none."""
    return [run["values"] for run in document["benchmarks"][0]["runs"] if run.get("values")]


def half_width_pct(processes: Sequence[Sequence[float]]) -> float:
    """Return half the width of the 95% interval of the median over processes, in percent of it."""
    medians = [median(values) for values in processes]
    low, high, _ = median_interval(medians)
    return 50 * (high - low) / median(medians)
