"""What a terminal shows of a closed loop."""

from __future__ import annotations

from dataclasses import replace

import pytest
from rich.console import Console
from rich.table import Table

from searcher.cost_models.recalibration import Correction
from searcher.reports.closed_loop import corrections, rounds_table
from searcher.verification.verification import MeasuredDevice, Round, Verdict, Verification, judge
from tests.searcher.builders import measurement

CORRECTION = Correction(2, 1.081, {"fixed": 1.01, "relu_conv_bn-k3": 0.97}, 1.5)


def verdict(name: str, predicted_ms: float, measured_ms: float) -> Verdict:
    return judge(name, predicted_ms, measurement(name, (measured_ms,) * 6), 10.0)


FIRST, WINNER = verdict("a", 9.9, 10.7), verdict("b", 9.6, 9.7)
VERIFIED = Verification(
    device=MeasuredDevice("local", "x86_64-0"),
    runtime="onnxruntime",
    max_latency_ms=10.0,
    candidates=(FIRST, WINNER),
    first=FIRST,
    winner=WINNER,
    reason=None,
    rounds=(
        Round((FIRST,), CORRECTION, 1.0, 12, 0, "b", 1.0),
        Round((WINNER,), replace(CORRECTION, common=1.08), 1.034, 11, 0, "b", 2.0),
    ),
)


def printed(table: Table) -> list[str]:
    console = Console(width=160)
    with console.capture() as captured:
        console.print(table)
    return [line for line in captured.get().splitlines() if "│" in line]


def test_every_round_is_shown_with_what_was_predicted_before_it() -> None:
    rows = [[cell.strip() for cell in line.strip("│").split("│")] for line in printed(rounds_table(VERIFIED))]
    assert rows == [
        ["1", "a", "9.9000", "10.7000", "-7.5", "no", "first choice"],
        ["2", "b", "9.6000", "9.7000", "-1.0", "yes", "winner"],
    ]


def test_each_round_tells_its_correction() -> None:
    assert corrections(VERIFIED).splitlines() == [
        "after round 1: predictions +8.1% (relu_conv_bn-k3 -3.0% beside that); 12 candidates within the limits",
        "after round 2: predictions +8.0% (relu_conv_bn-k3 -3.0% beside that), bounds 3.4% above them; "
        "11 candidates within the limits",
    ]


@pytest.mark.parametrize(
    ("verified", "part"),
    [
        (replace(VERIFIED, untested=4), "4 candidates that were not measured are believed to be better"),
        (
            replace(VERIFIED, rounds=(replace(VERIFIED.rounds[0], unscored=7),)),
            "7 candidates that the search took to be above its limits, and never scored",
        ),
        (
            replace(VERIFIED, winner=replace(WINNER, measured_ci_ms=(9.4, 10.1))),
            "the interval of the winner's median reaches above the limit",
        ),
    ],
)
def test_what_was_left_open_is_told(verified: Verification, part: str) -> None:
    assert part in corrections(verified)
    assert part not in corrections(VERIFIED)
