"""`searcher calibrate`, and `searcher search` with what it wrote, as a user calls them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from searcher.cli import calibrate as command
from searcher.cost_models.calibration import CALIBRATION_DOCUMENT, Calibration
from searcher.search.candidate import SEARCH_DOCUMENT
from searcher.spaces.nasbench201 import NasBench201
from searcher.tables.lookup_table import TABLE_DOCUMENT
from searcher.workflows.calibrate import CalibrateRequest
from searcher.workflows.progress import Progress, Work
from tests.searcher.builders import KEY, table
from tests.searcher.calibrations import block_ms, calibration, fitted, network_ms
from tests.searcher.command_line import Run, assert_one_sentence
from tests.searcher.test_demo import save_weights

SPACE = NasBench201()
REFUSED = "only 10% of 20 held-out networks are predicted within 10%"


def whole(refused: str | None = None) -> Calibration:
    """A calibration of the space of usual size, with prices that are no measured ones."""
    made = calibration(fitted(network_ms(noise_pct=2.0)))
    prices = {block.key: block_ms(block) for block in SPACE.all_blocks()}
    return replace(made, export_cells=5, block_ms=prices, refused=refused)


@pytest.fixture
def lut(tmp_path: Path) -> Path:
    path = tmp_path / "table.json"
    TABLE_DOCUMENT.save(table(SPACE, block_ms), path)
    return path


def answering(monkeypatch: pytest.MonkeyPatch, made: Calibration) -> list[CalibrateRequest]:
    asked: list[CalibrateRequest] = []

    def work(request: CalibrateRequest) -> Work[Calibration]:
        asked.append(request)
        yield Progress("measure networks", 1, 1)
        return made

    monkeypatch.setattr(command, "calibrate", work)
    return asked


def test_a_calibration_is_shown_and_written(
    searcher: Run, lut: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = whole()
    asked = answering(monkeypatch, made)
    shown = searcher(
        "calibrate", "--lut", lut, "--networks", "12", "--held-out", "30", "--seed", "7", "--budget-s", "9"
    )
    assert shown.status == 0, shown.err
    (request,) = asked
    assert (request.fitted, request.held_out, request.seed, request.budget_s) == (12, 30, 7, 9.0)
    assert (request.table, request.space) == (lut, SPACE)
    assert CALIBRATION_DOCUMENT.load(tmp_path / "calibration.json") == made
    for part in ("relu_conv_bn-k3", "20 held-out networks: mean error", "explains 30 of 30 graphs", "of 95%"):
        assert part in shown.out
    as_json = json.loads(searcher("calibrate", "--lut", lut, "--json").out)
    assert as_json["held_out"]["within_10"] == made.held_out.within_10


def test_a_fit_that_fails_its_check_is_written_and_ends_with_status_1(
    searcher: Run, lut: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answering(monkeypatch, whole(refused=REFUSED))
    assert_one_sentence(searcher("calibrate", "--lut", lut), 1, f"sums of blocks are not used on local: {REFUSED}")
    assert CALIBRATION_DOCUMENT.load(tmp_path / "calibration.json").refused == REFUSED
    refused = searcher("search", "--calibration", tmp_path / "calibration.json")
    assert_one_sentence(refused, 1, "sums of blocks are not used")


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (("calibrate", "--lut", "none.json"), "cannot read the lookup table none.json"),
        (("calibrate", "--lut", "table.json", "--out", "table.json"), "would replace the input"),
        (("calibrate", "--lut", "table.json", "--budget-s", "0"), "--budget-s takes a positive number"),
        (("calibrate", "--lut", "table.json", "--held-out", "18"), "takes at least 19 held-out networks, not 18"),
        (("calibrate", "--lut", "table.json", "--device", "nowhere"), "unknown device 'nowhere'"),
        (("search",), "give --lut TABLE, --calibration FILE, "),
        (("search", "--lut", "table.json", "--calibration", "table.json"), "give --lut TABLE, --calibration FILE, "),
        (("search", "--lut", "table.json", "--confidence", "0.95"), "--confidence takes a --calibration"),
        (("search", "--calibration", "table.json"), "is no calibration: it has no export_cells"),
    ],
)
def test_bad_input_is_one_sentence(searcher: Run, lut: Path, arguments: tuple[str, ...], part: str) -> None:
    before = lut.read_bytes()
    outcome = searcher(*arguments)
    assert (outcome.status, outcome.out) == (2, "")
    assert part in outcome.err
    assert lut.read_bytes() == before


def search(searcher: Run, tmp_path: Path, *more: str) -> dict[str, object]:
    reference = save_weights(tmp_path / "resnet20.pt")
    outcome = searcher(
        *(
            "search",
            "--calibration",
            tmp_path / "calibration.json",
            "--reference",
            reference,
            "--score-cells",
            "1",
            "--steps",
            "1",
        ),
        *("--batch-size", "4", "--population", "6", "--generations", "1", *more),
    )
    assert outcome.status == 0, outcome.err
    found: dict[str, object] = json.loads((tmp_path / "search.json").read_text())
    return found


def test_a_search_keeps_its_limit_with_a_confidence(searcher: Run, tmp_path: Path) -> None:
    made = whole()
    CALIBRATION_DOCUMENT.save(made, tmp_path / "calibration.json")
    plain = search(searcher, tmp_path, "--max-latency-ms", "1.4")
    careful = search(searcher, tmp_path, "--max-latency-ms", "1.4", "--confidence", "0.95")
    found = SEARCH_DOCUMENT.load(tmp_path / "search.json")
    ratio = found.settings["bound_over_prediction"]
    assert ratio > 1.01
    assert (found.max_latency_ms, found.table_key) == (1.4, KEY)
    assert found.settings["calibrated"] is True
    for candidate in found.candidates:
        assert candidate.feasible == (candidate.problem is None and candidate.predicted_ms * ratio <= 1.4)
    assert plain["settings"] != careful["settings"]


def test_limits_on_several_devices_stand_side_by_side(searcher: Run, tmp_path: Path) -> None:
    CALIBRATION_DOCUMENT.save(whole(), tmp_path / "calibration.json")
    slower = table(SPACE, lambda _block: 0.2)
    entries = {key: replace(entry, energy_mj=0.5 + entry.median_ms) for key, entry in slower.entries.items()}
    TABLE_DOCUMENT.save(replace(slower, entries=entries), tmp_path / "other=2.json")
    more = ("--limit", "latency:other=2.json=0.3", "--limit", "energy:other=2.json=50", "--limit", "memory=3")
    counted = ("--limit", "flops=100", "--limit", "parameters=0.6", "--limit", "latency:calibration.json=9")
    search(searcher, tmp_path, "--confidence", "0.95", "--max-latency-ms", "1.4", *more, *counted)
    found = SEARCH_DOCUMENT.load(tmp_path / "search.json")
    quantities = ["latency", "latency", "energy", "memory", "flops", "parameters", "latency"]
    assert [one.quantity for one in found.limits] == quantities
    # Only what a calibration prices is kept with a confidence.
    assert [one.confidence for one in found.limits] == [0.95, None, None, None, None, None, 0.95]
    assert found.limits[1].source == "other=2.json"
    for candidate in found.candidates:
        assert [one.quantity for one in candidate.costs] == quantities
        broken = any(cost.bound > limit.at_most for cost, limit in zip(candidate.costs, found.limits, strict=True))
        assert candidate.feasible == (candidate.problem is None and not broken)
        assert (candidate.violation > 0) == broken
        assert candidate.feasible == (candidate.rung == 1)
        assert candidate.costs[4].value == candidate.macs / 1e6
        assert candidate.costs[0].bound > candidate.costs[0].value == candidate.predicted_ms
    assert sum(found.measurements.measured) <= sum(one.feasible for one in found.candidates)


def test_the_papers_penalty_trains_what_breaks_a_limit_and_rejection_never_meets_it(
    searcher: Run, tmp_path: Path
) -> None:
    CALIBRATION_DOCUMENT.save(whole(), tmp_path / "calibration.json")
    limited = ("--max-latency-ms", "1.0", "--limit", "parameters=0.3")
    for penalty, expected in (("paper", (True, True)), ("reject", (False, False))):
        search(searcher, tmp_path, *limited, "--penalty", penalty)
        found = SEARCH_DOCUMENT.load(tmp_path / "search.json")
        assert found.constraint == penalty
        broken = [one for one in found.candidates if one.violation > 0 and one.problem is None]
        measured = {one.rung for one in broken if one.rung}
        assert (bool(broken), bool(measured)) == expected


def test_a_limit_that_no_bound_keeps_is_answered_with_the_least(searcher: Run, tmp_path: Path) -> None:
    CALIBRATION_DOCUMENT.save(whole(), tmp_path / "calibration.json")
    least = float(searcher("search", "--calibration", "calibration.json", "--max-latency-ms", "0.001").err.split()[-2])
    bounded = float(
        searcher(
            *("search", "--calibration", "calibration.json", "--max-latency-ms", "0.001", "--confidence", "0.95")
        ).err.split()[-2]
    )
    assert bounded > least > 0.2
