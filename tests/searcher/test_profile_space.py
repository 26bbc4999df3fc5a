"""Profiling on a device in memory: what lies on the disk when it goes well, and when it does not."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from profiler_agent.records import Event, Measured, format_event
from searcher.cli import show
from searcher.devices.answers import DeviceAnswerError, MeasurementFailedError
from searcher.devices.device import Device
from searcher.devices.transport import TransportError
from searcher.errors import BadInputError
from searcher.spaces.block import measurable
from searcher.spaces.nasbench201 import NasBench201
from searcher.tables.journal import Journal, journal_path, partial_path
from searcher.tables.lookup_table import TABLE_DOCUMENT, KeyMismatchError, LookupTable
from searcher.workflows.profile_space import ProfileRequest, profile_space
from tests.fakes import FakeTransport, Program
from tests.searcher.builders import KEY, QUICK, agent_program, table

SPACE = NasBench201()


def request(path: Path, overwrite: bool = False) -> ProfileRequest:
    return ProfileRequest(SPACE, Device(), QUICK, path, overwrite=overwrite)


def profile(path: Path, program: Program, overwrite: bool = False) -> LookupTable:
    return show.run(profile_space(request(path, overwrite), lambda _device: FakeTransport(program)))


def sound(latency_ms: float = 1.0) -> Program:
    return agent_program(lambda _name: latency_ms)


def ending(then: Callable[[list[Event]], Iterable[str]]) -> Program:
    return agent_program(lambda _name: 1.0, change=then)


def lines_then(error: BaseException, count: int) -> Program:
    def change(events: list[Event]) -> Iterable[str]:
        yield from map(format_event, events[:count])
        raise error

    return ending(change)


def names(folder: Path) -> list[str]:
    return sorted(one.name for one in folder.iterdir())


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_table_and_journal_belong_together(tmp_path: Path) -> None:
    made = profile(tmp_path / "pi.json", sound())
    assert names(tmp_path) == ["pi.json", "pi.json.journal.jsonl"]
    assert TABLE_DOCUMENT.load(tmp_path / "pi.json") == made
    assert made.provenance.journal_sha256 == sha256(tmp_path / "pi.json.journal.jsonl")
    events = [json.loads(line)["event"] for line in (tmp_path / "pi.json.journal.jsonl").read_text().splitlines()]
    assert events == ["hello", *["measured"] * 20 * QUICK.rounds, "done"]


def test_an_int8_table_holds_int8_blocks_and_how_far_off_they_are(tmp_path: Path) -> None:
    path = tmp_path / "pi.json"
    key, settings = replace(KEY, precision="int8"), replace(QUICK, precision="int8")
    wanted = ProfileRequest(SPACE, Device(), settings, path)
    program = agent_program(lambda _name: 1.0, key=key)
    made = show.run(profile_space(wanted, lambda _device: FakeTransport(program)))
    assert set(made.entries) == {block.key for block in measurable(SPACE.all_blocks(), "int8")}
    assert all(entry.numerical_error is not None for entry in made.entries.values())
    assert made.provenance.calibration is not None
    assert made.provenance.calibration.startswith("digits")
    assert "onnxruntime" in made.provenance.versions
    # What is measured in fp32 never replaces it.
    with pytest.raises(KeyMismatchError, match="precision was 'int8', is 'fp32'"):
        profile(path, sound())
    assert TABLE_DOCUMENT.load(path) == made


def test_no_two_tables_share_a_journal(tmp_path: Path) -> None:
    tables = [tmp_path / name for name in ("rpi-1.5.json", "rpi-1.8.json", "rpi-1.5", "rpi-1", "rpi-1.json")]
    assert len({journal_path(one) for one in tables} | {partial_path(journal_path(one)) for one in tables}) == 10


@pytest.mark.parametrize(
    ("error", "kept"), [(TransportError("the device refuses"), 100), (KeyboardInterrupt(), 7), (RuntimeError(), 3)]
)
def test_what_was_measured_outlives_a_failure(
    tmp_path: Path, error: BaseException, kept: int, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "pi.json"
    with pytest.raises(type(error)) as caught:
        profile(path, lines_then(error, kept))
    assert names(tmp_path) == ["pi.json.journal.jsonl.partial"]
    partial = partial_path(journal_path(path))
    assert len(partial.read_text().splitlines()) == kept
    where, way_on = caught.value.__notes__
    assert where == f"what was measured until then is kept in {partial}"
    assert re.fullmatch(r"the job (\w{8}) can go on: searcher profile … --resume, or searcher jobs attach \1", way_on)
    assert f"is kept in {partial}" in capsys.readouterr().err.replace("\n", "")


def test_each_event_is_on_the_disk_before_the_next_is_asked_for(tmp_path: Path) -> None:
    partial = partial_path(journal_path(tmp_path / "pi.json"))
    seen: list[int] = []

    def change(events: list[Event]) -> Iterable[str]:
        for event in events:
            yield format_event(event)
            seen.append(len(partial.read_text().splitlines()))

    profile(tmp_path / "pi.json", ending(change))
    assert seen == list(range(1, len(seen) + 1))


def test_a_failed_block_leaves_the_others_in_the_partial_journal_and_no_table(tmp_path: Path) -> None:
    failing = frozenset({SPACE.stem.key})
    with pytest.raises(MeasurementFailedError, match="it crashed"):
        profile(tmp_path / "pi.json", agent_program(lambda _name: 1.0, failing=failing))
    assert names(tmp_path) == ["pi.json.journal.jsonl.partial"]
    assert (tmp_path / names(tmp_path)[0]).read_text().count('"measured"') >= 16 * QUICK.rounds


def test_a_failure_leaves_an_earlier_table_with_its_own_journal(tmp_path: Path) -> None:
    path = tmp_path / "pi.json"
    profile(path, sound())
    before = path.read_bytes()
    with pytest.raises(DeviceAnswerError):
        profile(path, ending(lambda events: [format_event(event) for event in events[:-1]]))
    assert path.read_bytes() == before
    assert TABLE_DOCUMENT.load(path).provenance.journal_sha256 == sha256(journal_path(path))
    remeasured = profile(path, sound(2.0))
    assert remeasured.entry(SPACE.stem.key).median_ms == 2.0
    assert names(tmp_path) == ["pi.json", "pi.json.journal.jsonl"]


def test_a_device_that_never_answers_leaves_an_earlier_partial_journal(tmp_path: Path) -> None:
    with pytest.raises(TransportError):
        profile(tmp_path / "pi.json", lines_then(TransportError("no"), 50))
    with pytest.raises(TransportError) as caught:
        profile(tmp_path / "pi.json", lines_then(TransportError("no"), 0))
    assert not hasattr(caught.value, "__notes__")
    assert len(partial_path(journal_path(tmp_path / "pi.json")).read_text().splitlines()) == 50


def test_a_table_that_cannot_get_its_name_tells_that_its_journal_is_foreign(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "pi.json"
    profile(path, sound())
    rename = Path.replace

    def refuse(self: Path, target: Path) -> Path:
        if Path(target) == path:
            raise OSError(28, "No space left on device")
        return rename(self, target)

    monkeypatch.setattr(Path, "replace", refuse)
    with pytest.raises(BadInputError, match=r"cannot write the lookup table .*pi\.json: No space left"):
        profile(path, sound(2.0))
    assert TABLE_DOCUMENT.load(path).entry(SPACE.stem.key).median_ms == 1.0
    assert TABLE_DOCUMENT.load(path).provenance.journal_sha256 != sha256(journal_path(path))


def test_a_journal_on_a_full_disk_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    event = Measured("job", "block", 0, 0, (1,), 1, 0, 0.0, True, True)
    with (
        pytest.raises(BadInputError, match=r"cannot write the journal .*No space left"),
        Journal(tmp_path / "j", "job") as one,
    ):
        one.append(event)


def test_another_key_ends_the_agent_at_its_first_line(tmp_path: Path) -> None:
    path = tmp_path / "pi.json"
    TABLE_DOCUMENT.save(table(SPACE, lambda _block: 1.0), path)
    elsewhere = replace(KEY, device_fingerprint="aarch64-0")
    transport = FakeTransport(agent_program(lambda _name: 1.0, key=elsewhere))
    # The error is held, and with it every frame that it passed: only closing ends the agent here.
    with pytest.raises(KeyMismatchError) as caught:
        deque(profile_space(request(path), lambda _device: transport), maxlen=0)
    assert caught.value.__traceback__ is not None
    assert transport.ended == len(transport.runs)
    assert transport.runs[-1].arguments[4] == "cancel"
    assert names(tmp_path) == ["pi.json"]


def test_a_key_that_commands_the_terminal_is_refused(tmp_path: Path) -> None:
    program = agent_program(lambda _name: 1.0, key=replace(KEY, runtime_version="1.31\033[2J"))
    with pytest.raises(DeviceAnswerError, match="its key holds control characters"):
        profile(tmp_path / "pi.json", program)
    assert names(tmp_path) == []


def test_work_that_is_dropped_ends_the_agent(tmp_path: Path) -> None:
    transport = FakeTransport(sound())
    work = profile_space(request(tmp_path / "pi.json"), lambda _device: transport)
    while next(work).stage != "measure blocks":
        pass
    assert [run.arguments[4] for run in transport.runs] == ["start", "follow"]
    assert transport.ended == 1
    work.close()
    assert transport.runs[-1].arguments[4] == "stop"
    assert (transport.ended, transport.closed) == (3, True)


def test_places_that_cannot_be_written_are_found_before_the_device_is_asked(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "blocked.json.journal.jsonl").mkdir()
    for place in (tmp_path, tmp_path / "file" / "t.json", Path("/proc/t.json"), tmp_path / "blocked.json"):
        with pytest.raises(BadInputError, match="cannot write the"):
            profile(place, _never_run, overwrite=True)
    assert names(tmp_path) == ["blocked.json.journal.jsonl", "file"]


def _never_run(_arguments: Sequence[str], _standard_input: bytes) -> Iterable[str]:
    pytest.fail("the device was asked")


def test_two_runs_never_write_one_journal(tmp_path: Path) -> None:
    path = journal_path(tmp_path / "table.json")
    event = Measured("job", "block", 0, 0, (1,), 1, 0, 0.0, True, True)
    with Journal(path, "job") as first, Journal(path, "job") as second:
        first.append(event)
        with pytest.raises(BadInputError, match="is being written by another run"):
            second.append(event)
        first.append(event)
        assert len(partial_path(path).read_text().splitlines()) == 2
