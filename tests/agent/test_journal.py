"""Journals that break off, and what is resumed from them."""

from __future__ import annotations

import hashlib
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from profiler_agent.errors import BadInputError
from profiler_agent.journal import begin, partial_path, read_journal, resume
from profiler_agent.measure import measure
from profiler_agent.records import Event, Failed, Job, JobBlock, Measured, Sentinel, Settings, Warned, parse_event
from tests.agent.fakes import fake_launch
from tests.agent.journal_checker import complaints
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


def whole_events(text: str) -> list[Event]:
    """Return the events of all lines that are whole; the first line of a journal is its job."""
    lines = text[: text.rfind("\n") + 1].splitlines()
    return [parse_event(line) for line in lines if not line.startswith('{"event":"job"')]


def killed_after(folder: Path, delay_s: float, options: Sequence[str]) -> list[Event]:
    """Start or resume the agent, kill it after a while, and return all that it has acknowledged by then."""
    out = folder / "out.jsonl"
    partial = partial_path(out)
    before = whole_events(partial.read_text()) if partial.exists() else []
    command = agent_command(folder, *options)
    with (
        (folder / "printed").open("w") as printed,
        subprocess.Popen(command, stdout=printed, stderr=subprocess.DEVNULL) as process,
    ):
        time.sleep(delay_s)
        process.send_signal(signal.SIGKILL)
    survived = (partial if partial.exists() else out).read_text() if partial.exists() or out.exists() else ""
    if partial.exists() and "\n" not in survived:
        partial.unlink()  # not even the job was written
    journalled = whole_events(survived)
    told = [*before, *whole_events((folder / "printed").read_text())]
    # An event is on the disk before it is printed; the last one may have come no further than the disk.
    assert journalled[: len(told)] == told
    return journalled


def kill_and_resume(folder: Path, delays_s: Sequence[float], rounds: int) -> None:
    """Kill the agent after each of some whiles, resume it to its end, and check all that its journal promises."""
    write_convolution(folder / "conv.onnx")
    write_identity(folder / "identity.onnx")
    options = ("--rounds", str(rounds), "--samples", "2", "--json")
    acknowledged = [killed_after(folder, delay_s, options) for delay_s in delays_s]
    result = subprocess.run(agent_command(folder, *options), capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stderr
    assert not partial_path(folder / "out.jsonl").exists()
    job, events = read_journal(folder / "out.jsonl")
    assert (len(job.blocks), job.settings.rounds) == (2, rounds)
    assert complaints(job, events, acknowledged) == []


@pytest.mark.parametrize("delays_s", [[0.05], [0.5, 0.9], [0.9], [1.4, 0.7]])
def test_a_killed_agent_resumes(tmp_path: Path, delays_s: list[float]) -> None:
    kill_and_resume(tmp_path, delays_s, rounds=4)


@pytest.mark.slow
def test_two_hundred_killed_agents_resume(tmp_path: Path) -> None:
    generator = random.Random(17)
    for index in range(100):
        folder = tmp_path / str(index)
        folder.mkdir()
        kill_and_resume(folder, [generator.uniform(0.0, 2.5) for _ in range(2)], rounds=4)


def finished_job(folder: Path) -> tuple[Job, list[Event]]:
    """Return a job of two blocks and three rounds, and all its events."""
    blocks = []
    for name in ("a", "b"):
        (folder / name).write_text(name)
        blocks.append(JobBlock(name, str(folder / name), hashlib.sha256(name.encode()).hexdigest()))
    job = Job("job", tuple(blocks), Settings(rounds=3, samples=2))
    return job, list(measure(job, launch=fake_launch(lambda _block, _process: 1000)))


def batches_of(events: list[Event], block_id: str) -> list[Measured]:
    return [one for one in events if isinstance(one, Measured) and one.block_id == block_id]


def test_the_checker_has_nothing_against_a_good_journal(tmp_path: Path) -> None:
    job, events = finished_job(tmp_path)
    assert complaints(job, events, [events[:3], events[:7], events]) == []


def test_the_checker_sees_a_lost_batch(tmp_path: Path) -> None:
    job, events = finished_job(tmp_path)
    doctored = [one for one in events if one != batches_of(events, "a")[1]]
    assert complaints(job, doctored, [events[:3], events[:-1]]) == [
        "kill 1: 1 acknowledged events are lost, or they are in another order",
        "a: 2 rounds count, 3 were wanted",
    ]


def test_the_checker_sees_a_lost_event_that_changes_no_result(tmp_path: Path) -> None:
    job, events = finished_job(tmp_path)
    assert len(complaints(job, [events[0], *events[2:]], [events[:2]])) == 1


def test_the_checker_sees_a_doubled_batch(tmp_path: Path) -> None:
    job, events = finished_job(tmp_path)
    last = batches_of(events, "b")[-1]
    doctored = [*events[:-1], last, events[-1]]
    found = complaints(job, doctored)
    assert found[:2] == ["b: round 2 was measured 2 times", "b: process 2 was measured 2 times"]
    assert "b: round 2 was measured though no more were needed" in found
    more = [*events[:-1], replace(last, round=3, process_index=3), events[-1]]
    assert complaints(job, more) == ["b: round 3 was measured though no more were needed"]


def test_the_checker_sees_missing_operations(tmp_path: Path) -> None:
    job, events = finished_job(tmp_path)
    doctored = [replace(one, operations=None) if one in batches_of(events, "a") else one for one in events]
    assert complaints(job, doctored) == ["a: its operations are not told"]


def test_the_checker_sees_a_job_that_is_not_done(tmp_path: Path) -> None:
    job, events = finished_job(tmp_path)
    assert complaints(job, events[:-1]) == ["the last event is not done"]
    found = complaints(job, [])
    assert found[:3] == ["the last event is not done", *(f"{name}: 0 rounds count, 3 were wanted" for name in "ab")]
    assert found[3:] == [f"{name}: its operations are not told" for name in "ab"]


def test_the_checker_sees_a_failed_block(tmp_path: Path) -> None:
    job, events = finished_job(tmp_path)
    doctored = [*events[:-1], Failed("job", "a", "crashed", "the worker died"), events[-1]]
    assert "a: it failed: the worker died" in complaints(job, doctored)


def test_the_checker_sees_a_rejection_that_was_forgotten(tmp_path: Path) -> None:
    job, events = finished_job(tmp_path)
    position = events.index(batches_of(events, "a")[0])
    reading = next(one for one in events[position:] if isinstance(one, Sentinel))
    place = next(i for i, one in enumerate(events) if one is reading)
    shifted = replace(reading, samples_ns=tuple(2 * one for one in reading.samples_ns))
    found = complaints(job, [*events[:place], shifted, *events[place + 1 :]])
    assert found
    assert all(text.endswith("should be rejected") for text in found)


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
