"""How wrong predictions were of kernels that were drawn after the model was fitted: told before they were measured."""

from __future__ import annotations

import statistics
from collections.abc import Iterable
from dataclasses import dataclass

from profiler_agent.records import TableKey
from searcher.tables.dataset import RANDOM, KernelRow

_WITHIN_PCT = 10.0


@dataclass(frozen=True)
class FreshError:
    """What predictions of one round's fresh random kernels of one type were worth.

    Kernels that were drawn where errors are large, or where a search looks, are not among them: they would tell of
    those regions, not of the domain.

    Attributes:
        threads: of the key.
        precision: of the key.
        kernel_type: of the kernels.
        drawing_round: in which they were drawn, from 1: the first round has nothing to predict by.
        points: how many.
        mean_pct: mean of the errors' sizes, in percent of the measured latency, the call included.
        bias_pct: mean of the errors: predicted minus measured.
        within_10: share with an error of at most 10 %.
    """

    threads: int
    precision: str
    kernel_type: str
    drawing_round: int
    points: int
    mean_pct: float
    bias_pct: float
    within_10: float


def fresh_errors(rows: Iterable[KernelRow]) -> tuple[FreshError, ...]:
    """Return the errors of each key, type and round that has fresh random kernels, sorted by these."""
    found: dict[tuple[str, int, str, TableKey], list[float]] = {}
    for row in rows:
        if row.error_pct is not None and row.origin == RANDOM:
            place = (row.kernel_type, row.drawing_round, row.key.precision, row.key)
            found.setdefault(place, []).append(row.error_pct)
    told = [
        FreshError(
            threads=key.threads,
            precision=precision,
            kernel_type=of_type,
            drawing_round=drawing_round,
            points=len(errors),
            mean_pct=round(statistics.fmean(abs(one) for one in errors), 3),
            bias_pct=round(statistics.fmean(errors), 3),
            within_10=round(sum(abs(one) <= _WITHIN_PCT for one in errors) / len(errors), 4),
        )
        for (of_type, drawing_round, precision, key), errors in found.items()
    ]
    return tuple(sorted(told, key=lambda one: (one.precision, one.threads, one.kernel_type, one.drawing_round)))
