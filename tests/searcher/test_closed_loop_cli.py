"""`searcher search --verify-top`, as a user calls it, with a search and a loop that are done at once."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from profiler_agent.records import TableKey
from searcher.cli import search as command
from searcher.cost_models.block_sum import BlockSum
from searcher.cost_models.prices import LatencyPrice
from searcher.devices.device import Device
from searcher.search.candidate import SEARCH_DOCUMENT, SearchResult
from searcher.spaces.nasbench201 import NasBench201
from searcher.tables.lookup_table import TABLE_DOCUMENT, KeyMismatchError
from searcher.verification.verification import VERIFICATION_DOCUMENT, Verification
from searcher.workflows import closed_loop as loops
from searcher.workflows import measure_networks
from searcher.workflows.closed_loop import LoopRequest, require_device
from searcher.workflows.progress import Progress, Work
from searcher.workflows.search_space import SearchRequest
from tests.agent.trees import RASPBERRY_PI
from tests.fakes import FakeTransport
from tests.searcher.builders import KEY, agent_program, table
from tests.searcher.calibrations import block_ms
from tests.searcher.command_line import Run, assert_one_sentence
from tests.searcher.searched import found, latency_limit, random_cells
from tests.searcher.test_closed_loop import Namer
from tests.searcher.test_prepare_device import board
from tests.searcher.watching import watched

SPACE = NasBench201(cells_per_stage=1)
MODEL = BlockSum(SPACE, table(SPACE, block_ms))
CELLS = random_cells(SPACE, 12)
LIMIT_MS = 1.0
QUICK = ("--rounds", "6", "--samples", "2")


@pytest.fixture
def lut(tmp_path: Path) -> Path:
    path = tmp_path / "table.json"
    TABLE_DOCUMENT.save(table(SPACE, block_ms), path)
    return path


@pytest.fixture
def device(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, lut: Path) -> Callable[[float], list[LoopRequest]]:
    """Makes a device on which networks take so many times their prediction; the loops asked for are kept."""
    asked: list[LoopRequest] = []

    def search(request: SearchRequest) -> Work[SearchResult]:
        yield Progress("search, generations", 1, 1)
        price = LatencyPrice(str(request.source), MODEL)
        return found(request.space, CELLS, (latency_limit(price, request.limit_ms or LIMIT_MS),), MODEL.latency_ms)

    def met(key: TableKey, there: Device) -> Work[None]:
        yield Progress("reach the device", 1, 1, f"met {there.name} of {key.device_fingerprint}")

    def make(factor: float) -> list[LoopRequest]:
        program = agent_program(lambda text: factor * MODEL.latency_ms(SPACE.parse(text)))

        def loop(request: LoopRequest) -> Work[Verification]:
            asked.append(request)
            return loops.closed_loop(request, lambda _: FakeTransport(program))

        monkeypatch.setattr(command, "closed_loop", loop)
        return asked

    monkeypatch.setenv("PROFILER_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(measure_networks, "exporter_like", lambda *_arguments: Namer())
    monkeypatch.setattr(command, "search_space", search)
    monkeypatch.setattr(command, "require_device", met)
    return make


def test_the_winner_is_shown_and_both_files_are_written(
    searcher: Run, lut: Path, tmp_path: Path, device: Callable[[float], list[LoopRequest]]
) -> None:
    asked = device(1.08)
    options = ("--verify-top", "2", "--verify-rounds", "9", "--verify-budget-s", "1000", "--precision", "3")
    out = tmp_path / "there" / "search.json"
    shown = searcher("search", "--lut", lut, "--out", out, "--cells", "1", *options, *QUICK)
    assert shown.status == 0, shown.err
    (request,) = asked
    measuring = request.measuring
    assert (measuring.top, measuring.most_rounds, measuring.budget_s) == (2, 9, 1000.0)
    assert (measuring.settings.rounds, measuring.settings.target_half_width_pct) == (6, 3.0)
    assert measuring.out == tmp_path / "there" / "verification.json"
    verified = VERIFICATION_DOCUMENT.load(measuring.out)
    assert verified.winner is not None
    assert SEARCH_DOCUMENT.load(out) == request.search
    assert "met local of x86_64-0" in shown.err
    assert "predictions are corrected by +" in shown.err
    for part in ("after round 1: predictions +", "winner: ", "first choice", f"wrote {measuring.out}"):
        assert part in shown.out
    assert verified.winner.architecture in shown.out


def test_the_loop_as_one_document(
    searcher: Run, lut: Path, tmp_path: Path, device: Callable[[float], list[LoopRequest]]
) -> None:
    device(1.0)
    shown = searcher("search", "--lut", lut, "--cells", "1", "--verify-top", "1", *QUICK, "--json")
    assert shown.status == 0, shown.err
    files = {name: json.loads((tmp_path / f"{name}.json").read_text()) for name in ("search", "verification")}
    assert json.loads(shown.out) == files
    (only,) = files["verification"]["rounds"]
    assert only["candidates"] == files["verification"]["candidates"]
    assert only["correction"]["networks"] == 1


def test_where_nothing_holds_the_status_is_1(
    searcher: Run, lut: Path, tmp_path: Path, device: Callable[[float], list[LoopRequest]]
) -> None:
    device(50.0)
    outcome = searcher("search", "--lut", lut, "--cells", "1", "--verify-top", "1", *QUICK)
    assert_one_sentence(outcome, 1, "measured candidates keeps 1.0000 ms")
    assert VERIFICATION_DOCUMENT.load(tmp_path / "verification.json").winner is None
    assert (tmp_path / "search.json").is_file()


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (("--device", "local"), "--device says how --verify-top measures: give both or neither"),
        (("--verification", "v.json"), "--verification says how --verify-top"),
        (("--rounds", "3"), "--rounds says how --verify-top"),
        (("--accept-new-host-key",), "--accept-new-host-key says how --verify-top"),
        (("--verify-top", "1", "--device", "nowhere"), "nowhere"),
        (("--verify-top", "1", "--verify-budget-s", "0"), "--verify-budget-s takes a positive number"),
        (("--verify-top", "1", "--out", "verification.json"), "are one file"),
        (("--verify-top", "1", "--verification", "table.json"), "would replace the input"),
    ],
)
def test_what_cannot_be_is_refused_before_the_search(
    searcher: Run, lut: Path, tmp_path: Path, arguments: tuple[str, ...], part: str
) -> None:
    assert_one_sentence(searcher("search", "--lut", lut, *arguments), 2, part)
    assert not (tmp_path / "search.json").exists()


def test_other_images_than_the_tables_are_told_before_the_search(searcher: Run, lut: Path, tmp_path: Path) -> None:
    made = TABLE_DOCUMENT.load(lut)
    calibrated = replace(
        made,
        key=replace(made.key, precision="int8"),
        entries={name.replace("-fp32", "-int8"): entry for name, entry in made.entries.items()},
        provenance=replace(made.provenance, calibration="other images"),
    )
    TABLE_DOCUMENT.save(calibrated, lut)
    outcome = searcher("search", "--lut", lut, "--cells", "1", "--verify-top", "1")
    assert_one_sentence(outcome, 2, "the table's blocks were calibrated on other images, not on digits, 64 images")
    assert not (tmp_path / "search.json").exists()


def test_another_device_than_the_tables_is_told_before_the_search(tmp_path: Path) -> None:
    transport = board(tmp_path, RASPBERRY_PI)
    with pytest.raises(KeyMismatchError, match="device_fingerprint was 'x86_64-0', is 'aarch64-0'"):
        watched(require_device(KEY, Device(), lambda _: transport))
    assert transport.closed
    assert "--no-runtimes" in transport.runs[0].arguments
