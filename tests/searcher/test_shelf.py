"""A shelf of boards in memory: tables for each, whatever happens to the others, and what the summary says."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import pytest

from profiler_agent.records import Event, format_event
from searcher.cli import show
from searcher.devices.transport import TransportError
from searcher.export.exporter import Exporter
from searcher.history.history import History
from searcher.history.job_record import State
from searcher.reports.shelf import IncompleteShelfError, ShelfReport, duration, shelf_document, size
from searcher.tables.journal import journal_path, partial_path
from searcher.tables.lookup_table import TABLE_DOCUMENT
from searcher.workflows.profile_shelf import Order, measured_together, plan_shelf, profile_shelf
from searcher.workflows.side_by_side import InterruptedTogetherError
from tests.fakes import FakeTransport
from tests.searcher.boards import BLOCKS, Shelf, board, dying_after
from tests.searcher.builders import QUICK, agent_program

pytestmark = pytest.mark.usefixtures("history")


def profile(shelf: Shelf, folder: Path, *, resume: bool = False) -> ShelfReport:
    return show.run(profile_shelf(shelf.requests(folder, resume=resume), shelf.connect))


def sent_to(transport: FakeTransport) -> int:
    """All bytes that a host sent for measuring: files, and what its programs read."""
    programs = sum(len(run.standard_input) for run in transport.runs)
    return transport.sent_bytes + programs


def test_every_board_gets_its_table_and_its_journal(tmp_path: Path) -> None:
    shelf = Shelf({"a": board(1.0), "b": board(2.0), "c": board(3.0)})
    report = profile(shelf, tmp_path / "tables")
    assert sorted(path.name for path in (tmp_path / "tables").iterdir()) == [
        f"{name}.json{ending}" for name in "abc" for ending in ("", ".journal.jsonl")
    ]
    medians = {}
    for name in "abc":
        table = TABLE_DOCUMENT.load(tmp_path / "tables" / f"{name}.json")
        assert (len(table.entries), table.provenance.device) == (BLOCKS, f"ssh://{name}")
        medians[name] = {entry.median_ms for entry in table.entries.values()}
    assert medians == {"a": {1.0}, "b": {2.0}, "c": {3.0}}
    report.require_complete()
    assert all(shelf.transport(name).closed for name in "abc")


def test_one_dead_board_and_one_that_dies_stop_no_other(
    tmp_path: Path, history: History, capsys: pytest.CaptureFixture[str]
) -> None:
    dying = board(spoil=dying_after(30, TransportError("the device refuses")))
    shelf = Shelf({"dead": None, "dying": dying, "sound": board()})
    report = profile(shelf, tmp_path)
    assert [one.state for one in report.boards] == ["failed", "failed", "complete"]
    dead, half, sound = report.boards
    assert dead.reason is not None
    assert dead.reason.startswith("ssh://dead does not answer within 10 s")
    assert (dead.blocks, dead.sent_bytes, dead.table, dead.notes) == (0, 0, None, ())
    partial = partial_path(journal_path(tmp_path / "dying.json"))
    assert len(partial.read_text().splitlines()) == 30
    assert half.notes[0] == f"what was measured until then is kept in {partial}"
    assert half.sent_bytes > 0
    assert (sound.blocks, sound.reason, sound.table) == (BLOCKS, None, str(tmp_path / "sound.json"))
    # Beside it only the programs that unpack and that ask for the Python there.
    assert 0 < sound.sent_bytes - sent_to(shelf.transport("sound")) < 20_000
    assert "dead: ssh://dead does not answer" in capsys.readouterr().err
    with pytest.raises(IncompleteShelfError, match=r"1 of 3 boards are complete; dead \(and 1 more\): ssh://dead does"):
        report.require_complete()


def test_all_dead_is_a_summary_too(tmp_path: Path) -> None:
    report = profile(Shelf({"a": None, "b": None}), tmp_path / "tables")
    assert (report.complete, [one.state for one in report.boards]) == (0, ["failed", "failed"])
    assert list((tmp_path / "tables").iterdir()) == []
    with pytest.raises(IncompleteShelfError, match="0 of 2 boards"):
        report.require_complete()


def test_resume_asks_only_the_boards_that_are_not_complete(tmp_path: Path, history: History) -> None:
    left = [TransportError("no")]

    def once(events: list[Event]) -> Iterable[Event]:
        yield from events[:30] if left else events
        if left:
            raise left.pop()

    shelf = Shelf({"a": board(), "b": board(spoil=once), "c": None})
    assert profile(shelf, tmp_path).complete == 1
    whole = (tmp_path / "a.json").read_bytes()
    shelf.transports["c"] = Shelf({"c": board()}).transports["c"]
    (tmp_path / "a.json").unlink()
    report = profile(shelf, tmp_path, resume=True)
    report.require_complete()
    assert (shelf.started("a"), shelf.started("b"), shelf.started("c")) == (1, 2, 1)
    assert (tmp_path / "a.json").read_bytes() == whole
    nothing, little, much = (one.sent_bytes for one in report.boards)
    assert (nothing, 0 < little < much / 10) == (0, True)
    assert [record.state for record in history.jobs()] == [State.FINISHED] * 3


def test_resume_for_something_else_is_refused_where_a_job_is_unfinished(tmp_path: Path) -> None:
    shelf = Shelf({"a": board(spoil=dying_after(30, TransportError("no"))), "b": board()})
    profile(shelf, tmp_path)
    requests = shelf.requests(tmp_path, resume=True, settings=replace(QUICK, rounds=7))
    report = show.run(profile_shelf(requests, shelf.connect))
    first, second = report.boards
    assert first.reason is not None
    assert "was begun for something else: rounds was 6, is 7" in first.reason
    # The finished table was for other settings: this is a new measurement.
    assert (second.state, shelf.started("b")) == ("complete", 2)


def test_ctrl_c_leaves_every_job_at_work_and_says_so(tmp_path: Path, history: History) -> None:
    interrupted = threading.Event()

    def change(events: list[Event]) -> Iterable[str]:
        yield from map(format_event, events[:5])
        interrupted.wait(60)
        yield from map(format_event, events[5:])

    shelf = Shelf({name: agent_program(lambda _name: 1.0, change=change) for name in "ab"})
    work = profile_shelf(shelf.requests(tmp_path), shelf.connect)
    seen: set[str] = set()
    while not seen >= {"a", "b"}:
        progress = next(work)
        if progress.done > 0 and progress.stage in "ab":
            seen.add(progress.stage)
    # The boards go on only when the interrupt is under way.
    threading.Timer(0.5, interrupted.set).start()
    with pytest.raises(InterruptedTogetherError) as caught:
        work.throw(KeyboardInterrupt())
    for record in history.jobs():
        name, device = record.short_id, record.plan.device
        assert record.state is State.RUNNING
        way_on = f"searcher jobs attach {name} follows it, searcher jobs cancel {name} ends it"
        told = f"{device.removeprefix('ssh://')}: the job {name} goes on on {device}: {way_on}"
        assert told in caught.value.__notes__
    assert {run.arguments[4] for name in "ab" for run in shelf.transport(name).runs} == {"start", "follow"}


def test_a_silent_board_does_not_hold_the_user_up(tmp_path: Path, history: History) -> None:
    reached, silent = threading.Event(), threading.Event()

    def change(events: list[Event]) -> Iterable[str]:
        yield from map(format_event, events[:5])
        reached.set()
        silent.wait(60)

    shelf = Shelf({"mute": agent_program(lambda _name: 1.0, change=change)})
    requests = shelf.requests(tmp_path)
    orders = {name: Order(requests[name], plan) for name, plan in show.run(plan_shelf(requests)).items()}
    work = measured_together(orders, history, shelf.connect, patience_s=0.3)
    while next(work).done < 3:
        pass
    assert reached.wait(60)
    with pytest.raises(InterruptedTogetherError) as caught:
        work.throw(KeyboardInterrupt())
    silent.set()
    (record,) = history.jobs()
    (note,) = caught.value.__notes__
    assert note.startswith(f"mute: it was silent for 0.3 s and was left; its job {record.short_id} may be going on")


def test_blocks_are_exported_once_and_in_the_main_thread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    export, calls = Exporter.export_block, []

    def counted(self: Exporter, *arguments: object) -> object:
        calls.append(threading.current_thread() is threading.main_thread())
        return export(self, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(Exporter, "export_block", counted)
    profile(Shelf({name: board() for name in "abcd"}), tmp_path)
    assert calls == [True] * BLOCKS


def test_boards_may_have_settings_of_their_own(tmp_path: Path) -> None:
    shelf = Shelf({"a": board(), "b": board(), "c": board()})
    requests = shelf.requests(tmp_path)
    requests["b"] = replace(requests["b"], settings=replace(QUICK, runtime="onnxruntime", rounds=3), budget_s=60.0)
    plans = show.run(plan_shelf(requests))
    assert {name: plan.device for name, plan in plans.items()} == {name: f"ssh://{name}" for name in "abc"}
    assert len({plan.job_id for plan in plans.values()}) == 3
    assert [plans[name].settings.runtime for name in "abc"] == ["onnx", "onnxruntime", "onnx"]
    assert [(plans[name].settings.rounds, plans[name].budget_s) for name in "abc"] == [(6, None), (3, 60.0), (6, None)]


def test_fifty_boards_at_once_keep_one_history(tmp_path: Path, history: History) -> None:
    settings = replace(QUICK, rounds=2)
    shelf = Shelf({f"board-{index}": board(float(index + 1)) for index in range(50)})
    report = show.run(profile_shelf(shelf.requests(tmp_path, settings=settings), shelf.connect))
    report.require_complete()
    assert report.complete == 50
    for index in range(50):
        table = TABLE_DOCUMENT.load(tmp_path / f"board-{index}.json")
        assert {entry.median_ms for entry in table.entries.values()} == {float(index + 1)}
    assert {(record.state, record.batches) for record in history.jobs()} == {(State.FINISHED, 2 * BLOCKS)}


def test_the_summary_as_data_holds_what_its_table_shows(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report = profile(Shelf({"sound": board(), "dead": None}), tmp_path)
    show.shelf_report(report, as_json=True)
    document = json.loads(capsys.readouterr().out)
    assert document == json.loads(json.dumps(shelf_document(report)))
    assert (document["devices"], document["complete"], document["table"]) == (2, 1, None)
    assert [one["state"] for one in document["boards"]] == ["complete", "failed"]
    assert document["sent_bytes"] == document["boards"][0]["sent_bytes"] > 0
    assert document["seconds"] >= max(one["seconds"] for one in document["boards"]) - 0.1
    show.shelf_report(report, as_json=False)
    shown = capsys.readouterr().out
    assert "1 of 2 boards complete" in shown
    assert f"{tmp_path / 'sound.json'}" in shown.replace("\n", "")


def test_durations_and_sizes_are_said_as_people_do() -> None:
    assert [duration(one) for one in (0.04, 59.9, 61, 7260)] == ["0.0 s", "59.9 s", "1 min", "2 h 1 min"]
    assert [size(one) for one in (0, 999, 1500, 2_000_000, 3_000_000_000_000)] == [
        "0 B",
        "999 B",
        "1.5 kB",
        "2.0 MB",
        "3000.0 GB",
    ]
