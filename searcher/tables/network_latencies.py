"""Latencies of whole networks of one space on one device: what cost models are fitted to and judged by.

They are measured by the agent, published by others and imported, or predicted from a few and from other devices.
History of the schema: 1, the first.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from profiler_agent.records import TableKey
from searcher.documents import Document

SCHEMA_VERSION = 1


@dataclass(frozen=True)
class NetworkLatency:
    """What one whole network takes.

    Attributes:
        median_ms: median latency of one inference, the runtime's call included, in ms.
        interval_ms: interval of that median, in ms; None where none was published.
        confidence: the probability that the interval covers it; below 0.95 where rounds were few, None if unknown.
        converged: whether the interval is as narrow as the job asked; None where there is none.
        operations: operators of the graph as the runtime optimised it; empty where they are not known.
        model_sha256: hash of the model file that was measured; None where it is not known.
    """

    median_ms: float
    interval_ms: tuple[float, float] | None = None
    converged: bool | None = None
    operations: tuple[str, ...] = ()
    model_sha256: str | None = None
    confidence: float | None = None

    def __post_init__(self) -> None:
        """Refuse what no measurement can give.

        Raises:
            ValueError: a value is out of its range.
        """
        if not (math.isfinite(self.median_ms) and self.median_ms > 0):
            raise ValueError(f"a median latency is positive, not {self.median_ms} ms")
        if self.interval_ms is not None:
            low, high = self.interval_ms
            if not (math.isfinite(high) and 0 < low <= high):
                raise ValueError(f"an interval goes from a positive low to a high, not from {low} to {high} ms")
        if self.confidence is not None and not 0 <= self.confidence <= 1:
            raise ValueError(f"a confidence lies between 0 and 1, not at {self.confidence}")


@dataclass(frozen=True)
class NetworkLatencies:
    """Whole networks of one space on one device.

    Attributes:
        space: name of the search space.
        device: what the device is called.
        created: UTC date and time, ISO 8601.
        source: where the figures come from: a job of the agent, or the file that they were imported from.
        key: conditions of the measurements; None for imported ones, whose conditions nobody knows.
        networks: latency by the architecture's text.
        export_cells: cells per stage of the networks; None for imported ones.
        sentinel_ms: latency of the agent's sentinel meanwhile, in ms; None if unknown.
        predicted: whether the latencies are predictions, each with its interval; `key` is then of the measurements
            that they rest on.
    """

    space: str
    device: str
    created: str
    source: str
    key: TableKey | None
    networks: Mapping[str, NetworkLatency]
    export_cells: int | None = None
    sentinel_ms: float | None = None
    predicted: bool = False
    schema_version: int = SCHEMA_VERSION

    def __post_init__(self) -> None:
        """Refuse predictions that do not say how sure they are.

        Raises:
            ValueError: one has no interval.
        """
        if self.predicted and any(one.interval_ms is None for one in self.networks.values()):
            raise ValueError("what is predicted has an interval")


NETWORKS_DOCUMENT = Document(NetworkLatencies, "file of network latencies", SCHEMA_VERSION)
