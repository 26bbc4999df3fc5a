"""What whole networks take beyond the sum of their kernels, learnt from networks that were drawn at random.

    latency = call + scale · sum of kernels + kernels · price + traffic · price + crossing weights · prices

A kernel that is measured by itself, over and over, finds its weights where it left them. In a network all others have
run in between: weights that lay in a cache of a certain size come from the next one if those of the whole network do
not fit there. For each size in LEVELS_MB, the weights of kernels that by themselves fit a cache of that size, of
networks that do not, have a price per MB. What kernels read and write has one, too, and so has the step from one kernel
to the next. Prices are not negative; the fit is of relative errors (non-negative least squares: Lawson and Hanson,
Solving Least Squares Problems, 1974, chapter 23).

How far a network may be off is told by networks that are left out of the fit one by one: the interval spans, on both
sides of the prediction's logarithm, the ⌈(n + 1) · confidence⌉-th smallest of their n errors (the jackknife, as in
Barber et al., Annals of Statistics 49, 2021), and SESSION for what differs from one session to the next.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls

from searcher.cost_models.conformal import conformal_ratio, networks_for
from searcher.cost_models.kernels.kernel_model import SESSION
from searcher.errors import BadInputError
from searcher.spaces.block import BlockSpec
from searcher.spaces.kernels import kernel_features

Floats = NDArray[np.float64]

LEVELS_MB = (0.25, 1, 4, 16)
"""Sizes of caches, in MB (1,000,000 bytes), of which a device may have any."""
SCALE, STEPS, TRAFFIC = "sum_of_kernels", "kernels", "traffic_mb"
TERMS = (SCALE, STEPS, TRAFFIC, *(f"weights_beyond_{level:g}_mb" for level in LEVELS_MB))
"""What has a price: the sum in ms, the number of kernels, and MB."""
_FEWEST_NETWORKS = 12
_BYTES_PER_NUMBER, _BYTES_PER_MB = 4, 1e6
# As good as the sum of kernels alone before anything was measured: a network's worth of evidence.
_PRIOR_NETWORKS = 1.0


@dataclass(frozen=True)
class MeasuredNetwork:
    """A network that was cut into kernels, and measured whole.

    Attributes:
        kernels: in the order in which they run.
        kernels_ms: what each is predicted to take, the call apart, in ms.
        measured_ms: median latency of one inference, the call included, in ms.
    """

    kernels: tuple[BlockSpec, ...]
    kernels_ms: tuple[float, ...]
    measured_ms: float


@dataclass(frozen=True)
class NetworkCorrection:
    """Prices of what a sum of kernels does not hold, and how far networks that were not fitted to were off.

    Attributes:
        prices_ms: of each of TERMS, in ms for one of it.
        errors: measured ÷ predicted of each network, predicted from the others, sorted.
        plain_errors: measured ÷ (call + sum of kernels) of the same networks, sorted.
    """

    prices_ms: Mapping[str, float]
    errors: tuple[float, ...]
    plain_errors: tuple[float, ...]

    def __post_init__(self) -> None:
        """Refuse what is no correction.

        Raises:
            ValueError: a price is missing, unknown or negative, an error is not positive, or they are too few.
        """
        if set(self.prices_ms) != set(TERMS):
            raise ValueError(f"a correction prices {', '.join(TERMS)}, not {', '.join(self.prices_ms)}")
        if not all(0 <= price < math.inf for price in self.prices_ms.values()) or self.prices_ms[SCALE] == 0:
            raise ValueError("prices are not negative, and the sum of kernels counts")
        if len(self.errors) < _FEWEST_NETWORKS or len(self.errors) != len(self.plain_errors):
            raise ValueError(f"a correction is fitted to {_FEWEST_NETWORKS} networks at least, with two errors each")
        if not all(0 < error < math.inf for error in (*self.errors, *self.plain_errors)):
            raise ValueError("ratios of latencies are positive")

    def latency_ms(self, call_ms: float, kernels: Sequence[BlockSpec], kernels_ms: Sequence[float]) -> float:
        """Return what a network is expected to take, in ms.

        Args:
            call_ms: what one call of the runtime takes, in ms.
            kernels: of the network.
            kernels_ms: what each is predicted to take, the call apart, in ms.
        """
        prices = np.array([self.prices_ms[term] for term in TERMS])
        return float(call_ms + terms_of(kernels, kernels_ms) @ prices)

    def ratio(self, confidence: float) -> float:
        """Return by which factor, up or down, a measurement may be off its prediction with this probability.

        Raises:
            BadInputError: the confidence is no share, or the networks are too few for it.
        """
        return math.exp(conformal_ratio([abs(math.log(error)) for error in self.errors], confidence) + SESSION)


def fewest_networks(confidence: float) -> int:
    """Return how many networks a fit takes whose intervals are to have a confidence.

    Raises:
        BadInputError: the confidence is no share.
    """
    return max(_FEWEST_NETWORKS, networks_for(confidence))


def terms_of(kernels: Sequence[BlockSpec], kernels_ms: Sequence[float]) -> Floats:
    """Return how much of each of TERMS a network has."""
    features = [kernel_features(kernel) for kernel in kernels]
    weights = np.array([one["parameters"] for one in features]) * _BYTES_PER_NUMBER / _BYTES_PER_MB
    traffic = np.array([one["read"] + one["written"] for one in features]) * _BYTES_PER_NUMBER / _BYTES_PER_MB
    alone, together = weights + traffic, weights.sum() + traffic.max(initial=0.0)
    crossing = [weights[alone <= level].sum() if together > level else 0.0 for level in LEVELS_MB]
    return np.array([math.fsum(kernels_ms), len(kernels), traffic.sum(), *crossing])


def fit_correction(call_ms: float, networks: Sequence[MeasuredNetwork]) -> NetworkCorrection:
    """Fit prices to networks.

    Args:
        call_ms: what one call of the runtime takes, in ms.
        networks: at least twelve.

    Raises:
        BadInputError: there are too few networks, or their latencies have nothing to do with their kernels.
    """
    if len(networks) < _FEWEST_NETWORKS:
        raise BadInputError(f"a correction takes {_FEWEST_NETWORKS} networks at least, not {len(networks)}")
    terms = np.array([terms_of(one.kernels, one.kernels_ms) for one in networks])
    measured = np.array([one.measured_ms for one in networks])
    left_out = np.array(
        [
            call_ms + terms[at] @ _prices(np.delete(terms, at, axis=0), np.delete(measured, at), call_ms)
            for at in range(len(networks))
        ]
    )
    prices = _prices(terms, measured, call_ms)
    plain = call_ms + terms[:, TERMS.index(SCALE)]
    try:
        return NetworkCorrection(
            prices_ms=dict(zip(TERMS, prices.tolist(), strict=True)),
            errors=tuple(np.sort(measured / left_out).tolist()),
            plain_errors=tuple(np.sort(measured / plain).tolist()),
        )
    except ValueError as e:
        raise BadInputError(f"these networks do not take what their kernels take: {e}") from e


def _prices(terms: Floats, measured_ms: Floats, call_ms: float) -> Floats:
    """Return (T,) prices of (n, T) terms by least squares of relative errors, drawn a little to the plain sum."""
    rows = terms / measured_ms[:, None]
    goal = (measured_ms - call_ms) / measured_ms
    # So many networks' worth of belief in a scale of 1 and prices of 0, in units of what the terms usually add.
    usual = np.sqrt((rows**2).mean(axis=0)) * math.sqrt(_PRIOR_NETWORKS)
    believed = np.where(np.array(TERMS) == SCALE, usual, 0.0)
    prices, _ = nnls(np.vstack([rows, np.diag(usual)]), np.concatenate([goal, believed]))
    return np.asarray(prices, dtype=np.float64)
