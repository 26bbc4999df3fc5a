"""Whether intervals cover and drift is caught: the agent's own rounds on simulated machines.

`python -m benchmarks.coverage` runs the whole campaign (sentinel, rejection, sequential stopping) a thousand times
for each kind of noise, with workers that draw their samples at random instead of measuring. The truth is the median
of very many simulated process medians on a machine that is itself. The last line is one JSON object with
`min_coverage` (share of runs whose interval covers the truth, of the worst noise), `drift_caught` (share of batches
taken in a slow window that were rejected) and `false_alarms` (share of the others that were).
"""

from __future__ import annotations

import argparse
import hashlib
import json
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.machine import describe_machine
from profiler_agent.measure import Clocks, measure
from profiler_agent.orders import BatchTaken, Ready, Reply, SentinelTaken, Started, WorkOrder
from profiler_agent.records import Job, JobBlock, Measured, Rejected, Settings, measurements_of

Noise = Callable[[np.random.Generator, int], np.ndarray]
_LATENCY_NS, _SENTINEL_NS = 1_000_000.0, 200_000.0
_SAMPLES, _SENTINEL_SAMPLES = 20, 5
_BLOCKS = 4


def independent(generator: np.random.Generator, count: int) -> np.ndarray:
    """Each sample on its own: log-normal, 2%."""
    return np.asarray(np.exp(generator.normal(0, 0.02, count)))


def autocorrelated(generator: np.random.Generator, count: int) -> np.ndarray:
    """Samples that follow each other (AR(1), 0.9) in a process that has a level of its own (1%)."""
    steps = generator.normal(0, 0.02 * np.sqrt(1 - 0.9**2), count)
    values = np.empty(count)
    values[0] = generator.normal(0, 0.02)
    for index in range(1, count):
        values[index] = 0.9 * values[index - 1] + steps[index]
    return np.asarray(np.exp(values + generator.normal(0, 0.01)))


def heavy_tailed(generator: np.random.Generator, count: int) -> np.ndarray:
    """Student's t with two degrees of freedom, and one sample in twenty up to five times as slow."""
    values = np.exp(0.01 * generator.standard_t(2, count))
    spikes = generator.random(count) < 0.05
    return np.asarray(np.where(spikes, values * generator.uniform(1, 5, count), values))


@dataclass(frozen=True)
class Scenario:
    """A kind of noise, and how often the machine falls into a slow window of several readings (10 to 60% slower)."""

    noise: Noise
    slow_share: float


SCENARIOS = {
    "independent": Scenario(independent, 0.0),
    "autocorrelated": Scenario(autocorrelated, 0.0),
    "heavy_tailed": Scenario(heavy_tailed, 0.0),
    "stepwise_drift": Scenario(independent, 0.2),
}


class Machine:
    """Simulated workers: time is counted in batches, and a window slows sentinel and blocks alike."""

    def __init__(self, scenario: Scenario, generator: np.random.Generator) -> None:
        self._scenario = scenario
        self._generator = generator
        self._factor = 1.0
        self._left = 0
        self.slow: set[tuple[str, int]] = set()
        self._process = -1

    def _advance(self) -> None:
        """Let one batch's time pass; windows last six batches in the mean."""
        if self._left > 0:
            self._left -= 1
            return
        share = self._scenario.slow_share
        slow = self._generator.random() < share
        self._factor = 1 + self._generator.uniform(0.1, 0.6) if slow else 1.0
        self._left = int(self._generator.geometric(1 / 6))

    def launch(self, order: WorkOrder) -> Iterator[Reply]:
        """Answer one order."""
        yield Ready(order.runtime, "simulated", "simulated", "extended", False, 1, "any")
        if not order.blocks:
            return
        self._process += 1
        yield self._reading(0)
        for position, block in enumerate(order.blocks):
            yield Started(block.block_id)
            self._advance()
            if self._factor > 1:
                self.slow.add((block.block_id, self._process))
            # A window may end inside the batch: the reading after it then tells nothing of its beginning.
            samples = self._samples(_LATENCY_NS, _SAMPLES)
            yield BatchTaken(block.block_id, samples, 1, position, True, None)
            yield self._reading(position + 1)

    def _reading(self, position: int) -> SentinelTaken:
        return SentinelTaken(position, self._samples(_SENTINEL_NS, _SENTINEL_SAMPLES), 1)

    def _samples(self, latency_ns: float, count: int) -> tuple[int, ...]:
        drawn = latency_ns * self._factor * self._scenario.noise(self._generator, count)
        return tuple(max(1, round(float(value))) for value in drawn)


def truth_ns(noise: Noise, generator: np.random.Generator, processes: int = 40_000) -> float:
    """Return the median of process medians on a machine that is itself, in ns."""
    medians = [np.median(noise(generator, _SAMPLES)) for _ in range(processes)]
    return float(_LATENCY_NS * np.median(medians))


def simulate(scenario: Scenario, runs: int, seed: int, folder: Path) -> dict[str, Any]:
    """Run the campaign many times and count what it covers and rejects."""
    generator = np.random.default_rng(seed)
    truth_ms = truth_ns(scenario.noise, generator) / 1e6
    covered = intervals = converged = slow = caught = steady = alarms = 0
    for run in range(runs):
        machine = Machine(scenario, generator)
        job = Job(f"run {run}", blocks(folder), Settings(samples=_SAMPLES, seed=run))
        events = list(measure(job, launch=machine.launch, clocks=Clocks(lambda: 0.0, lambda: 0.0)))
        rejected = {(e.block_id, e.process_index) for e in events if isinstance(e, Measured) and e.rejected}
        rejected |= {(e.block_id, e.process_index) for e in events if isinstance(e, Rejected)}
        taken = {(e.block_id, e.process_index) for e in events if isinstance(e, Measured)}
        slow += len(taken & machine.slow)
        caught += len(taken & machine.slow & rejected)
        steady += len(taken - machine.slow)
        alarms += len((taken - machine.slow) & rejected)
        for measurement in measurements_of(events):
            low, high, _ = measurement.interval_ms
            intervals += 1
            covered += low <= truth_ms <= high
            converged += measurement.converged(job.settings.target_half_width_pct)
    return {
        "coverage": round(covered / intervals, 4),
        "intervals": intervals,
        "converged_share": round(converged / intervals, 4),
        "drift_caught": round(caught / slow, 4) if slow else None,
        "false_alarms": round(alarms / steady, 4),
    }


def blocks(folder: Path) -> tuple[JobBlock, ...]:
    """Return blocks whose files are there and otherwise mean nothing."""
    made = []
    for name in map(str, range(_BLOCKS)):
        (folder / name).write_text(name)
        made.append(JobBlock(name, str(folder / name), hashlib.sha256(name.encode()).hexdigest()))
    return tuple(made)


def main() -> None:
    """Run the benchmark and print its result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=1000, help="campaigns for each kind of noise")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        scenarios = {
            name: simulate(scenario, options.runs, options.seed + index, Path(folder))
            for index, (name, scenario) in enumerate(SCENARIOS.items())
        }
    result = {
        "benchmark": "coverage",
        "machine": describe_machine(),
        "settings": {"runs": options.runs, "seed": options.seed, "blocks": _BLOCKS, "samples": _SAMPLES},
        "scenarios": scenarios,
        "min_coverage": min(one["coverage"] for one in scenarios.values()),
        "drift_caught": scenarios["stepwise_drift"]["drift_caught"],
        "false_alarms": max(one["false_alarms"] for one in scenarios.values()),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
