"""Latencies of whole networks into a file: job by job, gone on with, and never mixed with those of other conditions."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from profiler_agent.records import parse_job
from searcher.cost_models.network_model import fit_network_model
from searcher.devices.answers import MeasurementFailedError
from searcher.devices.device import Device
from searcher.devices.transport import TransportError
from searcher.errors import BadInputError
from searcher.spaces.darts import DartsSpace
from searcher.spaces.drawn_networks import drawn_networks
from searcher.spaces.nasbench201 import NasBench201
from searcher.tables.lookup_table import KeyMismatchError
from searcher.tables.network_latencies import NETWORKS_DOCUMENT, NetworkLatencies
from searcher.workflows import measure_latencies as workflow
from searcher.workflows.measure_latencies import LatenciesRequest, measure_latencies
from tests.fakes import FakeTransport, Program
from tests.searcher.builders import KEY, QUICK, agent_program
from tests.searcher.command_line import Run, assert_one_sentence
from tests.searcher.test_closed_loop import Namer
from tests.searcher.watching import watched

SPACE = NasBench201()
CELLS = drawn_networks(SPACE, 25, np.random.default_rng(3))
TEXTS = [SPACE.format(one) for one in CELLS]


@pytest.fixture(autouse=True)
def _names_for_files(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PROFILER_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(workflow, "prepare_exporter", lambda *_arguments: Namer())


def macs_ms(text: str) -> float:
    return 1e-7 * SPACE.macs(SPACE.parse(text))


class Board:
    """A device that tells of its jobs, and fails as the test wishes."""

    def __init__(self, key: object = KEY, breaks_at: int | None = None, failing: frozenset[str] = frozenset()) -> None:
        self.jobs: list[list[str]] = []
        self.sentinels_ns: list[float | None] = []
        self.breaks_at = breaks_at
        self.program: Program = agent_program(macs_ms, key=key, failing=failing)  # type: ignore[arg-type]

    def __call__(self, arguments: Sequence[str], standard_input: bytes) -> Iterable[str]:
        if arguments[4] == "start":
            if len(self.jobs) == self.breaks_at:
                raise TransportError("the board is gone")
            job = parse_job(standard_input.decode())
            self.jobs.append([block.block_id for block in job.blocks])
            self.sentinels_ns.append(job.settings.sentinel_ns)
        return self.program(arguments, standard_input)


def measure(path: Path, board: Board, **changes: object) -> NetworkLatencies:
    request = LatenciesRequest(path, SPACE, CELLS, Device(), "a board", QUICK)
    wanted = replace(request, **changes)  # type: ignore[arg-type]
    found: NetworkLatencies = watched(measure_latencies(wanted, lambda _device: FakeTransport(board)))[0]
    return found


def test_a_file_tells_of_networks_and_conditions(tmp_path: Path) -> None:
    path, board = tmp_path / "n.json", Board()
    found = measure(path, board)
    assert [len(job) for job in board.jobs] == [10, 10, 5]
    assert board.sentinels_ns == [None, 80_000.0, 80_000.0]
    assert NETWORKS_DOCUMENT.load(path) == found
    assert (found.key, found.device, found.export_cells, found.sentinel_ms) == (KEY, "a board", 5, 0.08)
    assert {text: one.median_ms for text, one in found.networks.items()} == pytest.approx(
        {text: macs_ms(text) for text in TEXTS}, rel=1e-4
    )
    assert not found.predicted
    # Networks alone make a model, where they are enough.
    with pytest.raises(BadInputError, match="a fit takes 30 connected networks at least"):
        fit_network_model(found, path.name, "", found.created)


def test_what_was_measured_before_a_break_is_not_measured_again(tmp_path: Path) -> None:
    path = tmp_path / "n.json"
    with pytest.raises(TransportError, match="gone"):
        measure(path, Board(breaks_at=2))
    assert list(NETWORKS_DOCUMENT.load(path).networks) == TEXTS[:20]
    board = Board()
    assert list(measure(path, board).networks) == TEXTS
    assert board.jobs == [TEXTS[20:]]
    assert board.sentinels_ns == [80_000.0]
    before = path.read_bytes()
    assert measure(path, again := Board()).networks.keys() == {*TEXTS}
    assert (again.jobs, path.read_bytes()) == ([], before)


def test_a_network_that_fails_costs_no_other(tmp_path: Path) -> None:
    path = tmp_path / "n.json"
    with pytest.raises(MeasurementFailedError, match="it crashed"):
        measure(path, Board(failing=frozenset({TEXTS[3]})))
    assert list(NETWORKS_DOCUMENT.load(path).networks) == [*TEXTS[:3], *TEXTS[4:10]]
    with pytest.raises(MeasurementFailedError, match="it crashed"):
        measure(tmp_path / "e.json", Board(failing=frozenset(TEXTS)))
    assert not (tmp_path / "e.json").exists()


def test_the_budget_ends_between_jobs(tmp_path: Path) -> None:
    path, times = tmp_path / "n.json", iter((0.0, 1.0, 99.0, 101.0))
    request = LatenciesRequest(path, SPACE, CELLS, Device(), "a board", QUICK, budget_s=100.0)
    board = Board()
    found, shown = watched(measure_latencies(request, lambda _device: FakeTransport(board), lambda: next(times)))
    assert len(found.networks) == 20
    assert any("the budget is over" in one.note for one in shown)


@pytest.mark.parametrize(
    ("change", "part"),
    [
        ({"key": None}, "were not measured here"),
        ({"predicted": True}, "were not measured here"),
        ({"device": "other"}, "on other, not of nasbench201 with 5 cells per stage on a board"),
        ({"export_cells": 1}, "nasbench201 with 1 cells per stage on a board, not of nasbench201 with 5"),
    ],
)
def test_files_of_something_else_are_left_alone(tmp_path: Path, change: dict[str, object], part: str) -> None:
    path = tmp_path / "n.json"
    known = measure(path, Board(), architectures=CELLS[:2])
    NETWORKS_DOCUMENT.save(replace(known, **change), path)  # type: ignore[arg-type]
    before, board = path.read_bytes(), Board()
    with pytest.raises(BadInputError, match=part):
        measure(path, board)
    assert (path.read_bytes(), board.jobs) == (before, [])


def test_other_conditions_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "n.json"
    measure(path, Board(), architectures=CELLS[:2])
    with pytest.raises(KeyMismatchError, match="threads"):
        measure(path, Board(key=replace(KEY, threads=KEY.threads + 1)))
    assert len(NETWORKS_DOCUMENT.load(path).networks) == 2


@pytest.mark.parametrize(
    ("changes", "part"),
    [
        ({"architectures": ()}, "different networks, one at least"),
        ({"architectures": CELLS[:1] * 2}, "different networks, one at least"),
        ({"space": DartsSpace()}, "nasbench201 and fbnet, not of darts"),
    ],
)
def test_what_cannot_be_measured_is_refused_at_once(tmp_path: Path, changes: dict[str, object], part: str) -> None:
    with pytest.raises(BadInputError, match=part):
        measure(tmp_path / "n.json", Board(), **changes)


@pytest.mark.parametrize("write", ["\n".join, lambda texts: json.dumps({"networks": texts})])
def test_the_command_reads_what_propose_prints(
    searcher: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write: Callable[[list[str]], str]
) -> None:
    asked: list[LatenciesRequest] = []
    path, out = tmp_path / "ten.txt", tmp_path / "ten.json"
    path.write_text(write([*TEXTS[:3], TEXTS[0]]))

    def measured(request: LatenciesRequest) -> object:
        asked.append(request)
        return measure_latencies(request, lambda _device: FakeTransport(Board()))

    monkeypatch.setattr("searcher.cli.predictor_measure.measure_latencies", measured)
    shown = searcher(
        *("predictor", "measure", "--networks", path, "--out", out, "--name", "a pi", "--rounds", "6", "--threads", "2")
    )
    assert shown.status == 0, shown.err
    assert f"wrote {out}: latencies of 3 networks on a pi" in shown.out
    assert [SPACE.format(one) for one in asked[0].architectures] == TEXTS[:3]
    assert (asked[0].settings.rounds, asked[0].settings.threads) == (6, 2)
    assert NETWORKS_DOCUMENT.load(out).device == "a pi"


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("", "names no network"),
        ("|nothing|", "nothing"),
        ('{"networks": 3}', "names no networks"),
        ("{", "names no networks"),
        (None, "cannot read the networks"),
    ],
)
def test_what_names_no_networks_is_one_sentence(searcher: Run, tmp_path: Path, text: str | None, part: str) -> None:
    path = tmp_path / "ten.txt"
    if text is not None:
        path.write_text(text)
    outcome = searcher("predictor", "measure", "--networks", path, "--out", tmp_path / "ten.json")
    assert_one_sentence(outcome, 2, part)


def test_either_networks_or_a_number_of_them(searcher: Run, tmp_path: Path) -> None:
    neither = searcher("predictor", "measure", "--out", tmp_path / "ten.json")
    assert_one_sentence(neither, 2, "give --networks FILE or --random NUMBER")


def test_networks_are_measured_on_this_machine(searcher: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    monkeypatch.setenv("PROFILER_CACHE", str(tmp_path / "cache"))
    out = tmp_path / "two.json"
    quick = ("--cells", "1", "--rounds", "1", "--samples", "2")
    shown = searcher("predictor", "measure", "--random", "2", "--seed", "4", *quick, "--out", out)
    assert shown.status == 0, shown.err
    found = NETWORKS_DOCUMENT.load(out)
    assert (len(found.networks), found.device, found.export_cells) == (2, "local", 1)
    assert all("Conv" in "".join(one.operations) and one.median_ms > 0 for one in found.networks.values())
