"""Two journals held against each other: which blocks became faster or slower, and which are the same.

Per block the ratio of medians B ÷ A with a bootstrap interval over processes, and a Mann-Whitney U-test. A verdict
needs both: `same` is a statement too (the whole interval within the margin), never the lack of one.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from typing import Any, Dict, List, Optional, Sequence, Tuple

from profiler_agent.errors import BadInputError
from profiler_agent.records import Measurement
from profiler_agent.statistics import median

_RESAMPLES = 4000
_CONFIDENCE = 0.95
_SIGNIFICANCE = 0.05


@dataclass(frozen=True)
class Comparison:
    """One block, or all of them, measured twice.

    Attributes:
        block_id: of the block; empty for the whole.
        ratio: median B ÷ median A; for the whole the geometric mean over blocks.
        low: lower end of the ratio's bootstrap interval.
        high: its upper end.
        p_value: of the two-sided U-test; None for the whole.
        verdict: `faster`, `slower`, `same` or `undecided`, of B against A.
    """

    block_id: str
    ratio: float
    low: float
    high: float
    p_value: Optional[float]
    verdict: str


def compare(
    first: Sequence[Measurement], second: Sequence[Measurement], margin_pct: float, seed: int
) -> Tuple[List[Comparison], Comparison]:
    """Compare the blocks that both journals hold, and then all of them together.

    Args:
        first: measurements A.
        second: measurements B.
        margin_pct: ratios that close to 1 count as the same, in percent.
        seed: of the bootstrap.

    Returns:
        One comparison a block, in A's order, and one for the whole.

    Raises:
        BadInputError: the journals share no block.
    """
    others = {one.block_id: one for one in second}
    pairs = [(one, others[one.block_id]) for one in first if one.block_id in others]
    if not pairs:
        raise BadInputError("the two journals share no block")
    generator = random.Random(seed)
    margin = margin_pct / 100
    blocks, logs = [], []
    for mine, other in pairs:
        before, after = _medians(mine), _medians(other)
        log_ratios = _resampled_log_ratios(before, after, generator)
        logs.append(log_ratios)
        low, high = _interval(log_ratios)
        p_value = mann_whitney_p(before, after)
        verdict = judge(low, high, margin)
        if p_value >= _SIGNIFICANCE and verdict != "same":
            verdict = "undecided"
        ratio = other.median_ms / mine.median_ms
        blocks.append(Comparison(mine.block_id, ratio, low, high, p_value, verdict))
    low, high = _interval([sum(column) / len(column) for column in zip(*logs)])
    overall = math.exp(sum(math.log(one.ratio) for one in blocks) / len(blocks))
    return blocks, Comparison("", overall, low, high, None, judge(low, high, margin))


def judge(low: float, high: float, margin: float) -> str:
    """Return the verdict of an interval of the ratio B ÷ A: equivalence first, then a difference, else undecided."""
    if 1 - margin <= low and high <= 1 + margin:
        return "same"
    if low > 1:
        return "slower"
    return "faster" if high < 1 else "undecided"


def mann_whitney_p(first: Sequence[float], second: Sequence[float]) -> float:
    """Return the two-sided p-value of the Mann-Whitney U-test.

    Exact where there are no ties (the distribution of U by its recurrence: Mann and Whitney 1947), else the normal
    approximation with the correction for ties and for continuity.
    """
    count, other = len(first), len(second)
    below = sum(1.0 if one < two else 0.5 if one == two else 0.0 for one in first for two in second)
    values = list(first) + list(second)
    ties = [values.count(value) for value in set(values)]
    if max(ties) == 1:
        frequencies = _u_frequencies(count, other)
        tail = min(below, count * other - below)
        share = sum(frequencies[: int(tail) + 1]) / sum(frequencies)
        return min(1.0, 2 * share)
    total = count + other
    tie_term = sum(tie**3 - tie for tie in ties) / (total * (total - 1))
    variance = count * other / 12 * (total + 1 - tie_term)
    if variance <= 0:
        return 1.0
    distance = max(0.0, abs(below - count * other / 2) - 0.5)
    return math.erfc(distance / math.sqrt(2 * variance))


def _u_frequencies(count: int, other: int) -> List[int]:
    """Return how many orders of `count` and `other` values give each U, from 0 to count·other."""
    # The Gaussian binomial coefficient: each step multiplies by (1 - q^(other+i)) and divides by (1 - q^i).
    size = count * other + 1
    frequencies = [1] + [0] * (size - 1)
    for step in range(1, count + 1):
        for index in range(size - 1, other + step - 1, -1):
            frequencies[index] -= frequencies[index - other - step]
        for index in range(step, size):
            frequencies[index] += frequencies[index - step]
    return frequencies


def _medians(measurement: Measurement) -> List[float]:
    return [batch.median_ms for batch in measurement.rounds]


def _resampled_log_ratios(before: List[float], after: List[float], generator: random.Random) -> List[float]:
    """Return the logarithms of the ratio of medians of bootstrap resamples over processes."""

    def resampled(values: List[float]) -> float:
        return median(generator.choices(values, k=len(values)))

    return [math.log(resampled(after) / resampled(before)) for _ in range(_RESAMPLES)]


def _interval(log_ratios: Sequence[float]) -> Tuple[float, float]:
    """Return the percentile interval, as ratios."""
    ordered = sorted(log_ratios)
    tail = int(len(ordered) * (1 - _CONFIDENCE) / 2)
    return math.exp(ordered[tail]), math.exp(ordered[-1 - tail])


def key_differences(first: Dict[str, Any], second: Dict[str, Any]) -> List[str]:
    """Return in what two table keys differ, for the reader to know what is compared."""
    return [f"{name}: {first[name]} → {second[name]}" for name in first if first[name] != second[name]]
