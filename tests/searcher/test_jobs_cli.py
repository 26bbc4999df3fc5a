"""`searcher jobs`: what it prints, and one sentence for each kind of wrong use."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from profiler_agent.records import Settings
from searcher.artifacts import ExportedModel
from searcher.devices.device import Device
from searcher.history.history import History
from searcher.history.job_record import State
from searcher.reports.jobs import age, job_list
from searcher.tables.plan import Plan
from tests.searcher.command_line import Outcome, Run, assert_one_sentence

PLAN = Plan(
    "0123456789abcdef",
    "nasbench201",
    "ssh://pi@shelf:22",
    (ExportedModel("block", Path("block.onnx"), "00"),),
    Settings(rounds=3),
    None,
    {"torch": "2"},
    None,
)


@pytest.fixture
def history(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> History:
    monkeypatch.setenv("PROFILER_HISTORY", str(tmp_path / "history.sqlite"))
    monkeypatch.chdir(tmp_path)
    made = History()
    made.begin(PLAN, Device("ssh://pi@shelf:22", "python3.11"), tmp_path / "pi.json")
    made.begin(replace(PLAN, job_id="0129"), None, None, state=State.EXPORTED)
    made.end("0129", State.FAILED, "the disk \x1b[2J of the board is full")
    return made


@pytest.fixture
def searcher(capsys: pytest.CaptureFixture[str], history: History) -> Iterator[Run]:
    before = signal.getsignal(signal.SIGTERM)
    yield Run(capsys)
    signal.signal(signal.SIGTERM, before)


def test_the_list_is_read_by_people_and_programs(searcher: Run, tmp_path: Path) -> None:
    shown = searcher("jobs", "list")
    assert shown.status == 0
    assert all(text in shown.out for text in ("01234567", "running", "ssh://pi@shelf:22", "0 of at most 3", "pi.json"))
    assert "on the device" not in shown.out
    listed = json.loads(searcher("jobs", "list", "--json").out)["jobs"]
    assert [one["job_id"] for one in listed] == ["0129", PLAN.job_id]
    assert (listed[0]["state"], listed[0]["reach"]) == ("failed", None)
    assert listed[1]["reach"]["python"] == "python3.11"
    assert (listed[1]["table"], listed[1]["most_batches"]) == (str(tmp_path / "pi.json"), 3)


@pytest.mark.parametrize(
    ("told", "shown", "batches"),
    [
        ("ended", "ended: searcher jobs attach 01234567 fetches its result", "0 of at most 3 here"),
        ("broken", "broken: searcher jobs attach 01234567 goes on with it", "0 of at most 3 here"),
        ("no \x1b route", "no \N{REPLACEMENT CHARACTER} route", "0 of at most 3"),
        (None, "", "0 of at most 3"),
    ],
)
def test_what_a_device_says_comes_with_the_way_on(history: History, told: str | None, shown: str, batches: str) -> None:
    rows = job_list([(history.find(PLAN.job_id), told)], datetime.now(UTC), True).columns
    cells = {str(column.header): list(column.cells) for column in rows}
    assert (cells["on the device"], cells["batches"]) == ([shown], [batches])


def test_one_job_is_told_in_full(searcher: Run) -> None:
    told = json.loads(searcher("job", "show", "0123", "--json").out)
    assert told["settings"]["rounds"] == 3
    assert told["models"] == [{"name": "block", "sha256": "00"}]
    shown = searcher("jobs", "show", "0123").out
    assert "settings.rounds: 3" in shown
    assert "models: block  00" in shown
    # What a device or a file said may hold anything.
    assert "\x1b" not in searcher("jobs", "show", "0129").out


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("show", "7"), "the history knows no job '7': searcher jobs list names all"),
        (("attach", "012"), "'012' is the beginning of several jobs, such as 0123456789abcdef, 0129: give more of it"),
        (("attach", "0129"), "was exported: searcher jobs import reads its journal"),
        (("cancel", "0129"), "the job 0129 is failed already"),
        (("rebuild", "0123", "--out", "t.json"), "is running, and the history holds 0 of its events but not its end"),
        (("import", "nothing.jsonl", "--out", "t.json"), "cannot read the journal nothing.jsonl: No such file"),
        (("export", "stick", "--runtime-from", "pypi"), "--runtime-from takes deploy or system, not 'pypi'"),
        (("export", "stick", "--runtime-from", "deploy"), "needs --python-version: python3 --version on the device"),
        (("export", "stick", "--python-version", "3.11"), "--python-version goes with --runtime-from deploy"),
    ],
)
def test_wrong_use_is_one_sentence(searcher: Run, arguments: tuple[str, ...], complaint: str) -> None:
    assert_one_sentence(searcher("jobs", *arguments), 2, complaint)


def test_a_history_that_cannot_be_used_is_one_sentence(
    searcher: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "text").write_text("no database, but long enough to look like one" * 30)
    monkeypatch.setenv("PROFILER_HISTORY", str(tmp_path / "text"))
    assert_one_sentence(searcher("jobs", "list"), 2, "text cannot be used: file is not a database")


def test_a_journal_is_never_replaced_by_its_own_table(searcher: Run, tmp_path: Path) -> None:
    (tmp_path / "journal.jsonl").write_text("{}")
    assert_one_sentence(searcher("jobs", "import", "journal.jsonl", "--out", "journal.jsonl"), 2, "would replace")
    assert (tmp_path / "journal.jsonl").read_text() == "{}"


def test_only_export_brings_the_exporter_along(searcher: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "searcher.cli.export_job", None)
    helped: Outcome = searcher("jobs", "--help")
    assert helped.status == 0
    assert all(name in helped.out for name in ("list", "show", "attach", "cancel", "rebuild", "import", "export"))
    assert searcher("jobs", "export", "stick").status != 0


def test_an_exported_job_is_listed(searcher: Run, tmp_path: Path) -> None:
    written = searcher("jobs", "export", "stick", "--rounds", "2", "--device", "cellar", "--json")
    assert written.status == 0, written.err
    job_id = json.loads(written.out)["job_id"]
    assert (tmp_path / "stick" / "README.txt").read_text().splitlines()[-1].startswith(f"Job {job_id}: 20 models")
    told = json.loads(searcher("jobs", "show", job_id, "--json").out)
    assert (told["state"], told["device"], told["settings"]["rounds"]) == ("exported", "cellar", 2)
    assert_one_sentence(searcher("jobs", "import", "stick", "--out", "t.json"), 2, "was not measured yet")


@pytest.mark.parametrize(
    ("seconds", "text"), [(-5, "0 s"), (59, "59 s"), (3599, "59 min"), (7500, "2 h 5 min"), (200_000, "2 d")]
)
def test_ages_are_told_in_the_largest_unit_that_makes_sense(seconds: int, text: str) -> None:
    now = datetime(2026, 11, 21, tzinfo=UTC)
    assert age((now - timedelta(seconds=seconds)).isoformat(), now) == text
