"""Journals that break off, and what is resumed from them."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from profiler_agent.errors import BadInputError
from profiler_agent.journal import begin, partial_path, read_journal, resume
from profiler_agent.records import Job, JobBlock, Measured, Settings, Warned, measurements_of, parse_event
from tests.agent.models import write_convolution, write_identity

JOB = Job("job", (JobBlock("b", "b.onnx", "00"),), Settings())
EVENT = Warned("code", "a sentence")


def broken_journal(path: Path, torn: str = "") -> Path:
    with begin(path, JOB) as journal:
        journal.append(EVENT)
        journal.append(EVENT)
    with partial_path(path).open("a") as file:
        file.write(torn)
    return path


@pytest.mark.parametrize("torn", ["", '{"event":"warn', '{"event":"warning","code":"c","sentence":"whole but no end"}'])
def test_a_torn_last_line_is_cut_off_and_the_rest_kept(tmp_path: Path, torn: str) -> None:
    path = broken_journal(tmp_path / "out.jsonl", torn)
    resumed = resume(path, JOB)
    assert resumed.events == (EVENT, EVENT)
    with resumed.journal as journal:
        journal.append(EVENT)
        journal.finish()
    assert read_journal(path) == (JOB, (EVENT, EVENT, EVENT))


def test_another_job_is_not_resumed(tmp_path: Path) -> None:
    path = broken_journal(tmp_path / "out.jsonl")
    other = Job("job", (JobBlock("b", "b.onnx", "ff"),), Settings())
    with pytest.raises(BadInputError, match="holds another job"):
        resume(path, other)
    assert len(partial_path(path).read_text().splitlines()) == 3


def test_damage_in_the_middle_is_refused(tmp_path: Path) -> None:
    path = broken_journal(tmp_path / "out.jsonl")
    text = partial_path(path).read_text().replace("warning", "gossip", 1)
    partial_path(path).write_text(text)
    with pytest.raises(BadInputError, match="unknown event"):
        resume(path, JOB)


def test_an_unfinished_journal_is_never_overwritten(tmp_path: Path) -> None:
    path = broken_journal(tmp_path / "out.jsonl")
    with pytest.raises(BadInputError, match="go on with --resume"):
        begin(path, JOB)


def test_a_journal_in_use_is_not_resumed(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    with begin(path, JOB), pytest.raises(BadInputError, match="another agent"):
        resume(path, JOB)


def test_a_folder_is_refused_before_anything_is_measured(tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match="is a folder"):
        begin(tmp_path, JOB)


def agent_command(folder: Path, *options: str) -> list[str]:
    models = [str(folder / "conv.onnx"), str(folder / "identity.onnx")]
    out = str(folder / "out.jsonl")
    return [sys.executable, "-m", "profiler_agent", "measure", *models, "--out", out, "--resume", *options]


def kill_and_resume(folder: Path, delay_s: float, rounds: int) -> None:
    """Kill the agent after a while, resume it, and check that nothing journalled was lost or measured twice."""
    write_convolution(folder / "conv.onnx")
    write_identity(folder / "identity.onnx")
    options = ("--rounds", str(rounds), "--samples", "2", "--json")
    with subprocess.Popen(agent_command(folder, *options), stdout=subprocess.DEVNULL) as process:
        time.sleep(delay_s)
        process.send_signal(signal.SIGKILL)
    partial = folder / "out.jsonl.partial"
    survived = partial.read_text() if partial.exists() else ""
    whole = survived[: survived.rfind("\n") + 1]
    if survived and not whole:
        partial.unlink()  # not even the job was written
    result = subprocess.run(agent_command(folder, *options), capture_output=True, text=True, timeout=120)
    if (folder / "out.jsonl").exists() and not partial.exists():
        text = (folder / "out.jsonl").read_text()
        assert text.startswith(whole), result.stderr
        _, events = read_journal(folder / "out.jsonl")
        keys = [(one.block_id, one.process_index) for one in events if isinstance(one, Measured)]
        assert len(set(keys)) == len(keys)
        assert len(measurements_of(events)) == 2
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize("delay_s", [0.05, 0.5, 0.9, 1.4])
def test_a_killed_agent_resumes(tmp_path: Path, delay_s: float) -> None:
    kill_and_resume(tmp_path, delay_s, rounds=4)


@pytest.mark.slow
def test_two_hundred_killed_agents_resume(tmp_path: Path) -> None:
    generator = random.Random(17)
    for index in range(200):
        folder = tmp_path / str(index)
        folder.mkdir()
        kill_and_resume(folder, generator.uniform(0.0, 2.5), rounds=4)


def wait_until(condition: Callable[[], bool], seconds: float) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.05)
    return condition()


def test_a_killed_agent_leaves_no_worker_behind(tmp_path: Path) -> None:
    write_convolution(tmp_path / "conv.onnx")
    write_identity(tmp_path / "identity.onnx")
    process = subprocess.Popen(agent_command(tmp_path, "--json"), stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    parse_event(process.stdout.readline())
    listed = subprocess.run(["ps", "-o", "pid=", "--ppid", str(process.pid)], capture_output=True, text=True)
    children = [int(pid) for pid in listed.stdout.split()]
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    process.stdout.close()

    def all_gone() -> bool:
        return not any(Path(f"/proc/{pid}").exists() for pid in children)

    assert wait_until(all_gone, 10)
