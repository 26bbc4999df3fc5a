"""Jobs that outlive whoever started them: real agents, killed, stopped and started again."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from profiler_agent.job_folder import End, JobFolder, remove_oldest
from profiler_agent.journal import partial_path, read_journal
from profiler_agent.launch import package_environment
from profiler_agent.lease import holder
from profiler_agent.records import Done, Failed, Hello, Job, JobBlock, Measured, Settings, format_job, parse_event
from tests.agent.journal_checker import complaints
from tests.agent.models import write_convolution, write_identity

QUICK = Settings(rounds=3, samples=3, costs=False)
ENVIRONMENT = package_environment()
LONG = Settings(rounds=400, samples=3, target_half_width_pct=1e-9, costs=False)


class Board:
    """A working root with one job, as a host sees it."""

    def __init__(self, root: Path, name: str = "one", settings: Settings = QUICK) -> None:
        self.root = root
        self.folder = JobFolder(root / "jobs" / name)
        models = [write_convolution(root / "conv.onnx"), write_identity(root / "identity.onnx")]
        blocks = tuple(
            JobBlock(model.name, f"../../{model.name}", hashlib.sha256(model.read_bytes()).hexdigest())
            for model in models
        )
        self.job = Job(name, blocks, settings)

    def agent(self, *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "profiler_agent", *arguments]
        return subprocess.run(
            command, cwd=self.root, env=ENVIRONMENT, input=stdin, capture_output=True, text=True, timeout=120
        )

    def ask(self, action: str, *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        return self.agent("job", action, f"jobs/{self.job.job_id}", *arguments, stdin=stdin)

    def start(self) -> dict[str, Any]:
        result = self.ask("start", "--lease", "lease", "--host", "ada@desk", stdin=format_job(self.job))
        assert result.returncode == 0, result.stderr
        told: dict[str, Any] = json.loads(result.stdout)
        return told

    def state(self, action: str = "state") -> dict[str, Any]:
        told: dict[str, Any] = json.loads(self.ask(action).stdout)
        return told

    def pid(self) -> int:
        note = holder(self.folder.lease)
        assert note is not None
        pid = note["pid"]
        assert isinstance(pid, int)
        return pid

    def wait_for_events(self, count: int) -> None:
        deadline_s = time.monotonic() + 60
        while self.state()["events"] < count:
            assert time.monotonic() < deadline_s
            time.sleep(0.05)


@pytest.fixture
def board(tmp_path: Path) -> Board:
    return Board(tmp_path)


@pytest.fixture
def busy(tmp_path: Path) -> Any:
    board = Board(tmp_path, settings=LONG)
    board.start()
    yield board
    board.ask("cancel")
    assert board.state()["state"] == "ended"


def test_a_job_runs_by_itself_and_is_told_from_any_place(board: Board) -> None:
    assert board.start()["state"] == "running"
    followed = board.ask("follow")
    assert (followed.returncode, followed.stderr) == (0, "")
    events = [parse_event(line) for line in followed.stdout.splitlines()]
    assert isinstance(events[0], Hello)
    assert isinstance(events[-1], Done)
    assert sum(isinstance(event, Measured) for event in events) >= 6
    assert board.ask("follow", "--after", "4").stdout.splitlines() == followed.stdout.splitlines()[4:]
    assert tuple(events) == read_journal(board.folder.journal)[1]
    assert board.state() == {**board.state(), "state": "ended", "status": 0, "events": len(events)}
    assert holder(board.root / "lease") is None


@pytest.mark.slow
def test_starting_again_changes_nothing(board: Board) -> None:
    board.start()
    board.start()
    lines = board.ask("follow").stdout
    assert board.start()["state"] == "ended"
    assert board.ask("follow").stdout == lines


def test_a_second_job_is_told_who_measures(busy: Board) -> None:
    second = Board(busy.root, "two")
    result = second.ask("start", "--lease", "lease", stdin=format_job(second.job))
    assert result.returncode == 1
    assert result.stderr == "agent: busy: the job one of ada@desk runs here for 0 min\n"
    assert second.state()["state"] == "new"
    busy.ask("cancel")
    assert second.start()["state"] == "running"
    assert second.ask("follow").returncode == 0


def test_another_job_of_the_same_name_is_refused(board: Board) -> None:
    board.start()
    other = Job("one", board.job.blocks[:1], QUICK)
    result = board.ask("start", "--lease", "lease", stdin=format_job(other))
    assert (result.returncode, result.stderr) == (2, "agent: jobs/one holds another job\n")
    board.ask("follow")


def test_a_killed_agent_leaves_a_broken_job_that_goes_on(tmp_path: Path) -> None:
    board = Board(tmp_path, settings=replace(LONG, rounds=12))
    board.start()
    board.wait_for_events(6)
    killed = board.pid()
    os.kill(killed, signal.SIGKILL)
    followed = board.ask("follow")
    assert (followed.returncode, followed.stderr) == (75, "agent: the job one broke off\n")
    before = [parse_event(line) for line in followed.stdout.splitlines()]
    assert board.state()["state"] == "broken"
    told = board.start()
    assert (told["state"], told["events"]) == ("running", len(before))
    assert board.pid() != killed
    followed = board.ask("follow")
    assert followed.returncode == 0
    events = [parse_event(line) for line in followed.stdout.splitlines()]
    assert complaints(board.job, events, [before]) == []
    assert sum(isinstance(event, Hello) for event in events) == 2


def test_a_stopped_job_can_go_on_and_a_cancelled_one_cannot(busy: Board) -> None:
    busy.wait_for_events(4)
    assert busy.state("stop")["state"] == "broken"
    assert holder(busy.root / "lease") is None
    assert busy.start()["state"] == "running"
    assert busy.state("cancel") == {**busy.state(), "state": "ended", "status": 130}
    followed = busy.ask("follow")
    assert (followed.returncode, followed.stderr) == (130, "agent: the job was cancelled\n")
    assert busy.start()["state"] == "ended"


def test_a_job_survives_the_group_of_whoever_started_it(tmp_path: Path) -> None:
    board = Board(tmp_path, settings=LONG)
    command = [sys.executable, "-m", "profiler_agent", "job", "start", "jobs/one", "--lease", "lease"]
    starter = subprocess.Popen(command, cwd=tmp_path, env=ENVIRONMENT, stdin=subprocess.PIPE, start_new_session=True)
    starter.communicate(format_job(board.job).encode())
    # Nobody is left in the group.
    with pytest.raises(ProcessLookupError):
        os.killpg(starter.pid, signal.SIGTERM)
    board.wait_for_events(4)
    board.ask("cancel")


def test_why_a_job_failed_is_told_to_whoever_follows(tmp_path: Path) -> None:
    board = Board(tmp_path, settings=Settings(runtime="abacus"))
    board.start()
    followed = board.ask("follow")
    assert followed.returncode == 2
    assert followed.stderr.startswith("agent: unknown runtime 'abacus'")
    assert len(followed.stderr.splitlines()) == 1


def test_blocks_that_all_fail_are_told_too(board: Board) -> None:
    for model in board.root.glob("*.onnx"):
        model.write_bytes(b"nothing")
    board.start()
    followed = board.ask("follow")
    assert followed.returncode == 2
    events = [parse_event(line) for line in followed.stdout.splitlines()]
    assert sum(isinstance(event, Failed) for event in events) == 2


def test_a_job_that_is_not_there_is_new_and_tells_nothing(board: Board) -> None:
    assert board.state() == {**board.state(), "state": "new", "status": None, "events": 0}
    followed = board.ask("follow")
    assert (followed.returncode, followed.stdout) == (75, "")


def test_a_carried_folder_is_measured_by_hand_and_goes_on_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "stick").mkdir()
    board = Board(tmp_path / "stick", settings=LONG)
    board.folder.prepare(board.job)
    command = [sys.executable, "-m", "profiler_agent", "measure", "jobs/one"]
    process = subprocess.Popen(command, cwd=board.root, env=ENVIRONMENT, stderr=subprocess.PIPE, text=True)
    board.wait_for_events(6)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (130, "agent: interrupted; the same command goes on with the job\n")
    before = partial_path(board.folder.journal).read_text().splitlines()
    # Mounted under another name, with a bound on the time.
    elsewhere = (tmp_path / "stick").rename(tmp_path / "other")
    job_file = elsewhere / "jobs" / "one" / "job.json"
    job_file.write_text(job_file.read_text().replace('"budget_s": null', '"budget_s": 1'))
    result = subprocess.run(
        [*command[:-1], str(job_file)], env=ENVIRONMENT, capture_output=True, text=True, timeout=120
    )
    assert result.returncode == 0, result.stderr
    assert "conv.onnx" in result.stdout
    journal = elsewhere / "jobs" / "one" / "journal.jsonl"
    assert journal.read_text().splitlines()[: len(before)] == before
    again = subprocess.run([*command[:-1], str(job_file)], env=ENVIRONMENT, capture_output=True, text=True, timeout=120)
    assert (again.returncode, again.stderr) == (0, f"agent: nothing to resume: {journal} is complete\n")


def test_only_old_jobs_that_have_ended_are_removed(tmp_path: Path) -> None:
    for index in range(5):
        folder = JobFolder(tmp_path / str(index))
        folder.path.mkdir()
        (folder.path / "journal.jsonl.partial").write_text("")
        if index != 1:
            folder.finish(End(0))
            os.utime(str(folder.path / "ended.json"), (index, index))
    remove_oldest(tmp_path, 2)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["1", "3", "4"]
