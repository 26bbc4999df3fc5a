"""The `agent` command as users run it: real processes, the real runtime."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from profiler_agent.journal import read_journal
from profiler_agent.records import (
    Costs,
    Done,
    Hello,
    Job,
    JobBlock,
    Measured,
    Settings,
    Warned,
    format_job,
    parse_event,
)
from tests.agent.models import write_convolution, write_identity

QUICK = ("--rounds", "2", "--samples", "3")


def agent(*arguments: str | Path, stdin: str = "") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "profiler_agent", *map(str, arguments)]
    return subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=60)


def assert_one_sentence(result: subprocess.CompletedProcess[str], status: int, part: str) -> None:
    assert result.returncode == status, result.stderr
    assert part in result.stderr
    lines = [line for line in result.stderr.splitlines() if not line.startswith(("usage:", "  "))]
    assert len(lines) == 1, result.stderr


def test_measure_writes_a_journal_with_all_raw_samples(tmp_path: Path) -> None:
    models = [write_convolution(tmp_path / "conv.onnx"), write_identity(tmp_path / "identity.onnx")]
    out = tmp_path / "out.jsonl"
    result = agent("measure", *models, "--out", out, *QUICK)
    assert result.returncode == 0, result.stderr
    assert "conv.onnx" in result.stdout
    _, events = read_journal(out)
    assert isinstance(events[0], Hello)
    assert isinstance(events[-1], Done)
    measured = [event for event in events if isinstance(event, Measured)]
    assert len(measured) >= 4
    assert all(len(event.samples_ns) == 3 and min(event.samples_ns) > 100_000 for event in measured)
    assert events[0].key.provider == "CPUExecutionProvider"
    assert not out.with_name("out.jsonl.partial").exists()


def test_a_model_that_the_required_provider_leaves_to_another_fails(tmp_path: Path) -> None:
    model, out = write_convolution(tmp_path / "conv.onnx"), tmp_path / "out.jsonl"
    result = agent("measure", model, "--require", "azure", "--out", out, *QUICK)
    assert result.returncode == 1
    assert "Azure runs nothing of conv.onnx: all of its 2 operators ran on CPU (Relu, Conv)" in result.stderr
    assert not out.exists()


def test_memory_and_size_are_measured_unless_they_are_not_wanted(tmp_path: Path) -> None:
    model, out = write_convolution(tmp_path / "conv.onnx"), tmp_path / "out.jsonl"
    assert "file kB" in agent("measure", model, "--out", out, *QUICK).stdout
    (costs,) = [event for event in read_journal(out)[1] if isinstance(event, Costs)]
    assert costs.file_bytes == model.stat().st_size
    assert costs.energy_mj is None or costs.rails
    assert "file kB" not in agent("measure", model, "--no-costs", *QUICK).stdout


def test_a_job_on_standard_input_is_answered_in_records(tmp_path: Path) -> None:
    model = write_convolution(tmp_path / "conv.onnx")
    digest = hashlib.sha256(model.read_bytes()).hexdigest()
    job = Job("job", (JobBlock("conv", str(model), digest),), Settings(rounds=2, samples=3))
    result = agent("measure", "-", stdin=format_job(job))
    assert result.returncode == 0, result.stderr
    events = [parse_event(line) for line in result.stdout.splitlines()]
    assert isinstance(events[0], Hello)
    assert isinstance(events[-1], Done)
    assert sum(isinstance(event, Measured) for event in events) >= 2


def test_a_broken_model_does_not_stop_the_others(tmp_path: Path) -> None:
    good, bad = write_convolution(tmp_path / "good.onnx"), tmp_path / "bad.onnx"
    bad.write_bytes(good.read_bytes()[:-50])
    result = agent("measure", bad, good, *QUICK)
    assert_one_sentence(result, 2, "cannot load bad.onnx")
    assert "good.onnx" in result.stdout


def test_nothing_measured_leaves_a_good_file_as_it_was(tmp_path: Path) -> None:
    bad, out = tmp_path / "bad.onnx", tmp_path / "out.jsonl"
    bad.write_bytes(b"garbage")
    out.write_text("precious")
    assert_one_sentence(agent("measure", bad, "--out", out, *QUICK), 2, "cannot load bad.onnx")
    assert out.read_text() == "precious"


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (("missing.onnx",), "cannot read the model missing.onnx"),
        (("{model}", "--runtime", "abacus"), "unknown runtime 'abacus'"),
        (("{model}", "--affinity", "4096"), "cannot pin to processors"),
        (("{model}", "--optimization", "most"), "unknown optimisation level"),
        (("{dynamic}",), "has the dynamic shape"),
        (("{model}", "{model}"), "names one block twice"),
        (("{model}", "--resume"), "name it with --out"),
        (("{model}", "--seed", "-1"), "--seed: -1 is negative"),
        (("{model}", "--precision", "nan"), "--precision: nan is not a positive number"),
        (("{model}", "--affinity", "0,x"), "--affinity: invalid list of processors value: '0,x'"),
        (("{model}", "--out", "/nowhere/out.jsonl"), "cannot write /nowhere/out.jsonl.partial"),
        (("{model}", "--require", "cuda"), "has no provider 'cuda'; it offers "),
        (("{model}", "--provider", "cpu", "--require", "cuda"), "provider cpu is asked for, but cuda is required"),
        (("{model}", "--provider-option", "device_id"), "'device_id' is not of the form NAME=VALUE"),
        (("{model}", "--provider-option", "device_id=1"), "provider_options need a provider"),
    ],
)
def test_bad_input_is_one_sentence_and_status_2(tmp_path: Path, arguments: tuple[str, ...], part: str) -> None:
    model = write_identity(tmp_path / "m.onnx")
    dynamic = write_identity(tmp_path / "dynamic.onnx", ("n", 3))
    filled = [text.format(model=model, dynamic=dynamic) for text in arguments]
    assert_one_sentence(agent("measure", *filled, *QUICK), 2, part)


def test_verbose_shows_the_traceback_and_keeps_the_status() -> None:
    result = agent("--verbose", "measure", "missing.onnx")
    assert "Traceback" in result.stderr
    assert result.returncode == 2


@pytest.mark.parametrize("document", ["", "{", '{"schema_version": 7}', "[1, 2]"])
def test_a_bad_job_is_one_sentence_and_status_2(document: str) -> None:
    assert_one_sentence(agent("measure", "-", stdin=document), 2, "agent: ")


def test_a_reader_that_goes_away_ends_the_agent(tmp_path: Path) -> None:
    model = write_convolution(tmp_path / "conv.onnx")
    command = [sys.executable, "-m", "profiler_agent", "measure", str(model), "--json", "--rounds", "50"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stderr is not None
    assert process.stdout.readline()
    process.stdout.close()
    assert process.wait(timeout=120) == 1
    assert "Traceback" not in process.stderr.read()
    process.stderr.close()


def test_interrupting_ends_with_130_and_no_partial_result(tmp_path: Path) -> None:
    model, out = write_convolution(tmp_path / "conv.onnx"), tmp_path / "out.jsonl"
    command = [sys.executable, "-m", "profiler_agent", "measure", str(model), "--json", "--rounds", "500"]
    process = subprocess.Popen([*command, "--out", str(out)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.readline()
    os.kill(process.pid, 15)
    assert process.wait(timeout=120) == 130
    process.stdout.close()
    assert process.stderr.read() == f"agent: interrupted; --resume goes on with {out}.partial\n"
    process.stderr.close()
    assert not out.exists()


def test_an_interrupt_at_any_moment_shows_no_traceback(tmp_path: Path) -> None:
    model = write_identity(tmp_path / "m.onnx")
    command = [sys.executable, "-X", "importtime", "-m", "profiler_agent", "measure", str(model), "--rounds", "500"]
    for delay_s in (0.0, 0.03, 0.07, 0.15, 0.3):
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert process.stderr is not None
        # Before that Python itself starts, and no program can keep it from showing tracebacks.
        line = process.stderr.readline()
        while "argparse" not in line:
            assert line, "it ended before it was interrupted"
            line = process.stderr.readline()
        time.sleep(delay_s)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=120)
        # A shell shows both as 130: an exit with that status, and a death by the signal.
        assert process.returncode in (130, -signal.SIGINT)
        assert "Traceback" not in errors


def test_an_output_that_takes_nothing_is_one_sentence(tmp_path: Path) -> None:
    model = write_identity(tmp_path / "m.onnx")
    command = [sys.executable, "-m", "profiler_agent", "measure", str(model), "--json", *QUICK]
    with open("/dev/full", "w") as full:
        result = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, timeout=60)
    assert (result.returncode, result.stderr) == (
        1,
        "agent: cannot write the results: no space is left where they go\n",
    )
    closed = subprocess.run(["/bin/sh", "-c", 'exec "$@" >&-', "sh", *command], capture_output=True, timeout=60)
    assert (closed.returncode, closed.stderr) == (0, b"")


def test_an_output_never_replaces_a_model_and_a_finished_journal_is_kept(tmp_path: Path) -> None:
    model, out = write_convolution(tmp_path / "conv.onnx"), tmp_path / "out.jsonl"
    before = model.read_bytes()
    assert_one_sentence(agent("measure", model, "--out", model, *QUICK), 2, "would replace a model")
    assert model.read_bytes() == before
    assert agent("measure", model, "--out", out, *QUICK).returncode == 0
    finished = out.read_bytes()
    assert_one_sentence(agent("measure", model, "--out", out, "--resume", *QUICK), 0, "nothing to resume")
    assert_one_sentence(agent("measure", model, "--out", out, "--resume", "--rounds", "3"), 2, "holds another job")
    assert out.read_bytes() == finished


def test_compare_holds_two_journals_against_each_other(tmp_path: Path) -> None:
    model = write_convolution(tmp_path / "conv.onnx")
    for name in ("a", "b"):
        assert agent("measure", model, "--out", tmp_path / name, *QUICK).returncode == 0
    document = json.loads(agent("compare", tmp_path / "a", tmp_path / "b", "--json").stdout)
    assert document["key_differences"] == []
    assert [one["block_id"] for one in document["blocks"]] == [str(model)]
    assert "all together" in agent("compare", tmp_path / "a", tmp_path / "b").stdout
    assert_one_sentence(agent("compare", tmp_path / "a", model), 2, "cannot read the journal")


def test_doctor_tells_line_by_line_and_fails_only_when_strict() -> None:
    document = json.loads(agent("doctor", "--json").stdout)
    assert all(set(finding) == {"check", "verdict", "sentence", "remedy"} for finding in document["findings"])
    # Idle machines get busy and busy ones idle between two runs; the status goes by what the same run has found.
    result = agent("doctor", "--affinity", "0", "--strict", "--json")
    strict = json.loads(result.stdout)["findings"]
    assert result.returncode == any(finding["verdict"] == "disturbs" for finding in strict)
    plain = agent("doctor")
    assert plain.returncode == 0
    assert len(plain.stdout.splitlines()) >= len(document["findings"])
    assert_one_sentence(agent("doctor", "--affinity", "x"), 2, "invalid list of processors")


def test_tuning_that_is_refused_never_stops_a_measurement(tmp_path: Path) -> None:
    model, out = write_identity(tmp_path / "m.onnx"), tmp_path / "out.jsonl"
    result = agent("measure", model, "--tune", "--out", out, "--rounds", "1", "--samples", "2")
    assert result.returncode == 0, result.stderr
    _, events = read_journal(out)
    assert isinstance(events[0], Hello)
    told = any(isinstance(event, Warned) and event.code == "tuning_refused" for event in events)
    assert told or events[0].key.tuned


def test_info_fails_for_a_runtime_that_does_not_work() -> None:
    assert agent("info", "--runtime", "onnx").returncode == 0
    assert_one_sentence(agent("info", "--runtime", "tflite-runtime"), 1, "tflite-runtime cannot be imported")
    assert_one_sentence(agent("info", "--runtime", "tvm"), 2, "unknown runtime 'tvm'")


def test_info_tells_the_machine_and_the_runtimes() -> None:
    document = json.loads(agent("info", "--json").stdout)
    assert document["device_fingerprint"].startswith(document["environment"]["machine"]["architecture"])
    assert "CPUExecutionProvider" in document["runtimes"]["onnxruntime"]
    assert document["device_fingerprint"] in agent("info").stdout
    assert "onnxruntime" in document["working_runtimes"]
    assert set(document["sensors"]) == {"temperature", "frequency", "throttling", "power"}
    assert document["disk_free_bytes"] > 0
    untried = json.loads(agent("info", "--json", "--no-runtimes").stdout)
    assert (untried["runtimes"], untried["working_runtimes"]) == ({}, [])
