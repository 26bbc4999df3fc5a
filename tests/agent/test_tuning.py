"""Tuning with a real guardian process, on a machine of files: however agent and guardian end, it is undone."""

from __future__ import annotations

import argparse
import contextlib
import functools
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from profiler_agent import recording, tuning
from profiler_agent.commands import measure as measure_command
from profiler_agent.controls import write_control
from profiler_agent.journal import read_journal
from profiler_agent.leftovers import DENIED, IN_USE, STUCK, UNDONE, undo_leftovers
from profiler_agent.records import Hello, Warned
from profiler_agent.tuning import tuned
from profiler_agent.undo_record import Change, UndoRecord, load, lock, record_path, save, state_folders
from tests.agent.models import write_identity

POLICIES = "sys/devices/system/cpu/cpufreq"
NO_TURBO = "sys/devices/system/cpu/intel_pstate/no_turbo"
UNTOUCHED = {
    f"{POLICIES}/policy0/scaling_governor": "powersave",
    f"{POLICIES}/policy4/scaling_governor": "ondemand",
    NO_TURBO: "0",
}
ENGAGED = {
    f"{POLICIES}/policy0/scaling_governor": "performance",
    f"{POLICIES}/policy4/scaling_governor": "performance",
    NO_TURBO: "1",
}
# An agent as the command runs it, but for the measuring: it tunes, says so, and sleeps.
AGENT = """
import sys, time
from pathlib import Path
from profiler_agent.interrupts import raise_on_interrupts
from profiler_agent.tuning import tuned
raise_on_interrupts()
with tuned(True, print, Path(sys.argv[1])) as done:
    print(done.text, flush=True)
    time.sleep(60)
"""


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "home"))
    root = tmp_path / "machine"
    for path, value in {**UNTOUCHED, "proc/sys/kernel/random/boot_id": "boot-1"}.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(f"{value}\n")
    return root


def values(root: Path) -> dict[str, str]:
    return {path: (root / path).read_text().strip() for path in UNTOUCHED}


def folder(root: Path) -> Path:
    return state_folders(root)[0]


def assert_untouched(root: Path) -> None:
    assert values(root) == UNTOUCHED
    assert not record_path(folder(root)).exists()


def wait_until(condition: Callable[[], bool]) -> None:
    give_up = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < give_up
        time.sleep(0.02)


def refuse(sentence: str) -> None:
    raise AssertionError(sentence)


@contextlib.contextmanager
def agent(root: Path) -> Iterator[subprocess.Popen[str]]:
    """An agent that has tuned the machine."""
    process = subprocess.Popen([sys.executable, "-c", AGENT, str(root)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == "governor,turbo\n"
        assert values(root) == ENGAGED
        yield process
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def guardian_of(process: subprocess.Popen[str]) -> int:
    (child,) = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    return int(child)


def has_ended(process: int) -> bool:
    """Whether a process that may be nobody's child here is gone, or a zombie that nobody reaps."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


def test_tuning_is_undone_at_the_normal_end(machine: Path) -> None:
    with tuned(True, refuse, machine) as done:
        assert (done.text, done.warnings) == ("governor,turbo", ())
        assert values(machine) == ENGAGED
        record = json.loads(record_path(folder(machine)).read_text())
        assert (record["boot_id"], record["process"]) == ("boot-1", os.getpid())
        assert done.lost() == []
    assert_untouched(machine)


def test_tuning_is_undone_at_an_exception(machine: Path) -> None:
    with pytest.raises(ZeroDivisionError), tuned(True, refuse, machine):
        raise ZeroDivisionError
    assert_untouched(machine)


def test_what_is_not_wanted_is_not_touched(machine: Path) -> None:
    with tuned(False, refuse, machine) as done:
        assert (done.text, done.warnings) == ("none", ())
        assert_untouched(machine)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGKILL])
def test_tuning_is_undone_when_the_agent_is_ended(machine: Path, number: signal.Signals) -> None:
    with agent(machine) as process:
        process.send_signal(number)
        process.wait(timeout=120)
        if number in (signal.SIGTERM, signal.SIGINT):
            assert_untouched(machine)
        wait_until(lambda: values(machine) == UNTOUCHED and not record_path(folder(machine)).exists())


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_guardian_that_is_asked_to_end_undoes_at_once(machine: Path, number: signal.Signals) -> None:
    with agent(machine) as process:
        os.kill(guardian_of(process), number)
        wait_until(lambda: not record_path(folder(machine)).exists())
        assert_untouched(machine)


def test_the_agent_undoes_when_its_guardian_was_killed(machine: Path) -> None:
    with agent(machine) as process:
        guardian = guardian_of(process)
        os.kill(guardian, signal.SIGKILL)
        wait_until(lambda: has_ended(guardian))
        assert values(machine) == ENGAGED
        process.terminate()
        process.wait(timeout=120)
        assert_untouched(machine)


def test_a_machine_that_does_not_stay_tuned_is_told(machine: Path) -> None:
    with tuned(True, refuse, machine) as done:
        (machine / NO_TURBO).write_text("0\n")
        (warning,) = done.lost()
        assert warning.code == "tuning_lost"
        assert "no_turbo changed" in warning.sentence
    assert_untouched(machine)


def leave_tuned(root: Path) -> int:
    """Kill an agent and its guardian, and return the agent's process id."""
    with agent(root) as process:
        guardian = guardian_of(process)
        # Stopped first, so that it cannot undo in the moment between the two.
        os.kill(guardian, signal.SIGSTOP)
        process.kill()
        process.wait()
        os.kill(guardian, signal.SIGKILL)
        wait_until(lambda: has_ended(guardian))
    assert values(root) == ENGAGED
    return process.pid


def test_the_next_agent_undoes_what_two_killed_processes_left(machine: Path) -> None:
    killed = leave_tuned(machine)
    with tuned(False, refuse, machine) as done:
        (warning,) = done.warnings
        assert warning.code == "tuning_leftover"
        assert f"(process {killed}) left the machine tuned; put back: no_turbo to 0" in warning.sentence
        assert_untouched(machine)


def test_tuning_after_two_killed_processes_remembers_the_first_values(machine: Path) -> None:
    leave_tuned(machine)
    with tuned(True, refuse, machine) as done:
        assert [warning.code for warning in done.warnings] == ["tuning_leftover"]
        assert values(machine) == ENGAGED
    assert_untouched(machine)


def test_a_second_agent_goes_on_untuned_and_undoes_nothing(machine: Path) -> None:
    with agent(machine):
        with tuned(True, refuse, machine) as second:
            assert second.text == "none"
            assert [warning.code for warning in second.warnings] == ["tuning_refused"]
            assert "another agent is tuning it" in second.warnings[0].sentence
        with tuned(False, refuse, machine) as third:
            assert [warning.code for warning in third.warnings] == ["tuning_leftover"]
        assert values(machine) == ENGAGED
        (found,) = undo_leftovers(machine, state_folders(machine))
        assert found.outcome == IN_USE
    wait_until(lambda: values(machine) == UNTOUCHED)


def test_what_refuses_to_be_written_is_a_warning_and_no_part_of_the_key(machine: Path) -> None:
    governor = machine / POLICIES / "policy4/scaling_governor"
    governor.unlink()
    governor.symlink_to("/proc/sys/kernel/ostype")  # it can be read by everybody, and written by nobody
    with tuned(True, refuse, machine) as done:
        assert done.text == "governor:policy0,turbo"
        (warning,) = done.warnings
        assert warning.code == "tuning_refused"
        assert warning.sentence.startswith("the governor is not tuned")
        assert "policy4/scaling_governor" in warning.sentence
    governor.unlink()
    governor.write_text("ondemand\n")
    assert_untouched(machine)


def test_a_value_that_does_not_take_is_told_by_reading_it_back() -> None:
    control = Path("/proc/self/coredump_filter")  # it takes numbers, and tells them in another form
    before = control.read_text().strip()
    try:
        assert write_control(control, "1") == "it was set to '1' but says '00000001'"
    finally:
        control.write_text(f"0x{before}")


def test_a_folder_in_place_of_a_control_is_a_warning(machine: Path) -> None:
    (machine / NO_TURBO).unlink()
    (machine / NO_TURBO).mkdir()
    with tuned(True, refuse, machine) as done:
        assert done.text == "governor"
        assert "it cannot be read" in done.warnings[0].sentence


def test_a_machine_without_controls_is_measured_untuned(machine: Path) -> None:
    shutil.rmtree(machine / "sys")
    with tuned(True, refuse, machine) as done:
        assert done.text == "none"
        assert "neither a governor nor a switch for turbo" in done.warnings[0].sentence


def test_a_machine_that_is_tuned_already_needs_no_guardian(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for path, value in ENGAGED.items():
        (machine / path).write_text(f"{value}\n")
    monkeypatch.setattr(tuning, "_RUN_GUARDIAN", "import sys; sys.exit(1)")
    with tuned(True, refuse, machine) as done:
        assert (done.text, done.warnings) == ("governor,turbo", ())
    assert values(machine) == ENGAGED


@pytest.mark.parametrize("program", ["import sys; sys.exit(1)", "print('nonsense')", "print('{}'[:1])"])
def test_a_guardian_that_does_not_start_is_a_warning(
    machine: Path, monkeypatch: pytest.MonkeyPatch, program: str
) -> None:
    monkeypatch.setattr(tuning, "_RUN_GUARDIAN", program)
    with tuned(True, refuse, machine) as done:
        assert done.text == "none"
        assert "the guardian ended before it had tuned" in done.warnings[0].sentence
        assert_untouched(machine)


def test_no_place_for_the_record_means_no_tuning(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (machine / "run").write_text("in the way")
    monkeypatch.setenv("XDG_STATE_HOME", str(machine / "run"))
    with tuned(True, refuse, machine) as done:
        assert "there is no place for an undo record" in done.warnings[0].sentence
        assert values(machine) == UNTOUCHED


def test_a_user_without_run_keeps_the_record_at_home(machine: Path, tmp_path: Path) -> None:
    (machine / "run").write_text("in the way")
    with tuned(True, refuse, machine) as done:
        assert done.text == "governor,turbo"
        assert record_path(tmp_path / "home/profiler-agent").exists()
    assert values(machine) == UNTOUCHED


def leave_record(root: Path, record: UndoRecord) -> None:
    descriptor = lock(folder(root), 0.0)
    assert descriptor is not None
    save(record, folder(root))
    os.close(descriptor)


def test_a_record_of_another_boot_is_removed_and_not_followed(machine: Path) -> None:
    leave_record(machine, UndoRecord("boot-0", 1, (Change(NO_TURBO, "1", "0"),)))
    assert undo_leftovers(machine, state_folders(machine)) == []
    assert_untouched(machine)


def test_a_record_never_has_other_files_written(machine: Path) -> None:
    (machine / "etc").mkdir()
    (machine / "etc/passwd").write_text("root\n")
    change = Change("etc/passwd", "nobody", "root")
    leave_record(machine, UndoRecord("boot-1", 1, (change, Change(NO_TURBO, "1", "0"))))
    (found,) = undo_leftovers(machine, state_folders(machine))
    assert found.outcome == STUCK
    assert "there is no such control now" in found.sentence
    assert (machine / "etc/passwd").read_text() == "root\n"
    assert values(machine)[NO_TURBO] == "1"
    left = load(folder(machine))
    assert left is not None
    assert left.changes == (change,)


def test_an_unreadable_record_is_told_once(machine: Path) -> None:
    folder(machine).mkdir(parents=True)
    record_path(folder(machine)).write_text("{")
    (found,) = undo_leftovers(machine, state_folders(machine))
    assert (found.outcome, "unreadable" in found.sentence) == (STUCK, True)
    assert undo_leftovers(machine, state_folders(machine)) == []


def test_a_measurement_is_taken_and_keyed_on_the_tuned_machine(
    machine: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recording, "tuned", functools.partial(tuned, root=machine))
    parser = argparse.ArgumentParser()
    measure_command.add_options(parser)
    out = tmp_path / "out.jsonl"
    model = str(write_identity(tmp_path / "m.onnx"))
    options = parser.parse_args([model, "--tune", "--rounds", "1", "--samples", "2", "--out", str(out)])
    assert measure_command.run(options) == 0
    assert_untouched(machine)
    job, events = read_journal(out)
    assert job.settings.tune
    assert isinstance(events[0], Hello)
    assert events[0].key.tuning == "governor,turbo"
    assert not any(isinstance(event, Warned) and event.code.startswith("tuning") for event in events)


def test_a_record_behind_a_lock_that_is_denied_is_left_alone(machine: Path) -> None:
    folder(machine).mkdir(parents=True)
    record_path(folder(machine)).write_text("{}")
    (folder(machine) / "tuning.lock").mkdir()
    assert [one.outcome for one in undo_leftovers(machine, state_folders(machine))] == [DENIED]
    with tuned(True, refuse, machine) as done:
        assert "another user has or had it tuned" in done.warnings[-1].sentence
    assert values(machine) == UNTOUCHED


def test_what_an_earlier_agent_could_not_put_back_keeps_its_first_value(machine: Path) -> None:
    leave_record(machine, UndoRecord("boot-1", 1, (Change(NO_TURBO, "0", "1"),)))
    (machine / NO_TURBO).unlink()
    (machine / NO_TURBO).mkdir()
    assert [one.outcome for one in undo_leftovers(machine, state_folders(machine))] == [STUCK]
    (machine / NO_TURBO).rmdir()
    (machine / NO_TURBO).write_text("1\n")
    assert [one.outcome for one in undo_leftovers(machine, state_folders(machine))] == [UNDONE]
    assert_untouched(machine)


def test_an_agent_that_cannot_undo_says_so_and_keeps_the_record(machine: Path) -> None:
    told: list[str] = []
    with tuned(True, told.append, machine):
        (machine / NO_TURBO).unlink()
        (machine / NO_TURBO).mkdir()
    (sentence,) = told
    assert "no_turbo is not back at '0'" in sentence
    assert record_path(folder(machine)).exists()


def test_tuning_writes_no_file_that_an_old_record_names(machine: Path) -> None:
    precious = machine / "etc/precious"
    precious.parent.mkdir()
    precious.write_text("mine\n")
    state = state_folders(machine)[0]
    state.mkdir(parents=True)
    wrong_value = Change(f"{POLICIES}/policy0/scaling_governor", "powersave", "schedutil")
    save(UndoRecord("boot-1", 1, (Change("etc/precious", "0", "1"), wrong_value)), state)
    with tuned(True, print, machine):
        assert precious.read_text() == "mine\n"
        assert values(machine) == ENGAGED
    assert precious.read_text() == "mine\n"
    assert values(machine) == UNTOUCHED


def test_a_clock_that_its_user_has_fixed_stays_so(machine: Path) -> None:
    governor = machine / POLICIES / "policy0/scaling_governor"
    governor.write_text("userspace\n")
    with tuned(True, print, machine) as done:
        assert governor.read_text() == "userspace\n"
        assert done.text == "governor,turbo"
    assert governor.read_text() == "userspace\n"
