"""Predictions held against measurements: which candidates keep the limit, and which of them wins.

History of the schema of verification.json:
2: `rounds` and `untested`, of a closed loop.
1: the first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from profiler_agent.records import Measurement
from searcher.cost_models.recalibration import Correction
from searcher.documents import Document
from searcher.errors import BadInputError, SearcherError

SCHEMA_VERSION = 2


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
class Round:
    """One round of a closed loop: what was measured, and what is believed after it.

    Attributes:
        candidates: in the order of preference before the round; what was predicted of them is what the model said when
            it had been corrected by the rounds before.
        correction: of the cost model, by all that was measured so far.
        bound_over_prediction: of architectures that were not measured; 1 where predictions themselves are held against
            the limit.
        within: how many candidates are now believed to keep all limits, of those that have a score, one for each
            `score_key`.
        unscored: how many more are believed to keep them and have no score, since the search believed otherwise.
        first: the candidate that is now preferred; None if none is believed to keep the limits.
        seconds: since the loop began.
    """

    candidates: tuple[Verdict, ...]
    correction: Correction
    bound_over_prediction: float
    within: int
    unscored: int
    first: str | None
    seconds: float


@dataclass(frozen=True)
class Verification:
    """What measuring the best candidates of a search showed.

    Attributes:
        device: where they were measured.
        runtime: identifier of the runtime.
        max_latency_ms: the limit.
        candidates: in the order of the search's preference; of a closed loop, in the order of measuring.
        first: the search's own first choice; of a closed loop that before anything was measured.
        winner: the first candidate that keeps the limit when measured; None if none does.
        reason: why there is no winner; None if there is one.
        rounds: of a closed loop; none where candidates were measured once.
        untested: how many candidates that were not measured are believed to be better than the winner, or to keep the
            limits at all where there is none: what a closed loop left when its rounds or its time ended.
    """

    device: MeasuredDevice
    runtime: str
    max_latency_ms: float
    candidates: tuple[Verdict, ...]
    first: Verdict
    winner: Verdict | None
    reason: str | None
    rounds: tuple[Round, ...] = ()
    untested: int = 0
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
