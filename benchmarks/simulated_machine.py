"""Simulated machines for `benchmarks.coverage`: noise, slow windows, and what the machine's signs say.

Time is counted in batches. A slow window slows sentinel and blocks alike and shows in no sign. A burst of other work
shows in the signs and slows some samples of a block, but need not hit the sentinel, which is short.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from profiler_agent.orders import BatchTaken, Ready, Reply, SentinelTaken, Started, WorkOrder
from profiler_agent.records import Signs

Noise = Callable[[np.random.Generator, int], np.ndarray]
SAMPLES = 20
SAMPLE_NOISE_PCT = 2.0
_SENTINEL_SAMPLES = 5
_LATENCY_NS, _SENTINEL_NS = 1_000_000.0, 200_000.0
_SAMPLE_NOISE = SAMPLE_NOISE_PCT / 100
# Standard deviation of what a process's level differs by, where it differs.
_LEVEL_NOISE = 0.01
_WINDOW_BATCHES, _BURST_BATCHES = 6, 3


def independent(generator: np.random.Generator, count: int) -> np.ndarray:
    """Each sample on its own: log-normal, 2%."""
    return np.asarray(np.exp(generator.normal(0, _SAMPLE_NOISE, count)))


def autocorrelated(generator: np.random.Generator, count: int) -> np.ndarray:
    """Samples that follow each other (AR(1), 0.9) in a process that has a level of its own (1%)."""
    steps = generator.normal(0, _SAMPLE_NOISE * np.sqrt(1 - 0.9**2), count)
    values = np.empty(count)
    values[0] = generator.normal(0, _SAMPLE_NOISE)
    for index in range(1, count):
        values[index] = 0.9 * values[index - 1] + steps[index]
    return np.asarray(np.exp(values + generator.normal(0, _LEVEL_NOISE)))


def heavy_tailed(generator: np.random.Generator, count: int) -> np.ndarray:
    """Student's t with two degrees of freedom, and one sample in twenty up to five times as slow."""
    values = np.exp(0.01 * generator.standard_t(2, count))
    spikes = generator.random(count) < 0.05
    return np.asarray(np.where(spikes, values * generator.uniform(1, 5, count), values))


@dataclass(frozen=True)
class Scenario:
    """A kind of machine.

    Attributes:
        noise: of samples.
        slow_share: how often a new window is a slow one.
        slow_pct: by how much slow windows are slower, from and to.
        level_correlation: None, or the correlation of a block's level in one process (1%) with that in the next.
        promised: whether the intervals are meant to cover here: docs/method.md says where they are not.
        burst_share: how often a batch begins a burst of others' work that disturbs it; milder ones, which do not, come
            as often.
    """

    noise: Noise = independent
    slow_share: float = 0.0
    slow_pct: tuple[float, float] = (10.0, 60.0)
    level_correlation: float | None = None
    promised: bool = True
    burst_share: float = 0.0


SCENARIOS = {
    "independent": Scenario(),
    "autocorrelated": Scenario(autocorrelated),
    "heavy_tailed": Scenario(heavy_tailed),
    "stepwise_drift": Scenario(slow_share=0.2),
    "small_drift": Scenario(slow_share=0.2, slow_pct=(3.0, 10.0)),
    # On the machine that this was written on, blocks have 0.1 in the median, and nine in ten less than 0.26.
    "correlated_rounds": Scenario(level_correlation=0.3),
    "strongly_correlated_rounds": Scenario(level_correlation=0.6, promised=False),
    "bursts": Scenario(burst_share=0.05),
}


class Machine:
    """Workers of one job on a simulated machine.

    Attributes:
        slow_pct: batches, by block and process, that a slow window hit, and how slow it was.
        bursts: batches that others disturbed.
    """

    def __init__(self, scenario: Scenario, generator: np.random.Generator) -> None:
        self.slow_pct: dict[tuple[str, int], float] = {}
        self.bursts: set[tuple[str, int]] = set()
        self._scenario = scenario
        self._generator = generator
        self._factor = 1.0
        self._left = 0
        self._burst_left = 0
        self._process = -1
        self._levels: dict[str, float] = {}
        # Half of all machines tell how long a process waited; the others only how often it was preempted.
        self._tells_lost = generator.random() < 0.5

    def launch(self, order: WorkOrder) -> Iterator[Reply]:
        """Answer one order."""
        yield Ready(order.runtime, "simulated", "simulated", "extended", False, 1, "any")
        if not order.blocks:
            return
        self._process += 1
        yield self._reading(0)
        for position, block in enumerate(order.blocks):
            yield Started(block.block_id)
            # A window may end with the batch: the reading after it then tells nothing of it, nor one before its begin.
            yield self._batch(block.block_id, position, ("Simulated",) if order.list_operations else None)
            yield self._reading(position + 1)

    def _batch(self, block_id: str, position: int, operations: tuple[str, ...] | None) -> BatchTaken:
        self._advance()
        batch = (block_id, self._process)
        if self._factor > 1:
            self.slow_pct[batch] = 100 * (self._factor - 1)
        signs, lost = self._signs()
        durations = self._samples(_LATENCY_NS * self._level(block_id), SAMPLES)
        if lost > 0:
            self.bursts.add(batch)
            # Who loses a share of the time loses it in that share of the samples, at least.
            hit = self._generator.random(SAMPLES) < 2 * lost
            durations = np.where(hit, durations * (1 + self._generator.uniform(0.2, 1.0, SAMPLES)), durations)
        return BatchTaken(block_id, _integers(durations), 1, position, True, operations, signs)

    def _advance(self) -> None:
        """Let one batch's time pass; windows last six batches in the mean."""
        if self._left > 0:
            self._left -= 1
            return
        slow = self._generator.random() < self._scenario.slow_share
        self._factor = 1 + self._generator.uniform(*self._scenario.slow_pct) / 100 if slow else 1.0
        self._left = int(self._generator.geometric(1 / _WINDOW_BATCHES))

    def _level(self, block_id: str) -> float:
        """Return the block's level in this process, which may follow that in the process before."""
        correlation = self._scenario.level_correlation
        if correlation is None:
            return 1.0
        new = self._generator.normal(0, _LEVEL_NOISE)
        known = self._levels.get(block_id)
        level = new if known is None else correlation * known + np.sqrt(1 - correlation**2) * new
        self._levels[block_id] = level
        return float(np.exp(level))

    def _signs(self) -> tuple[Signs, float]:
        """Return the signs of one batch, and what share of its time others took, 0 where it is nothing unusual."""
        draw = self._generator
        usual = Signs(
            lost_pct=float(draw.gamma(0.5, 0.6)),
            others_pct=float(draw.gamma(1.0, 4.0)),
            preemptions=int(draw.poisson(1.0)),
            throttlings=0,
            quota_stops=0,
            frequency_mhz=float(draw.normal(3000, 10)),
            temperature_c=float(draw.normal(50, 2)),
            heat_margin_c=30.0,
        )
        signs, lost = self._burst(usual)
        return signs if self._tells_lost else replace(signs, lost_pct=None), lost

    def _burst(self, usual: Signs) -> tuple[Signs, float]:
        """Return the signs of a burst, if this batch lies in one: bursts last three batches in the mean."""
        draw, share = self._generator, self._scenario.burst_share
        chance = draw.random()
        if self._burst_left == 0 and chance < share:
            self._burst_left = int(draw.geometric(1 / _BURST_BATCHES))
        if self._burst_left > 0:
            self._burst_left -= 1
            lost = draw.uniform(0.15, 0.4)
            preemptions = int(draw.integers(20, 100))
            others_pct = float(draw.uniform(80, 200))
            return replace(usual, lost_pct=100 * lost, others_pct=others_pct, preemptions=preemptions), lost
        if chance > 1 - share:
            mild = (float(draw.uniform(2, 8)), float(draw.uniform(10, 40)), int(draw.integers(3, 8)))
            return replace(usual, lost_pct=mild[0], others_pct=mild[1], preemptions=mild[2]), 0.0
        return usual, 0.0

    def _reading(self, position: int) -> SentinelTaken:
        return SentinelTaken(position, _integers(self._samples(_SENTINEL_NS, _SENTINEL_SAMPLES)), 1)

    def _samples(self, latency_ns: float, count: int) -> np.ndarray:
        return latency_ns * self._factor * self._scenario.noise(self._generator, count)


def _integers(durations_ns: np.ndarray) -> tuple[int, ...]:
    return tuple(max(1, round(float(value))) for value in durations_ns)


def truth_ns(scenario: Scenario, generator: np.random.Generator, processes: int = 10_000) -> float:
    """Return the median of process medians on a machine that is itself, in ns.

    A level that follows the one before has the median 1, whatever the correlation.
    """
    medians = [np.median(scenario.noise(generator, SAMPLES)) for _ in range(processes)]
    return float(_LATENCY_NS * np.median(medians))
