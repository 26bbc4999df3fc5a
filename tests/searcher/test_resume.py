"""A job that was interrupted goes on, and its journal ends as if nothing had happened; on a device in memory."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path

import pytest

from profiler_agent.records import Event, Hello, Measured, format_event
from searcher.devices.answers import DeviceAnswerError
from searcher.devices.device import Device
from searcher.history.database import HistoryError
from searcher.history.history import History
from searcher.history.job_record import State
from searcher.tables.journal import JournalInUseError, journal_path, partial_path
from searcher.tables.lookup_table import KeyMismatchError, LookupTable
from searcher.tables.plan import OtherRequestError
from searcher.workflows.profile_space import ProfileRequest, profile_space
from tests.fakes import FakeTransport
from tests.searcher.builders import KEY, QUICK, agent_program
from tests.searcher.jobs import REMOTE, SPACE, actions, cut_once, journal_lines, only, profile
from tests.searcher.wheels import only_index, write_wheel

pytestmark = pytest.mark.usefixtures("history")


@pytest.fixture
def table(tmp_path: Path) -> Path:
    return tmp_path / "tables" / "pi.json"


@pytest.mark.parametrize("where", [REMOTE, Device()])
@pytest.mark.parametrize("lines", [1, 30])
def test_resume_goes_on_with_the_job_and_ends_as_if_nothing_had_happened(
    table: Path, history: History, where: Device, lines: int
) -> None:
    device = FakeTransport(cut_once(KeyboardInterrupt(), lines))
    with pytest.raises(KeyboardInterrupt):
        profile(table, device, where)
    kept = partial_path(journal_path(table)).read_text()
    profile(table, device, where, resume=True)
    record = only(history)
    assert (record.state, record.batches) == (State.FINISHED, record.plan.batches)
    told = journal_path(table).read_text()
    assert told.startswith(kept)
    assert len(kept.splitlines()) == lines
    assert told == journal_lines(history, record)
    assert {run.arguments[5] for run in device.runs} == {f"jobs/{record.job_id}"}


def test_a_job_goes_on_with_the_runtime_s_version_that_it_began_with(
    table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PROFILER_CACHE", str(tmp_path / "cache"))
    index = only_index(tmp_path / "index", monkeypatch)
    for name, version in (("numpy", "2.0"), ("onnxruntime", KEY.runtime_version)):
        write_wheel(index, name, version)
    device, where = FakeTransport(cut_once(KeyboardInterrupt(), 3)), Device("ssh://pi@shelf")
    with pytest.raises(KeyboardInterrupt):
        profile(table, device, where)
    # A day later there is a newer one.
    shutil.rmtree(tmp_path / "cache" / "wheels")
    write_wheel(index, "onnxruntime", "99.0")
    profile(table, device, where, resume=True)
    assert len({run.environment["PYTHONPATH"] for run in device.runs}) == 1
    # The table that is there now has that version too.
    profile(table, device, where)
    assert not any("99.0" in name for name in device.files)
    assert any(f"onnxruntime-{KEY.runtime_version}" in name for name in device.files)


def test_the_journal_never_holds_less_while_a_job_is_told_again(table: Path) -> None:
    device = FakeTransport(cut_once(KeyboardInterrupt(), 30))
    with pytest.raises(KeyboardInterrupt):
        profile(table, device)
    partial = partial_path(journal_path(table))
    sizes = [len(partial.read_text().splitlines())]
    work = profile_space(ProfileRequest(SPACE, REMOTE, QUICK, table, resume=True), lambda _device: device)
    for _ in work:
        if partial.exists():
            sizes.append(len(partial.read_text().splitlines()))
    assert sizes == sorted(sizes)
    assert (sizes[0], sizes[-1]) == (30, 2 + 20 * QUICK.rounds)


def test_resume_without_an_unfinished_job_says_so_and_begins(
    table: Path, history: History, capsys: pytest.CaptureFixture[str]
) -> None:
    profile(table, FakeTransport(agent_program(lambda _name: 1.0)), resume=True)
    assert f"no unfinished job is to write {table}: measuring from the beginning" in capsys.readouterr().err
    # The finished one was for something else.
    profile(table, FakeTransport(agent_program(lambda _name: 1.0)), resume=True, rounds=7)
    assert "measuring from the beginning" in capsys.readouterr().err
    assert [record.state for record in history.jobs()] == [State.FINISHED] * 2


def test_resume_of_a_finished_job_makes_its_table_again_and_measures_nothing(
    table: Path, history: History, capsys: pytest.CaptureFixture[str]
) -> None:
    device = FakeTransport(agent_program(lambda _name: 1.0))
    profile(table, device)
    before, record = table.read_bytes(), only(history)
    table.unlink()
    # A device that knows no program at all.
    profile(table, FakeTransport(), resume=True)
    told = f"the job {record.short_id} was finished {record.ended}: the table is made from it"
    assert told in capsys.readouterr().err
    assert table.read_bytes() == before
    assert only(history) == record
    # A table that is not replaced makes no failure of a job that has finished.
    table.write_text(before.decode().replace('"threads": 1', '"threads": 2'))
    with pytest.raises(KeyMismatchError):
        profile(table, FakeTransport(), resume=True)
    assert only(history) == record
    table.write_bytes(before)
    # Without it the user wants to measure again.
    profile(table, device)
    assert (actions(device), len(history.jobs())) == (["start", "follow"] * 2, 2)


def test_resume_of_another_request_names_what_differs(table: Path, history: History) -> None:
    with pytest.raises(KeyboardInterrupt):
        profile(table, FakeTransport(cut_once(KeyboardInterrupt(), 30)))
    device = FakeTransport()
    way_on = f"give the same options as then, or end that job with searcher jobs cancel {only(history).short_id}"
    with pytest.raises(OtherRequestError, match=f"was begun for something else: rounds was 6, is 7: {way_on}"):
        profile(table, device, resume=True, rounds=7)
    with pytest.raises(OtherRequestError, match=r"its device was 'ssh://pi@shelf:22', is 'local'"):
        profile(table, device, Device(), resume=True)
    assert (device.runs, only(history).state) == ([], State.RUNNING)


def test_without_resume_an_unfinished_job_is_left_and_named(
    table: Path, history: History, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(KeyboardInterrupt):
        profile(table, FakeTransport(cut_once(KeyboardInterrupt(), 30)))
    first = only(history)
    profile(table, FakeTransport(agent_program(lambda _name: 1.0)))
    assert f"the unfinished job {first.short_id} for {table} is left" in capsys.readouterr().err
    # Its journal is that of the newer job now; what it measured is kept all the same.
    assert history.find(first.job_id).events == 30
    assert len(history.jobs()) == 2


def resumed_with(table: Path, history: History, change: Callable[[list[Event]], Iterable[Event]]) -> LookupTable:
    """Interrupt a job after 30 events and resume it on a device that tells it otherwise."""
    calls = [0]

    def told(events: list[Event]) -> Iterable[str]:
        calls[0] += 1
        if calls[0] == 1:
            yield from map(format_event, islice(events, 30))
            raise KeyboardInterrupt
        yield from map(format_event, change(events))

    device = FakeTransport(agent_program(lambda _name: 1.0, change=told))
    with pytest.raises(KeyboardInterrupt):
        profile(table, device)
    return profile(table, device, resume=True)


def test_a_machine_that_lost_its_last_events_measures_them_again(table: Path, history: History) -> None:
    def change(events: list[Event]) -> Iterable[Event]:
        (hello, *_) = events
        assert isinstance(hello, Hello)
        return [*events[:28], replace(hello, boot_id="another"), *map(later, events[28:])]

    made = resumed_with(table, history, change)
    told = journal_path(table).read_text()
    assert told == journal_lines(history, only(history))
    assert [json.loads(line)["event"] for line in told.splitlines()[27:30]] == ["measured", "hello", "measured"]
    assert len(told.splitlines()) == 2 + 20 * QUICK.rounds + 1
    assert len(made.entries) == 20


def later(event: Event) -> Event:
    return replace(event, unix_s=9.0) if isinstance(event, Measured) else event


def test_a_device_that_lost_the_whole_job_does_not_replace_what_is_kept(table: Path, history: History) -> None:
    def wiped(events: list[Event]) -> Iterable[Event]:
        (hello, *others) = events
        assert isinstance(hello, Hello)
        return [replace(hello, boot_id="another"), *map(later, others)]

    with pytest.raises(
        DeviceAnswerError, match=r"no longer has what .* holds of the job: begin anew, without --resume"
    ):
        resumed_with(table, history, wiped)
    kept = partial_path(journal_path(table)).read_text()
    assert len(kept.splitlines()) == 30
    assert kept == journal_lines(history, only(history))


def test_a_torn_line_of_a_killed_host_is_cut_off(table: Path, history: History) -> None:
    device = FakeTransport(cut_once(KeyboardInterrupt(), 30))
    with pytest.raises(KeyboardInterrupt):
        profile(table, device)
    partial = partial_path(journal_path(table))
    with partial.open("a") as file:
        file.write('{"event":"measured","job')
    profile(table, device, resume=True)
    assert journal_path(table).read_text() == journal_lines(history, only(history))


def test_a_job_that_another_run_follows_is_left_to_it(table: Path, history: History) -> None:
    device = FakeTransport(agent_program(lambda _name: 1.0))
    work = profile_space(ProfileRequest(SPACE, Device(), QUICK, table), lambda _device: device)
    for progress in work:
        if progress.stage == "measure blocks" and progress.done == 9:
            with pytest.raises(JournalInUseError, match="is being written by another run"):
                profile(table, device, Device(), resume=True)
            assert actions(device) == ["start", "follow"]
            assert only(history).state is State.RUNNING
    assert only(history).state is State.FINISHED


def test_a_new_job_for_a_table_that_is_being_made_is_not_begun(table: Path, history: History) -> None:
    device, other = FakeTransport(agent_program(lambda _name: 1.0)), FakeTransport(agent_program(lambda _name: 1.0))
    work = profile_space(ProfileRequest(SPACE, Device(), QUICK, table), lambda _device: device)
    while next(work).stage != "measure blocks":
        pass
    with pytest.raises(JournalInUseError):
        profile(table, other)
    assert other.runs == []
    work.close()
    assert [record.state for record in history.jobs()] == [State.FAILED, State.STOPPED]


def test_a_history_that_fails_meanwhile_costs_nothing_that_was_measured(
    table: Path, history: History, monkeypatch: pytest.MonkeyPatch
) -> None:
    device = FakeTransport(agent_program(lambda _name: 1.0))

    def full(_self: History, _job_id: str, position: int, events: Sequence[Event]) -> None:
        if position > 0:
            raise HistoryError("the disk is full")
        append(history, _job_id, position, events)

    append = History.append
    with monkeypatch.context() as patch:
        patch.setattr(History, "append", full)
        with pytest.raises(HistoryError, match="the disk is full"):
            profile(table, device, Device())
    assert actions(device)[-1] == "stop"
    assert only(history).state is State.STOPPED
    kept = partial_path(journal_path(table)).read_text()
    assert len(kept.splitlines()) > 100
    profile(table, device, Device(), resume=True)
    assert journal_path(table).read_text() == journal_lines(history, only(history))
