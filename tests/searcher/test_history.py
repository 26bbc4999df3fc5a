"""The history: one SQLite file that many processes write at once, and that is refused when it is not one."""

from __future__ import annotations

import multiprocessing
import multiprocessing.synchronize
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from profiler_agent.records import Event, Hello, Measured, Settings, format_event
from searcher.artifacts import ExportedModel
from searcher.devices.device import Device
from searcher.errors import BadInputError
from searcher.history.database import HistoryError, history_path
from searcher.history.history import History
from searcher.history.job_record import State
from searcher.tables.plan import OtherRequestError, Plan, require_same_request
from tests.searcher.builders import ENVIRONMENT, KEY

MODEL = ExportedModel("block", Path("/cache/block.onnx"), "00", 0.25)


def plan(job_id: str = "0123456789abcdef") -> Plan:
    return Plan(job_id, "nasbench201", "ssh://pi@shelf:22", (MODEL,), Settings(rounds=3), 60.0, {"torch": "2"}, None)


def events(job_id: str, count: int = 4) -> list[Event]:
    told: list[Event] = [Hello(job_id, "0.1.0", KEY, ENVIRONMENT, "boot", Settings(rounds=3))]
    told += [Measured(job_id, "block", n, n, (1000 + n,), 1, 0, 0.0, True, False) for n in range(count - 1)]
    return told


@pytest.fixture
def history(tmp_path: Path) -> History:
    return History(tmp_path / "history.sqlite")


def test_what_was_asked_comes_back_as_it_was(history: History, tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.write_text("secret")
    device = Device("ssh://pi@shelf:22", "python3.11", key)
    history.begin(plan(), device, tmp_path / "t.json", overwrite=True)
    history.append(plan().job_id, 0, events(plan().job_id))
    history.add_sent(plan().job_id, 100)
    history.add_sent(plan().job_id, 11)
    record = history.find("0123")
    assert record.plan == plan()
    assert record.device() == device
    assert (record.table, record.overwrite, record.state) == (tmp_path / "t.json", True, State.RUNNING)
    assert (record.events, record.batches, record.sent_bytes) == (4, 3, 111)
    assert record.table_key is not None
    assert record.table_key["runtime"] == KEY.runtime
    assert record.environment is not None
    assert record.environment["machine"]["cpu_model"] == ENVIRONMENT.machine.cpu_model
    assert (record.agent_version, record.boot_id) == ("0.1.0", "boot")
    assert b"secret" not in (tmp_path / "history.sqlite").read_bytes()


def test_a_list_does_not_need_the_keys_of_old_devices(history: History, tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.touch()
    history.begin(plan(), Device("ssh://pi@shelf:22", None, key), None)
    key.unlink()
    (record,) = history.jobs()
    with pytest.raises(BadInputError, match=r"--identity .*key cannot be read"):
        record.device()


def test_a_device_is_found_again_from_every_folder(
    history: History, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home"
    home.mkdir()
    for name in ("key", "known", "config"):
        (home / name).write_text("")
    (home / "mine.toml").write_text('schema_version = 1\n[reach]\naddress = "board"\n')
    monkeypatch.chdir(home)
    files = Device("mine.toml", identity=Path("key"), known_hosts=Path("known"), ssh_config=Path("config"))
    history.begin(plan("a"), files, Path("a.json"))
    history.begin(plan("b"), Device("ssh://pi@board", profile_name="mine.toml"), Path("b.json"))
    history.begin(plan("c"), Device("ssh://pi@board.toml", profile_name="pixel-6"), Path("c.json"))
    monkeypatch.chdir(tmp_path)
    found = history.find("a").device()
    assert (found.name, found.identity) == (str(home / "mine.toml"), home / "key")
    assert (found.known_hosts, found.ssh_config) == (home / "known", home / "config")
    assert history.find("b").device().profile.reach.address == "board"
    assert history.find("c").device() == Device("ssh://pi@board.toml", profile_name="pixel-6")


def test_events_are_kept_once_and_in_order(history: History) -> None:
    told = events("a", 6)
    history.begin(plan("a"), Device(), None)
    history.append("a", 0, told[:4])
    history.append("a", 2, told[2:])
    assert list(history.lines("a")) == [format_event(event) for event in told]
    assert not history.is_complete("a")


def test_what_a_device_tells_otherwise_replaces_what_it_lost(history: History) -> None:
    told = events("a", 6)
    history.begin(plan("a"), Device(), None)
    history.append("a", 0, told)
    again = [*told[:3], told[0], told[4]]
    history.append("a", 0, again)
    assert list(history.lines("a")) == [format_event(event) for event in again]


def test_events_of_an_unknown_job_are_refused(history: History) -> None:
    with pytest.raises(HistoryError, match="FOREIGN KEY"):
        history.append("nobody", 0, events("nobody"))


def test_a_job_that_goes_on_is_unfinished_again_and_keeps_its_events(history: History, tmp_path: Path) -> None:
    table = tmp_path / "t.json"
    history.begin(plan("a"), Device(), table)
    history.append("a", 0, events("a"))
    history.end("a", State.LOST, "the link was lost")
    lost = history.find("a")
    assert (lost.state, lost.sentence, lost.ended is not None) == (State.LOST, "the link was lost", True)
    history.begin(replace(plan("a"), budget_s=5.0), Device(), table)
    record = history.find("a")
    assert (record.state, record.sentence, record.ended) == (State.RUNNING, None, None)
    assert (record.plan.budget_s, record.events, record.begun) == (5.0, 4, lost.begun)


def test_the_latest_unfinished_job_of_a_table_is_found(
    history: History, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = tmp_path / "t.json"
    assert history.unfinished(table) is None
    for name, state in (("a", State.STOPPED), ("b", State.LOST), ("c", State.FINISHED), ("d", State.FAILED)):
        history.begin(plan(name), Device(), table)
        history.end(name, state)
    history.begin(plan("e"), Device(), tmp_path / "other.json")
    monkeypatch.chdir(tmp_path)
    found = history.unfinished(Path("t.json"))
    assert found is not None
    assert found.job_id == "b"


def test_names_may_be_shortened_as_long_as_one_job_is_meant(history: History) -> None:
    for name in ("abc1", "abc2", "abc", "x%y"):
        history.begin(plan(name), Device(), None)
    assert history.find("abc1").job_id == "abc1"
    assert history.find("abc").job_id == "abc"
    with pytest.raises(BadInputError, match="'ab' is the beginning of several jobs, such as abc, abc1, abc2"):
        history.find("ab")
    for nobody in ("abd", "", "%", "x_"):
        with pytest.raises(BadInputError, match="the history knows no job"):
            history.find(nobody)
    assert [record.job_id for record in history.jobs()] == ["x%y", "abc", "abc2", "abc1"]


def test_a_tables_time_is_told_once_for_all(history: History, monkeypatch: pytest.MonkeyPatch) -> None:
    times = iter(["begun", "first", "second"])
    monkeypatch.setattr("searcher.history.history._now", lambda: next(times))
    history.begin(plan("a"), Device(), None)
    assert [history.table_created("a") for _ in range(2)] == ["first", "first"]


def test_a_history_of_another_version_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "history.sqlite"
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version = 99")
    before = path.read_bytes()
    with pytest.raises(HistoryError, match="has schema version 99, and this version reads 1"):
        History(path).jobs()
    assert path.read_bytes() == before


def test_what_is_no_history_is_refused(tmp_path: Path) -> None:
    text, foreign = tmp_path / "text", tmp_path / "foreign"
    text.write_text("no database, but long enough to look like one" * 30)
    with sqlite3.connect(foreign) as connection:
        connection.execute("CREATE TABLE bookmarks (url TEXT)")
    for path, complaint in (
        (text, "file is not a database"),
        (foreign, "is a database, but no history"),
        (tmp_path, "unable to open database file"),
        (text / "below", "Not a directory|File exists"),
    ):
        with pytest.raises(HistoryError, match=complaint):
            History(path).jobs()


def test_the_variable_names_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROFILER_HISTORY", str(tmp_path / "deep" / "h"))
    History().begin(plan("a"), Device(), None)
    assert (tmp_path / "deep" / "h").is_file()
    monkeypatch.delenv("PROFILER_HISTORY")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    assert history_path() == tmp_path / "data" / "profiler-agent" / "history.sqlite"


def write_jobs(path: Path, writer: int, begin: multiprocessing.synchronize.Barrier) -> None:
    begin.wait()
    for number in range(3):
        name = f"job-{writer}-{number}"
        history = History(path)
        history.begin(plan(name), Device(), None)
        told = events(name, 40)
        for position in range(0, 40, 10):
            history.append(name, position, told[position : position + 10])
            history.append("shared", position, events("shared", 40)[position : position + 10])
        history.end(name, State.FINISHED)


def test_many_processes_write_at_once_from_the_first_moment_on(tmp_path: Path) -> None:
    path, count = tmp_path / "history.sqlite", 6
    context = multiprocessing.get_context("fork")
    begin = context.Barrier(count)

    def first_then_write(writer: int) -> None:
        # All make the file at once, and one job is everybody's.
        begin.wait()
        History(path).begin(plan("shared"), Device(), None)
        write_jobs(path, writer, begin)

    processes = [context.Process(target=first_then_write, args=(writer,)) for writer in range(count)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(120)
    assert [process.exitcode for process in processes] == [0] * count
    history = History(path)
    records = history.jobs()
    assert len(records) == 3 * count + 1
    for record in records:
        assert list(history.lines(record.job_id)) == [format_event(event) for event in events(record.job_id, 40)]
    with sqlite3.connect(path) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_many_threads_share_one_history(history: History) -> None:
    def write(writer: int) -> None:
        name = f"job-{writer}"
        history.begin(plan(name), Device(), None)
        for position in range(0, 40, 10):
            history.append(name, position, events(name, 40)[position : position + 10])
            assert len(list(history.lines(name))) == position + 10

    with ThreadPoolExecutor(16) as pool:
        for written in [pool.submit(write, writer) for writer in range(32)]:
            written.result(120)
    assert [record.events for record in history.jobs()] == [40] * 32


def test_requests_are_the_same_but_for_their_budget_and_where_files_lie() -> None:
    begun = plan()
    moved = replace(begun, budget_s=None, models=(replace(MODEL, path=Path("/elsewhere")),), job_id="other")
    require_same_request(begun, moved)
    for change, complaint in (
        ({"device": "local"}, "its device was 'ssh://pi@shelf:22', is 'local'"),
        ({"settings": Settings(rounds=3, threads=2)}, "threads was 1, is 2"),
        ({"models": (replace(MODEL, sha256="11"),)}, "its models have changed"),
    ):
        with pytest.raises(OtherRequestError, match=complaint):
            require_same_request(begun, replace(begun, **change))
