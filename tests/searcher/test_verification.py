"""Judging predictions by measurements, and the file that says so."""

from __future__ import annotations

from pathlib import Path

import pytest

from searcher.errors import BadInputError
from searcher.verification.verification import (
    VERIFICATION_DOCUMENT,
    LimitMissedError,
    MeasuredDevice,
    conclude,
    judge,
)
from tests.searcher.builders import measurement

DEVICE = MeasuredDevice("local", "x86_64-0")


def test_a_verdict_compares_prediction_and_measurement() -> None:
    verdict = judge("a", 9.0, measurement("a", (10.0, 9.9, 10.1, 10.0, 10.2, 9.8)), limit_ms=10.0)
    assert verdict.measured_ms == pytest.approx(10.0)
    assert verdict.error_pct == pytest.approx(-10.0)
    assert verdict.measured_ci_ms == (9.8, 10.2)
    assert verdict.feasible
    assert not judge("a", 9.0, measurement("a", (10.1,) * 6), limit_ms=10.0).feasible


def test_the_winner_is_the_first_that_keeps_the_limit_when_measured(tmp_path: Path) -> None:
    latencies = {"a": 3.0, "b": 2.0, "c": 1.0}
    verdicts = [judge(name, 1.0, measurement(name, (ms,) * 6), 2.0) for name, ms in latencies.items()]
    verification = conclude(DEVICE, "onnxruntime", 2.0, verdicts)
    assert verification.first.architecture == "a"
    assert verification.winner is not None
    assert verification.winner.architecture == "b"
    assert verification.reason is None
    verification.require_winner()
    VERIFICATION_DOCUMENT.save(verification, tmp_path / "v.json")
    assert VERIFICATION_DOCUMENT.load(tmp_path / "v.json") == verification


def test_without_a_winner_there_is_a_reason() -> None:
    verification = conclude(DEVICE, "onnxruntime", 2.0, [judge("a", 1.0, measurement("a", (3.0,) * 6), 2.0)])
    assert verification.winner is None
    with pytest.raises(LimitMissedError, match=r"none of 1 candidates keeps 2\.0000 ms; the fastest takes 3\.0000 ms"):
        verification.require_winner()


def test_nothing_to_verify_is_an_error() -> None:
    with pytest.raises(BadInputError, match="no candidate"):
        conclude(DEVICE, "onnxruntime", 2.0, [])
