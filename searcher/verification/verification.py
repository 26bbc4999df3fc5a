"""Predictions held against measurements: which candidates keep the limit, and which of them wins.

History of the schema of verification.json: 1, the first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from profiler_agent.records import Measurement
from searcher.documents import Document
from searcher.errors import BadInputError, SearcherError

SCHEMA_VERSION = 1


class LimitMissedError(SearcherError):
    """No candidate keeps the limit when measured."""


@dataclass(frozen=True)
class MeasuredDevice:
    """Where the networks were measured."""

    name: str
    fingerprint: str


@dataclass(frozen=True)
class Verdict:
    """One whole network, predicted and measured.

    Attributes:
        architecture: its text.
        predicted_ms: what the cost model said.
        measured_ms: measured median latency.
        measured_ci_ms: distribution-free interval of that median, low and high.
        measured_ci_confidence: the probability that the interval covers it; below 0.95 where rounds were few.
        error_pct: 100·(predicted - measured) / measured.
        feasible: whether the measured median keeps the limit.
    """

    architecture: str
    predicted_ms: float
    measured_ms: float
    measured_ci_ms: tuple[float, float]
    measured_ci_confidence: float
    error_pct: float
    feasible: bool


@dataclass(frozen=True)
class Verification:
    """What measuring the best candidates of a search showed.

    Attributes:
        device: where they were measured.
        runtime: identifier of the runtime.
        max_latency_ms: the limit.
        candidates: in the order of the search's preference.
        first: the search's own first choice.
        winner: the first candidate that keeps the limit when measured; None if none does.
        reason: why there is no winner; None if there is one.
    """

    device: MeasuredDevice
    runtime: str
    max_latency_ms: float
    candidates: tuple[Verdict, ...]
    first: Verdict
    winner: Verdict | None
    reason: str | None
    schema_version: int = SCHEMA_VERSION

    def require_winner(self) -> None:
        """Raise LimitMissedError, with the reason, if no candidate keeps the limit."""
        if self.winner is None:
            raise LimitMissedError(self.reason or "no candidate keeps the limit")


def judge(architecture: str, predicted_ms: float, measurement: Measurement, limit_ms: float) -> Verdict:
    """Hold one prediction against its measurement."""
    measured_ms = measurement.median_ms
    low, high, confidence = measurement.interval_ms
    return Verdict(
        architecture=architecture,
        predicted_ms=predicted_ms,
        measured_ms=measured_ms,
        measured_ci_ms=(low, high),
        measured_ci_confidence=confidence,
        error_pct=100 * (predicted_ms - measured_ms) / measured_ms,
        feasible=measured_ms <= limit_ms,
    )


def conclude(device: MeasuredDevice, runtime: str, limit_ms: float, verdicts: Sequence[Verdict]) -> Verification:
    """Choose the winner among verdicts that stand in the search's order.

    Raises:
        BadInputError: there are no verdicts.
    """
    if not verdicts:
        raise BadInputError("there is no candidate to verify")
    winner = next((verdict for verdict in verdicts if verdict.feasible), None)
    closest = min(verdict.measured_ms for verdict in verdicts)
    reason = (
        None
        if winner is not None
        else f"none of {len(verdicts)} candidates keeps {limit_ms:.4f} ms; the fastest takes {closest:.4f} ms"
    )
    return Verification(device, runtime, limit_ms, tuple(verdicts), verdicts[0], winner, reason)


VERIFICATION_DOCUMENT = Document(Verification, "verification", SCHEMA_VERSION)
