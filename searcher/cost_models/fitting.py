"""Scales of groups of blocks, fitted to whole networks, and which networks to measure for that.

In a network a block may cost more than alone, since its inputs are not where they were, or less. What one kind of block
costs alone is taken to be wrong by one factor. With about ten networks a free fit of the factors would follow the
noise; they are pulled towards 1 as much as the table deserves trust (ridge regression towards the table; Hoerl and
Kennard, Technometrics 12, 1970).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

# How far factors are from 1, and single networks from the sum, as standard deviations: what isolated blocks of
# processors' runtimes show. They weigh the table against the networks and need not be exact.
SCALE_DEVIATION = 0.1
NETWORK_DEVIATION = 0.02


def fit_scales(parts_ms: Floats, measured_ms: Floats) -> Floats:
    """Return the scale of each group that makes networks' sums agree with their measurements, in relative terms.

    Args:
        parts_ms: (networks, groups): what the table says each group of blocks adds to each network, in ms.
        measured_ms: (networks,): measured latencies, in ms.

    Returns:
        (groups,): factors, 1 where the networks say nothing of a group.
    """
    relative, pull = parts_ms / measured_ms[:, None] / NETWORK_DEVIATION, np.eye(parts_ms.shape[1]) / SCALE_DEVIATION
    wanted = np.full(len(measured_ms), 1 / NETWORK_DEVIATION)
    scales, *_ = np.linalg.lstsq(np.vstack([relative, pull]), np.concatenate([wanted, np.diag(pull)]), rcond=None)
    return np.asarray(scales, dtype=np.float64)


def informative(parts_ms: Floats, count: int) -> list[int]:
    """Choose networks that tell the most of all scales together.

    One after the other, each time the network that multiplies the determinant of the fit's information most (greedy
    D-optimal design; Pukelsheim, Optimal Design of Experiments, 1993).

    Args:
        parts_ms: (networks, groups): as `fit_scales`, of the networks to choose from.
        count: how many, at most all.

    Returns:
        Their rows, in the order of choice.
    """
    rows = parts_ms / parts_ms.sum(axis=1, keepdims=True) / NETWORK_DEVIATION
    covariance = np.eye(rows.shape[1]) * SCALE_DEVIATION**2
    chosen: list[int] = []
    for _ in range(min(count, len(rows))):
        gains = np.einsum("ng,gh,nh->n", rows, covariance, rows)
        gains[chosen] = -np.inf
        best = int(np.argmax(gains))
        chosen.append(best)
        told = covariance @ rows[best]
        covariance = covariance - np.outer(told, told) / (1 + rows[best] @ told)
    return chosen
