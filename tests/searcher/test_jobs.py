"""What becomes of jobs that are interrupted, attached to, cancelled and rebuilt, on a device in memory."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from searcher.cli import show
from searcher.devices.answers import MeasurementFailedError
from searcher.devices.device import Device
from searcher.devices.link import Link
from searcher.devices.transport import RemoteProgramError, TransportError, UnreachableError
from searcher.errors import BadInputError
from searcher.history.history import History
from searcher.history.job_record import State
from searcher.tables.journal import journal_path
from searcher.tables.lookup_table import KeyMismatchError
from searcher.workflows.jobs import attach_job, cancel_job, rebuild_table, refreshed
from searcher.workflows.profile_space import ProfileRequest, profile_space
from searcher.workflows.progress import Progress
from tests.fakes import FakeTransport, Program
from tests.searcher.builders import KEY, QUICK, agent_program
from tests.searcher.jobs import REMOTE, SPACE, actions, cut_once, journal_lines, only, profile

pytestmark = pytest.mark.usefixtures("history")


@pytest.fixture
def table(tmp_path: Path) -> Path:
    return tmp_path / "tables" / "pi.json"


def test_a_profile_leaves_its_job_in_the_history(table: Path, history: History) -> None:
    device = FakeTransport(agent_program(lambda _name: 1.0))
    made = profile(table, device)
    record = only(history)
    assert (record.state, record.sentence, record.table) == (State.FINISHED, None, table)
    assert (record.plan.device, record.device()) == (REMOTE.name, REMOTE)
    assert record.batches == record.plan.batches == 20 * QUICK.rounds
    assert record.sent_bytes == device.sent_bytes + device.input_bytes > 0
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
    def interrupted(_self: object, progress: Progress) -> None:
        if progress.stage == "measure blocks":
            raise KeyboardInterrupt

    monkeypatch.setattr("searcher.cli.show._Lines.show", interrupted)
    device = FakeTransport(agent_program(lambda _name: 1.0))
    with pytest.raises(KeyboardInterrupt) as caught:
        profile(table, device)
    assert actions(device) == ["start", "follow"]
    assert "goes on on ssh://pi@shelf:22" in caught.value.__notes__[-1]
    assert only(history).state is State.RUNNING


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


class Refusing(FakeTransport):
    """A device in memory that lets something happen whenever a file is sent to it."""

    def __init__(self, error: BaseException) -> None:
        super().__init__()
        self._error = error

    def send(self, files: Mapping[str, Path]) -> int:
        raise self._error


@pytest.mark.parametrize("where", [REMOTE, Device()])
def test_a_job_that_is_interrupted_before_its_device_is_told_of_it_is_not_begun(
    table: Path, history: History, where: Device
) -> None:
    with pytest.raises(KeyboardInterrupt) as caught:
        profile(table, Refusing(KeyboardInterrupt()), where)
    record = only(history)
    assert record.state is State.NOT_BEGUN
    assert caught.value.__notes__ == [
        f"the job {record.short_id} was not begun on {where.name}:"
        f" searcher profile … --resume, or searcher jobs attach {record.short_id}, begins it"
    ]
    # Nobody has to be asked about it, neither how it is nor to end it.
    assert [told for _, told in refreshed(history.jobs(), connecting([]))] == [None]
    cancel_job(record, history, connecting([]))
    assert only(history).state is State.CANCELLED


@pytest.mark.usefixtures("impatient")
def test_a_device_that_is_lost_before_it_is_told_of_a_job_has_none(table: Path, history: History) -> None:
    request = ProfileRequest(SPACE, REMOTE, QUICK, table)
    connect = connecting([Refusing(UnreachableError("lost")), UnreachableError("no route")])
    with pytest.raises(UnreachableError, match="did not come back") as caught:
        show.run(profile_space(request, connect))
    assert only(history).state is State.NOT_BEGUN
    assert "was not begun on ssh://pi@shelf:22" in caught.value.__notes__[-1]


def test_a_job_that_was_not_begun_can_begin(table: Path, history: History, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(KeyboardInterrupt):
        profile(table, Refusing(KeyboardInterrupt()))
    record = only(history)
    profile(table, FakeTransport(agent_program(lambda _name: 1.0)), resume=True)
    assert f"beginning the job {record.short_id}, which its device was not told of yet" in capsys.readouterr().err
    assert (only(history).job_id, only(history).state) == (record.job_id, State.FINISHED)


@pytest.mark.parametrize("resume", [True, False])
def test_a_job_that_was_not_begun_is_in_nobodys_way(table: Path, history: History, resume: bool) -> None:
    with pytest.raises(KeyboardInterrupt):
        profile(table, Refusing(KeyboardInterrupt()))
    profile(table, FakeTransport(agent_program(lambda _name: 1.0)), resume=resume, rounds=7)
    assert [record.state for record in history.jobs()] == [State.FINISHED, State.CANCELLED]


@pytest.mark.parametrize("where", [REMOTE, Device()])
def test_a_job_that_was_begun_stays_begun_when_its_device_is_prepared_again(
    table: Path, history: History, where: Device
) -> None:
    with pytest.raises(KeyboardInterrupt):
        profile(table, FakeTransport(cut_once(KeyboardInterrupt(), 30)), where)
    with pytest.raises(KeyboardInterrupt):
        profile(table, Refusing(KeyboardInterrupt()), where, resume=True)
    assert only(history).state is (State.RUNNING if where is REMOTE else State.STOPPED)


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
    assert len(made.entries) == 20
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
    assert len(rebuilt.entries) == 20
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
        table: (None, 2 + 20 * QUICK.rounds),
        table.with_name("here.json"): ("broken", 55),
        table.with_name("lost.json"): ("no route", 30),
    }
