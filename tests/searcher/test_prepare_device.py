"""Choosing processors, and telling what works, on devices in memory that say what recorded machines say."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from profiler_agent.decoding import encode
from profiler_agent.environment import read_environment
from profiler_agent.records import parse_job
from searcher.cli import show
from searcher.devices.device import Device
from searcher.devices.transport import RemoteProgramError, TransportError
from searcher.spaces.nasbench201 import NasBench201
from searcher.workflows.check_device import check_device
from searcher.workflows.prepare_device import prepare_device
from searcher.workflows.profile_space import ProfileRequest, profile_space
from tests.agent.trees import ANDROID, RASPBERRY_PI, Tree, write_tree
from tests.fakes import FakeTransport, Program
from tests.searcher.builders import KEY, QUICK, agent_program
from tests.searcher.wheels import only_index, write_wheel


def board(folder: Path, tree: Tree, version: str = "3.11.2", **changes: object) -> FakeTransport:
    """A device that tells of itself what a recorded machine does, and measures anything in 1 ms."""
    info = {
        "device_fingerprint": "aarch64-0",
        "boot_id": None,
        "environment": encode(read_environment(write_tree(folder / "root", tree))),
        "runtimes": {"onnxruntime": "1.31.1, CPUExecutionProvider", "litert": "does not work here: \033[31mno\033[0m"},
        "working_runtimes": ["onnxruntime"],
        "sensors": {"temperature": "74.5 °C", "power": None},
        "disk_free_bytes": 5_000_000_000,
        **changes,
    }
    findings = [
        {"check": "governor", "verdict": "disturbs", "sentence": "it is slow", "remedy": "mend it"},
        {"check": "swap", "verdict": "ok", "sentence": "none"},
        {"check": "battery", "verdict": "unknown", "sentence": "it does not tell"},
    ]
    job: Program = agent_program(lambda _name: 1.0, replace(KEY, device_fingerprint="aarch64-0"))

    def program(arguments: Sequence[str], standard_input: bytes) -> Iterable[str]:
        if arguments[1] == "-c":
            return [version]
        if arguments[3] == "info":
            return json.dumps(info, indent=2).splitlines()
        if arguments[3] == "doctor":
            return [json.dumps({"findings": findings})]
        return job(arguments, standard_input)

    return FakeTransport(program)


def test_the_job_is_pinned_to_the_cluster_that_the_device_tells_of(tmp_path: Path) -> None:
    phone = board(tmp_path, ANDROID)
    request = ProfileRequest(NasBench201(), Device(cluster="fastest"), QUICK, tmp_path / "t.json")
    show.run(profile_space(request, lambda _device: phone))
    (start,) = (run for run in phone.runs if run.arguments[3:5] == ("job", "start"))
    assert parse_job(start.standard_input.decode()).settings.affinity == (4, 5, 6, 7)
    assert "--no-runtimes" in phone.runs[0].arguments


def test_what_is_chosen(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    phone, pi = board(tmp_path / "phone", ANDROID), board(tmp_path / "pi", RASPBERRY_PI)
    slow = show.run(prepare_device(Device(cluster="slowest"), QUICK, lambda _device: phone))
    assert slow == replace(QUICK, affinity=(0, 1, 2, 3))
    assert "pinned to the slowest cluster, processors 0,1,2,3" in capsys.readouterr().err
    assert show.run(prepare_device(Device(cluster="fastest"), QUICK, lambda _device: pi)) == QUICK
    assert "all processors" in capsys.readouterr().err


def test_a_device_is_asked_only_where_there_is_something_to_choose() -> None:
    def refuse(_device: Device) -> FakeTransport:
        raise TransportError("the device was asked")

    by_number = replace(QUICK, affinity=(1,))
    assert show.run(prepare_device(Device(cluster="fastest"), by_number, refuse)) == by_number
    assert show.run(prepare_device(Device(), QUICK, refuse)) == QUICK
    with pytest.raises(TransportError, match="was asked"):
        show.run(prepare_device(Device(cluster="fastest"), QUICK, refuse))


def checked(transport: FakeTransport, device: Device) -> dict[str, tuple[str, str]]:
    found = {one.check: (one.verdict, one.sentence) for one in check_device(device, lambda _device: transport)}
    assert transport.closed
    return found


def test_check_tells_what_works(tmp_path: Path) -> None:
    here = Device("ssh://pi@board", profile_name="raspberry-pi-5", cluster="fastest", runtime_from="system")
    told = checked(board(tmp_path, ANDROID), here)
    assert told["python"] == ("ok", "'python3' is 3.11.2")
    assert told["runtime onnxruntime"][0] == "ok"
    assert told["runtime litert"] == (
        "note",
        "does not work here: \N{REPLACEMENT CHARACTER}[31mno\N{REPLACEMENT CHARACTER}[0m",
    )
    clusters = "processors 0 1 2 3 up to 1800 MHz; processors 4 5 6 7 up to 2850 MHz"
    assert told["clusters"] == ("ok", f"{clusters}; measured on processors 4,5,6,7 (fastest)")
    assert told["sensor temperature"] == ("ok", "74.5 °C")
    assert told["sensor power"] == ("note", "tells nothing, though the profile expects it")
    assert told["disk"] == ("ok", "5000 MB are free where the agent lies")
    assert told["doctor: governor"] == ("note", "it is slow (mend it with: mend it)")
    assert [told[f"doctor: {name}"][0] for name in ("swap", "battery")] == ["ok", "note"]
    assert "fails" not in {verdict for verdict, _ in told.values()}


def test_runtimes_that_would_be_brought_are_no_complaint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROFILER_CACHE", str(tmp_path / "cache"))
    index = only_index(tmp_path / "index", monkeypatch)
    for name in ("onnxruntime", "numpy"):
        write_wheel(index, name, "2.0")
    told = checked(board(tmp_path / "pi", RASPBERRY_PI), Device("ssh://pi@board"))
    assert told["runtime onnxruntime"] == ("ok", "1.31.1, CPUExecutionProvider")
    assert told["runtime litert"] == ("note", "not there; where wheels fit, it is brought with --runtime litert")
    # What was brought just now, and does not work, is a complaint.
    crashing = {"runtimes": {"onnxruntime": "does not work here: it crashed"}, "working_runtimes": []}
    told = checked(board(tmp_path / "other", RASPBERRY_PI, "3.11.2", **crashing), Device("ssh://pi@board"))
    assert told["runtime onnxruntime"] == ("note", "does not work here: it crashed")
    assert told["runtime"] == ("fails", "no runtime of onnx opens a session there")


@pytest.mark.parametrize(
    ("changes", "check", "said"),
    [
        ({"version": "3.7.3"}, "python", "is 3.7.3; the agent needs 3.8 or newer"),
        ({"version": "zsh: no"}, "python", "is no Python: asked for its version, it said 'zsh: no'"),
        ({"working_runtimes": ["litert"]}, "runtime", "no runtime of onnx opens a session there"),
        ({"environment": None}, "agent", "gave no such answer"),
        ({"disk_free_bytes": "much"}, "agent", "gave no such answer"),
    ],
)
def test_check_tells_what_fails(tmp_path: Path, changes: dict[str, object], check: str, said: str) -> None:
    version = str(changes.pop("version", "3.11.2"))
    verdict, sentence = checked(board(tmp_path, RASPBERRY_PI, version, **changes), Device())[check]
    assert verdict == "fails"
    assert said in sentence


def test_little_room_and_a_missing_python_are_told(tmp_path: Path) -> None:
    full = checked(board(tmp_path, RASPBERRY_PI, disk_free_bytes=20_000_000), Device())
    assert full["disk"] == ("note", "20 MB are free where the agent lies")
    silent = checked(board(tmp_path, RASPBERRY_PI, disk_free_bytes=None), Device())
    assert silent["disk"][0] == "note"

    def missing(arguments: Sequence[str], _standard_input: bytes) -> Iterable[str]:
        raise RemoteProgramError(arguments[0], "fake", 127, "not found")

    assert checked(FakeTransport(missing), Device(python="python9"))["python"] == (
        "fails",
        "the device has no program 'python9': name another with --python, or in the profile",
    )
