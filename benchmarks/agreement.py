"""Whether two measurements of the same blocks agree: shares, a bootstrap interval, and the rule of the goal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

LIMIT_PCT = 3.0
_GOAL_SHARE_PCT, _GOAL_HALF_WIDTH_PCT, _GOAL_LEAD_POINTS = 90.0, 1.0, 20.0
LEAD_INTERVAL_IS = "over blocks that share one drift history, not over runs: another run may well lie outside"
_RESAMPLES = 4_000


def deviations_pct(first: Mapping[str, float], second: Mapping[str, float]) -> dict[str, float]:
    """Return for each block how far first ÷ second is from 1, in percent.

    Raises:
        ValueError: they are not of the same blocks.
    """
    if first.keys() != second.keys():
        raise ValueError("the two passes did not measure the same blocks")
    return {name: 100 * abs(value / second[name] - 1) for name, value in first.items()}


def within_pct(deviations: Mapping[str, float]) -> float:
    """Return the share of blocks that agree within the limit, in percent."""
    return 100 * sum(one <= LIMIT_PCT for one in deviations.values()) / len(deviations)


def lead_interval(mine: Mapping[str, float], theirs: Mapping[str, float], seed: int) -> tuple[float, float]:
    """Return the 95% percentile bootstrap interval, over blocks, of the difference of the shares, in points.

    The blocks of a pass were measured in the same minutes and share one drift history: the interval tells how much
    the difference depends on which blocks there are, not how much it would differ from run to run, which is more.

    Args:
        mine: deviations by block, in percent.
        theirs: those of the other protocol, for the same blocks; a block is drawn with both of its values.
        seed: of the resamples.
    """
    leads = np.array([(one <= LIMIT_PCT) - float(theirs[name] <= LIMIT_PCT) for name, one in mine.items()])
    drawn = np.random.default_rng(seed).integers(len(leads), size=(_RESAMPLES, len(leads)))
    low, high = np.percentile(100 * leads[drawn].mean(axis=1), [2.5, 97.5])
    return float(low), float(high)


def goal_clause(agent_pct: float, naive_pct: float, half_width_pct: float, floor_pct: float | None) -> str | None:
    """Return which clause of the goal holds, or None.

    The second clause is for machines whose noise floor forbids the first: where single readings of a steady machine
    differ by more than the half-width that the first one asks for. Elsewhere only the first counts.

    Args:
        agent_pct: share of blocks that the agent repeats, in percent.
        naive_pct: share of blocks that the plain protocol repeats, in percent.
        half_width_pct: median half-width of the agent's intervals, in percent.
        floor_pct: the machine's noise floor, in percent; None where it is not known.
    """
    if agent_pct >= _GOAL_SHARE_PCT and half_width_pct <= _GOAL_HALF_WIDTH_PCT:
        return f"at least {_GOAL_SHARE_PCT:g}% of blocks repeat and the median half-width is at most 1%"
    forbidden = floor_pct is not None and floor_pct > _GOAL_HALF_WIDTH_PCT
    if forbidden and agent_pct - naive_pct >= _GOAL_LEAD_POINTS:
        return f"at least {_GOAL_LEAD_POINTS:g} points above naive, on a machine whose noise floor is {floor_pct:.2f}%"
    return None


def worst(first: Mapping[str, float], second: Mapping[str, float], count: int) -> list[dict[str, float | str]]:
    """Return the blocks that agree least, with both values in ms."""
    deviations = deviations_pct(first, second)
    names: Sequence[str] = sorted(deviations, key=lambda name: -deviations[name])[:count]
    return [
        {
            "block": name,
            "first_ms": round(first[name], 6),
            "second_ms": round(second[name], 6),
            "deviation_pct": round(deviations[name], 2),
        }
        for name in names
    ]
