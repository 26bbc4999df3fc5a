"""A measured kernel, as predictors are trained on it and judged by it."""

from __future__ import annotations

import math
from dataclasses import dataclass

from searcher.spaces.block import BlockSpec


@dataclass(frozen=True)
class MeasuredKernel:
    """One measured kernel.

    Attributes:
        spec: what it computes.
        latency_ms: median latency of one inference, the runtime's call included, in ms.
        call_ms: what the call took in the same job, in ms.
        interval_ms: of the latency, in ms.
        group: kernels that are near-duplicates of each other share it: they are learnt from or judged by together.
    """

    spec: BlockSpec
    latency_ms: float
    call_ms: float
    interval_ms: tuple[float, float]
    group: str

    def __post_init__(self) -> None:
        """Refuse what no measurement can give.

        Raises:
            ValueError: a latency is not positive and finite.
        """
        if not all(0 < one < math.inf for one in (self.latency_ms, self.call_ms, *self.interval_ms)):
            raise ValueError(f"the latency of {self.spec.key} is not positive")

    @property
    def own_ms(self) -> float:
        """What the kernel takes beside the call, in ms; noise can make it negative where that is next to nothing."""
        return self.latency_ms - self.call_ms
