"""Jobs that are interrupted, gone on with, attached to, cancelled and rebuilt, on a device in memory."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path

import pytest

from profiler_agent.records import Event, Hello, Measured, format_event
from searcher.cli import show
from searcher.devices.answers import DeviceAnswerError, MeasurementFailedError
from searcher.devices.device import Device
from searcher.devices.link import Link
from searcher.devices.transport import RemoteProgramError, TransportError, UnreachableError
from searcher.errors import BadInputError
from searcher.history.history import History
from searcher.history.job_record import JobRecord, State
from searcher.spaces.nasbench201 import NasBench201
from searcher.tables.journal import JournalInUseError, journal_path, partial_path
from searcher.tables.lookup_table import KeyMismatchError, LookupTable
from searcher.tables.plan import OtherRequestError
from searcher.workflows.jobs import attach_job, cancel_job, rebuild_table, refreshed
from searcher.workflows.profile_space import ProfileRequest, profile_space
from tests.fakes import FakeTransport, Program
from tests.searcher.builders import KEY, QUICK, agent_program

SPACE = NasBench201()
REMOTE = Device("ssh://pi@shelf:22")


@pytest.fixture(autouse=True)
def history(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> History:
    monkeypatch.setenv("PROFILER_HISTORY", str(tmp_path / "history.sqlite"))
    return History()


@pytest.fixture
def table(tmp_path: Path) -> Path:
    return tmp_path / "tables" / "pi.json"


def cut_once(error: BaseException, lines: int, latency_ms: float = 1.0) -> Program:
    """An agent whose follower is thrown out after some lines, the first time."""
    left = [error]

    def change(events: list[Event]) -> Iterable[str]:
        yield from map(format_event, events[:lines] if left else events)
        if left:
            raise left.pop()

    return agent_program(lambda _name: latency_ms, change=change)


def profile(
    table: Path, device: FakeTransport, where: Device = REMOTE, *, resume: bool = False, rounds: int = QUICK.rounds
) -> LookupTable:
    settings = replace(QUICK, rounds=rounds)
    request = ProfileRequest(SPACE, where, settings, table, resume=resume)
    return show.run(profile_space(request, lambda _device: device))


def only(history: History) -> JobRecord:
    (record,) = history.jobs()
    return record


def actions(device: FakeTransport) -> list[str]:
    return [run.arguments[4] for run in device.runs]


def journal_lines(history: History, record: JobRecord) -> str:
    return "".join(f"{line}\n" for line in history.lines(record.job_id))


def test_a_profile_leaves_its_job_in_the_history(table: Path, history: History) -> None:
    device = FakeTransport(agent_program(lambda _name: 1.0))
    made = profile(table, device)
    record = only(history)
    assert (record.state, record.sentence, record.table) == (State.FINISHED, None, table)
    assert (record.plan.device, record.device()) == (REMOTE.name, REMOTE)
    assert record.batches == record.plan.batches == 17 * QUICK.rounds
    assert record.sent_bytes == device.sent_bytes > 0
    assert record.table_created == made.provenance.created
    assert journal_lines(history, record) == journal_path(table).read_text()


@pytest.mark.parametrize(
    ("where", "action", "state"), [(REMOTE, "follow", State.RUNNING), (Device(), "stop", State.STOPPED)]
)
def test_an_interrupt_leaves_a_remote_job_running_and_stops_a_local_one(
    table: Path, history: History, where: Device, action: str, state: State
) -> None:
    device = FakeTransport(cut_once(KeyboardInterrupt(), 30))
    with pytest.raises(KeyboardInterrupt) as caught:
        profile(table, device, where)
    assert actions(device)[-1] == action
    record = only(history)
    assert (record.state, record.events) == (state, 30)
    name = record.short_id
    assert caught.value.__notes__[-1] == (
        f"the job {name} goes on on {REMOTE.name}: searcher jobs attach {name} follows it, "
        f"searcher jobs cancel {name} ends it"
        if where is REMOTE
        else f"the job {name} can go on: searcher profile … --resume, or searcher jobs attach {name}"
    )


def test_an_interrupt_while_progress_is_shown_leaves_a_remote_job_running_too(
    table: Path, history: History, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(_self: object, progress: object) -> None:
        if history.jobs():
            raise KeyboardInterrupt

    monkeypatch.setattr("searcher.cli.show._Lines.show", interrupted)
    device = FakeTransport(agent_program(lambda _name: 1.0))
    with pytest.raises(KeyboardInterrupt) as caught:
        profile(table, device)
    assert actions(device) == ["start", "follow"]
    assert "goes on on ssh://pi@shelf:22" in caught.value.__notes__[-1]
    assert only(history).state is State.RUNNING


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
    assert (sizes[0], sizes[-1]) == (30, 2 + 17 * QUICK.rounds)


def test_resume_without_an_unfinished_job_says_so_and_begins(
    table: Path, history: History, capsys: pytest.CaptureFixture[str]
) -> None:
    profile(table, FakeTransport(agent_program(lambda _name: 1.0)), resume=True)
    assert f"no unfinished job is to write {table}: measuring from the beginning" in capsys.readouterr().err
    profile(table, FakeTransport(agent_program(lambda _name: 1.0)), resume=True)
    assert [record.state for record in history.jobs()] == [State.FINISHED] * 2


def test_resume_of_another_request_names_what_differs(table: Path, history: History) -> None:
    with pytest.raises(KeyboardInterrupt):
        profile(table, FakeTransport(cut_once(KeyboardInterrupt(), 30)))
    device = FakeTransport()
    with pytest.raises(OtherRequestError, match="was begun for something else: rounds was 6, is 7"):
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


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give a lost device up at once."""
    monkeypatch.setattr("searcher.workflows.run_job.Link", lambda connect: Link(connect, patience_s=0))


def connecting(outcomes: Sequence[FakeTransport | Exception]) -> Callable[[Device], FakeTransport]:
    waiting = iter(outcomes)

    def connect(_device: Device) -> FakeTransport:
        outcome = next(waiting)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    return connect


@pytest.mark.usefixtures("impatient")
def test_a_job_whose_device_is_lost_can_be_attached_to(table: Path, history: History) -> None:
    device = FakeTransport(cut_once(UnreachableError("lost"), 30))
    connect = connecting([device, UnreachableError("no route")])
    request = ProfileRequest(SPACE, REMOTE, QUICK, table)
    with pytest.raises(UnreachableError, match="did not come back") as caught:
        show.run(profile_space(request, connect))
    record = only(history)
    assert (record.state, record.events) == (State.LOST, 30)
    assert "may be going on on ssh://pi@shelf:22" in caught.value.__notes__[-1]
    made = show.run(attach_job(record, history, lambda _device: device))
    assert len(made.entries) == 17
    assert only(history).state is State.FINISHED


def test_a_finished_job_is_attached_to_without_its_device(table: Path, history: History) -> None:
    profile(table, FakeTransport(agent_program(lambda _name: 1.0)))
    before = table.read_bytes()
    table.unlink()
    show.run(attach_job(only(history), history, connecting([])))
    assert table.read_bytes() == before


def test_a_job_that_was_done_when_its_host_was_killed_needs_no_device(
    table: Path, history: History, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: object) -> None:
        raise SystemExit

    with monkeypatch.context() as patch:
        patch.setattr("searcher.workflows.make_table.fill_table", killed)
        with pytest.raises(SystemExit):
            profile(table, FakeTransport(agent_program(lambda _name: 1.0)))
    request = ProfileRequest(SPACE, REMOTE, QUICK, table, resume=True)
    show.run(profile_space(request, connecting([])))
    assert table.is_file()
    assert only(history).state is State.FINISHED


def test_a_rebuilt_table_is_the_same_byte_for_byte(table: Path, history: History, tmp_path: Path) -> None:
    profile(table, FakeTransport(agent_program(lambda name: 1.0 + len(name) / 100)))
    again = tmp_path / "again.json"
    rebuilt = show.run(rebuild_table(only(history), again, history))
    assert again.read_bytes() == table.read_bytes()
    assert journal_path(again).read_bytes() == journal_path(table).read_bytes()
    assert len(rebuilt.entries) == 17
    assert only(history).table == table


def test_half_a_job_is_not_rebuilt(table: Path, history: History, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        profile(table, FakeTransport(cut_once(KeyboardInterrupt(), 30)))
    with pytest.raises(BadInputError, match="is running, and the history holds 30 of its events but not its end"):
        show.run(rebuild_table(only(history), tmp_path / "again.json", history))
    assert not (tmp_path / "again.json").exists()


def test_a_rebuilt_table_does_not_replace_one_of_another_key(table: Path, history: History) -> None:
    profile(table, FakeTransport(agent_program(lambda _name: 1.0)))
    other = table.with_name("other.json")
    profile(other, FakeTransport(agent_program(lambda _name: 1.0, key=replace(KEY, threads=2))))
    record = history.unfinished(table) or next(one for one in history.jobs() if one.table == table)
    with pytest.raises(KeyMismatchError, match="threads was 2, is 1"):
        show.run(rebuild_table(record, other, history))
    show.run(rebuild_table(record, other, history, overwrite=True))
    assert other.read_bytes() == table.read_bytes()


def test_a_job_of_another_key_is_ended_on_its_device_and_has_failed(table: Path, history: History) -> None:
    profile(table, FakeTransport(agent_program(lambda _name: 1.0)))
    device = FakeTransport(agent_program(lambda _name: 1.0, key=replace(KEY, threads=2)))
    with pytest.raises(KeyMismatchError):
        profile(table, device)
    assert actions(device)[-1] == "cancel"
    assert history.jobs()[0].state is State.FAILED


def test_a_job_with_a_failed_block_has_failed_for_good(table: Path, history: History) -> None:
    device = FakeTransport(agent_program(lambda _name: 1.0, failing=frozenset({SPACE.stem.key})))
    with pytest.raises(MeasurementFailedError):
        profile(table, device)
    record = only(history)
    assert record.state is State.FAILED
    assert record.sentence is not None
    assert "could not be measured: it crashed" in record.sentence
    # It is whole, and attaching to it says the same again without asking the device.
    with pytest.raises(MeasurementFailedError, match="it crashed"):
        show.run(attach_job(record, history, connecting([])))


def refusing(status: int, sentence: str) -> Program:
    def run(arguments: Sequence[str], standard_input: bytes) -> Iterable[str]:
        raise RemoteProgramError("python3", "fake", status, f"agent: {sentence}")

    return run


def test_a_busy_device_fails_a_new_job_and_not_one_that_was_begun(table: Path, history: History) -> None:
    busy = FakeTransport(refusing(1, "busy: the job x of somebody runs here"))
    with pytest.raises(TransportError, match="busy"):
        profile(table, busy)
    assert only(history).state is State.FAILED
    device = FakeTransport(cut_once(KeyboardInterrupt(), 30))
    with pytest.raises(KeyboardInterrupt):
        profile(table, device)
    with pytest.raises(TransportError, match="busy"):
        profile(table, busy, resume=True)
    assert history.jobs()[0].state is State.STOPPED
    profile(table, device, resume=True)
    assert history.jobs()[0].state is State.FINISHED


def test_a_job_that_was_cancelled_elsewhere_is_cancelled_here(table: Path, history: History) -> None:
    error = RemoteProgramError("python3", "fake", 130, "agent: the job was cancelled")
    with pytest.raises(TransportError, match="the job was cancelled"):
        profile(table, FakeTransport(cut_once(error, 30)))
    assert only(history).state is State.CANCELLED


def stateful(state: str) -> tuple[FakeTransport, list[str]]:
    """A device that answers about jobs, and what it was asked."""
    asked: list[str] = []

    def run(arguments: Sequence[str], _standard_input: bytes) -> Iterable[str]:
        asked.append(arguments[4])
        return [json.dumps({"state": state, "status": None, "boot_id": None, "events": 55})]

    return FakeTransport(run), asked


@pytest.mark.parametrize(("state", "expected"), [("running", ["state", "cancel"]), ("new", ["state"])])
def test_cancelling_ends_a_job_on_its_device_and_here(
    table: Path, history: History, state: str, expected: list[str]
) -> None:
    with pytest.raises(KeyboardInterrupt):
        profile(table, FakeTransport(cut_once(KeyboardInterrupt(), 30)))
    device, asked = stateful(state)
    cancel_job(only(history), history, lambda _device: device)
    assert asked == expected
    record = only(history)
    assert (record.state, record.events) == (State.CANCELLED, 30)
    with pytest.raises(BadInputError, match="is cancelled already"):
        cancel_job(record, history, connecting([]))
    with pytest.raises(BadInputError, match="was cancelled"):
        show.run(attach_job(record, history, connecting([])))
    assert history.unfinished(table) is None


def test_a_job_is_not_called_cancelled_when_its_device_cannot_be_asked(table: Path, history: History) -> None:
    with pytest.raises(KeyboardInterrupt):
        profile(table, FakeTransport(cut_once(KeyboardInterrupt(), 30)))
    with pytest.raises(UnreachableError):
        cancel_job(only(history), history, connecting([UnreachableError("no route")]))
    assert only(history).state is State.RUNNING


def test_only_devices_of_unfinished_jobs_are_asked(table: Path, history: History) -> None:
    profile(table, FakeTransport(agent_program(lambda _name: 1.0)))
    for name in ("lost.json", "here.json"):
        with pytest.raises(KeyboardInterrupt):
            profile(table.with_name(name), FakeTransport(cut_once(KeyboardInterrupt(), 30)))
    device, _ = stateful("broken")
    connect = connecting([device, UnreachableError("no route")])
    told = {record.table: (answer, record.events) for record, answer in refreshed(history.jobs(), connect)}
    assert told == {
        table: (None, 2 + 17 * QUICK.rounds),
        table.with_name("here.json"): ("broken", 55),
        table.with_name("lost.json"): ("no route", 30),
    }


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
    assert len(told.splitlines()) == 2 + 17 * QUICK.rounds + 1
    assert len(made.entries) == 17


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
