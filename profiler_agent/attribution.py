"""How a latency is shared among operators: pure functions on times in one unit, which is the caller's."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Optional, Sequence, Tuple


@dataclass(frozen=True)
class Attribution:
    """A latency that is shared out: call + all estimates + unattributed = wall.

    Attributes:
        call: what of the latency is the runtime's call; never more than the whole.
        estimates: the part of each operator; None where its own time is not known.
        unattributed: what is left where some times are not known, else 0.
        additivity: (call + all times) ÷ wall before anything was scaled; None where a time is not known.
    """

    call: float
    estimates: Tuple[Optional[float], ...]
    unattributed: float
    additivity: Optional[float]


def attribute(times: Sequence[Optional[float]], call: float, wall: float) -> Attribution:
    """Share a latency among operators in proportion to their own times.

    Where a time is not known, the others keep theirs, and what is left is unattributed; they are scaled only if they
    sum to more than there is.

    Args:
        times: of the operators by themselves, not negative; None where it is not known.
        call: latency of a model that computes nothing.
        wall: latency of the whole model.
    """
    call = min(call, wall)
    known = [one for one in times if one is not None]
    total, shared = math.fsum(known), wall - call
    whole = len(known) == len(times)
    if not known:
        return Attribution(call, tuple(times), shared, None if times else call / wall)
    if total == 0:
        # Too fast to be told apart: nobody can say more than that all are alike.
        each = shared / len(times)
        estimates = tuple(None if one is None else each for one in times)
    else:
        spread = shared if whole or total > shared else total
        # Divided first: times near the least number that there is would make the factor infinite.
        estimates = tuple(None if one is None else spread * (one / total) for one in times)
    left = shared - math.fsum(one for one in estimates if one is not None)
    return Attribution(call, estimates, 0.0 if whole else max(0.0, left), (call + total) / wall if whole else None)


def profiler_cost(profiled: float, chain: float, call: float, nodes: int) -> float:
    """Return what a profiler adds to the time that it tells of a node.

    Args:
        profiled: mean time of a node of a chain of nodes that compute next to nothing, as the profiler tells it.
        chain: latency of that chain without the profiler.
        call: latency of a model that computes nothing.
        nodes: of the chain.
    """
    return max(0.0, profiled - max(0.0, chain - call) / nodes)


def fused_times(main: float, group: float, satellites: int) -> Tuple[float, float]:
    """Return the time of an operator and of each of those that a runtime fuses into it.

    Args:
        main: time of the operator alone.
        group: time of all together.
        satellites: how many are fused into it.
    """
    return min(main, group), max(0.0, group - main) / satellites
