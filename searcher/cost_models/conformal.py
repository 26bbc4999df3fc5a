"""How far above its prediction a measurement may lie, from networks that the fit has not seen.

What is known of n such networks are their ratios of measured to predicted latency. Two bounds, the greater counts:

- Split-conformal: the ⌈(n+1)·confidence⌉-th smallest ratio. Whatever the distribution, the next network drawn like
  those n stays below it with that probability, *averaged over calibrations* (Vovk, Gammerman and Shafer, Algorithmic
  Learning in a Random World, 2005; Lei et al., JASA 2018). Of single calibrations with 20 networks, more than one in
  three is too tight: the greatest of 20 lies below the 95% quantile with a probability of 0.95^20.
- One-sided tolerance limit: where logarithms of the ratios are normal, at least that share of networks stays below it
  in nine *calibrations* of ten (Hahn and Meeker, Statistical Intervals, 1991, 4.6.3).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from scipy import stats

from searcher.errors import BadInputError, SearcherError

CONFIDENCE, CERTAINTY = 0.95, 0.9


def upper_ratio(ratios: Sequence[float], confidence: float) -> float:
    """Return what a prediction is multiplied with to bound its measurement from above, at least 1.

    Args:
        ratios: measured ÷ predicted of networks that the fit has not seen, all positive.
        confidence: share of networks that stay below the bound, between 0 and 1.

    Raises:
        BadInputError: the confidence is no share, or the networks are too few for it.
    """
    return max(1.0, conformal_ratio(ratios, confidence), tolerance_ratio(ratios, confidence))


def conformal_ratio(ratios: Sequence[float], confidence: float) -> float:
    """Return the split-conformal bound.

    Raises:
        BadInputError: the confidence is no share, or the networks are too few for it.
    """
    needed = networks_for(confidence)
    rank = math.ceil((len(ratios) + 1) * confidence - 1e-9)
    if rank > len(ratios):
        raise BadInputError(f"a bound of {100 * confidence:g}% takes {needed} held-out networks, not {len(ratios)}")
    return sorted(ratios)[rank - 1]


def networks_for(confidence: float) -> int:
    """Return how many held-out networks a split-conformal bound takes at least.

    Raises:
        BadInputError: the confidence is no share.
    """
    if not 0 < confidence < 1:
        raise BadInputError(f"a confidence lies between 0 and 1, not at {confidence:g}")
    return math.ceil(confidence / (1 - confidence) - 1e-9)


def tolerance_ratio(ratios: Sequence[float], confidence: float) -> float:
    """Return the one-sided tolerance limit of log-normal ratios, at least two of them.

    Raises:
        SearcherError: the limit is no finite number.
    """
    logarithms = np.log(np.asarray(ratios, dtype=np.float64))
    count = len(logarithms)
    shift = stats.norm.ppf(confidence) * math.sqrt(count)
    factor = stats.nct.ppf(CERTAINTY, count - 1, shift) / math.sqrt(count)
    limit = float(np.exp(logarithms.mean() + factor * logarithms.std(ddof=1)))
    if not math.isfinite(limit):
        raise SearcherError(f"no tolerance limit of {count} ratios can be worked out for {100 * confidence:g}%")
    return limit
