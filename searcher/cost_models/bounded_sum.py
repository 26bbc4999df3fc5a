"""The sum over blocks with its bound, of a table in which predicted entries stand beside measured ones.

The bound of a latency is the sum of the upper ends of the intervals of all that is executed, one call among them:

    bound(a) = high(call) + Σ over blocks b of count_b(a) · (high_b - call)

Intervals are added as they are, since their errors do not average out: a network repeats a block, and what a predictor
gets wrong in one kernel it gets wrong in its like. Where all errors go together, the sum of such ends is the end of the
sum; where they do not, it is farther up. What sums of blocks are themselves off by in networks is no part of it: that
is what calibrations are for.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from searcher.cost_models.block_sum import BlockSum
from searcher.cost_models.cost_model import LatencyRange, linear_latencies_ms
from searcher.errors import BadInputError
from searcher.spaces.architecture import Architecture
from searcher.spaces.block import CALL_OVERHEAD
from searcher.spaces.space import SearchSpace
from searcher.tables.lookup_table import Entry, LookupTable


class BoundedSum:
    """Predicts latency as `BlockSum` does, and bounds it; fits `LinearCostModel` and `BoundedCostModel`."""

    def __init__(self, space: SearchSpace, table: LookupTable) -> None:
        """Take a table that holds every block of the space, measured or predicted.

        Raises:
            BadInputError: the table is of another space, or nothing in it is predicted: measured blocks alone do not
                tell how wrong their sum may be.
            MissingBlockError: the table lacks a block.
        """
        self._sum = BlockSum(space, table)
        if not table.predicted:
            raise BadInputError("a table alone cannot tell how wrong it may be: a confidence takes a calibration")
        keys = {block: block.in_dtype(table.key.precision).key for block in space.all_blocks()}
        # Parts that a table lacks are counted by nothing that is predicted from it.
        self._entries: Mapping[str, Entry] = {key: table.entries[key] for key in keys.values() if key in table.entries}
        call_ms = table.entry(keys[CALL_OVERHEAD]).median_ms
        self._upper_ms = np.array(
            [
                self._high_ms(key) - (call_ms if block != CALL_OVERHEAD else 0.0) if key in self._entries else 0.0
                for block, key in keys.items()
            ]
        )

    def _high_ms(self, key: str) -> float:
        entry = self._entries[key]
        return max(entry.median_ms, entry.interval_ms[1])

    @property
    def space(self) -> SearchSpace:
        """The space whose blocks are priced."""
        return self._sum.space

    @property
    def block_ms(self) -> NDArray[np.float64]:
        """(B,) what one execution of each of the space's `all_blocks()` adds, in ms; the call stands for itself."""
        return self._sum.block_ms

    def latency_ms(self, architecture: Architecture) -> float:
        """Return the predicted median latency of one inference, in ms."""
        return self._sum.latency_ms(architecture)

    def latencies_ms(self, genotypes: NDArray[np.integer[Any]]) -> NDArray[np.float64]:
        """Return (n,) predicted median latencies in ms, of (n, genes) integer encodings.

        Raises:
            BadInputError: these are no encodings of the space.
        """
        return self._sum.latencies_ms(genotypes)

    def upper_ms(self, architecture: Architecture, confidence: float) -> float:
        """Return a latency that the measured one stays below with this probability, in ms, where sums of blocks hold.

        Raises:
            BadInputError: the confidence is no share, or higher than that of an entry's interval.
        """
        return float(self.uppers_ms(np.array([architecture.genotype]), confidence)[0])

    def uppers_ms(self, genotypes: NDArray[np.integer[Any]], confidence: float) -> NDArray[np.float64]:
        """Return (n,) bounds as `upper_ms`, of (n, genes) integer encodings, never below the predictions.

        Raises:
            BadInputError: these are no encodings of the space, or the confidence cannot be had.
        """
        self._require_confidence(confidence)
        return linear_latencies_ms(self.space, self._upper_ms, genotypes)

    def latency_range(self, confidence: float) -> LatencyRange:
        """Return the range of the connected architectures' bounds.

        Raises:
            BadInputError: the confidence cannot be had.
        """
        found = self.space.extremes(self._upper_ms)
        low_ms, high_ms = (self.upper_ms(one, confidence) for one in (found.least, found.most))
        return LatencyRange(low_ms, high_ms, found.least, found.most)

    def _require_confidence(self, confidence: float) -> None:
        if not 0 < confidence < 1:
            raise BadInputError(f"a confidence lies between 0 and 1, not at {confidence:g}")
        least, entry = min(self._entries.items(), key=lambda one: one[1].confidence)
        if confidence > entry.confidence:
            how = "measured" if entry.predicted_by is None else "predicted"
            # Rounded down: what is asked for then is not refused once more.
            possible = math.floor(1e4 * entry.confidence) / 1e4
            advice = f"ask for --confidence {possible:g} or less" if possible else "measure it in more rounds"
            raise BadInputError(
                f"{least} is {how} with a confidence of {100 * entry.confidence:g}% only: no bound of "
                f"{100 * confidence:g}% is known; {advice}"
            )
