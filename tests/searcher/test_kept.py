"""The cache of measurements: exact, shared by processes, and harmless however it is damaged."""

from __future__ import annotations

import fcntl
import json
import math
import multiprocessing
import os
import signal
import struct
import tempfile
import time
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from searcher.search.scores.kept import Kept, kept_path
from searcher.search.scores.measured_file import MeasuredFile
from searcher.search.scores.measuring import Measured
from searcher.spaces.architecture import Architecture
from searcher.spaces.nasbench201 import NasBench201
from tests.searcher.measurers import FakeMeasurer

SPACE = NasBench201()
IDENTITY = {"measurer": "none", "seed": 0}


def some_cells(count: int) -> list[Architecture]:
    """Connected cells that are trained for all that train alike."""
    connected = (SPACE.representative(one) for one in SPACE.architectures() if SPACE.is_connected(one))
    return list(islice(dict.fromkeys(islice(connected, 4 * count)), count))


CELLS = some_cells(40)
KEYS = [SPACE.score_key(one) for one in CELLS]


def bits(answers: Sequence[Measured]) -> list[tuple[dict[str, bytes], str | None]]:
    return [({name: struct.pack("<d", one.values[name]) for name in one.values}, one.problem) for one in answers]


def test_the_second_time_nothing_is_measured_and_nothing_differs(tmp_path: Path) -> None:
    first = Kept(FakeMeasurer(SPACE, problems={KEYS[3]: "it diverged"}), SPACE, tmp_path)
    measured = first.measure(CELLS)
    assert (first.hits, first.misses, first.trouble) == (0, 40, None)
    idle = FakeMeasurer(SPACE)
    second = Kept(idle, SPACE, tmp_path)
    assert bits(second.measure(CELLS)) == bits(measured) == bits(first.measure(CELLS))
    assert measured[3] == Measured({}, "it diverged")
    assert idle.asked == []
    assert (second.hits, second.misses) == (40, 0)


def test_only_what_is_new_is_measured(tmp_path: Path) -> None:
    Kept(FakeMeasurer(SPACE), SPACE, tmp_path).measure(CELLS[10:20])
    asked = FakeMeasurer(SPACE)
    kept = Kept(asked, SPACE, tmp_path)
    assert bits(kept.measure(CELLS)) == bits(FakeMeasurer(SPACE).measure(CELLS))
    assert asked.asked == KEYS[:10] + KEYS[20:]
    assert (kept.hits, kept.misses) == (10, 30)


def test_cells_of_one_key_in_one_call_are_measured_once(tmp_path: Path) -> None:
    asked = FakeMeasurer(SPACE)
    answers = Kept(asked, SPACE, tmp_path).measure([CELLS[0], CELLS[1], CELLS[0]])
    assert answers[0] == answers[2] != answers[1]
    assert asked.asked == KEYS[:2]


def test_measurers_of_another_identity_share_nothing(tmp_path: Path) -> None:
    measurers = [FakeMeasurer(SPACE), FakeMeasurer(SPACE, seed=1), FakeMeasurer(SPACE, ("loss",))]
    for measurer in measurers:
        assert bits(Kept(measurer, SPACE, tmp_path).measure(CELLS)) == bits(measurer.measure(CELLS))
    assert len(list(tmp_path.iterdir())) == len({kept_path(one, tmp_path) for one in measurers}) == 3


def test_the_cache_folder_is_the_users_unless_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROFILER_CACHE", str(tmp_path))
    measurer = FakeMeasurer(SPACE)
    Kept(measurer, SPACE).measure(CELLS[:1])
    assert kept_path(measurer).is_file()
    assert kept_path(measurer).parent == tmp_path / "scores"


@settings(max_examples=50)
@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=20))
def test_every_float_comes_back_to_the_last_bit(numbers: list[float]) -> None:
    told = {f"key {index}": Measured({"a": number}) for index, number in enumerate(numbers)}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.jsonl"
        MeasuredFile(path, IDENTITY, ("a",)).append(told)
        read = MeasuredFile(path, IDENTITY, ("a",)).read()
    assert list(read) == list(told)
    assert bits(list(read.values())) == bits(list(told.values()))


def test_what_is_no_number_is_measured_again(tmp_path: Path) -> None:
    file = MeasuredFile(tmp_path / "a.jsonl", IDENTITY, ("a",))
    file.append({"good": Measured({"a": 1.5}), "bad": Measured({"a": math.nan}), "huge": Measured({"a": math.inf})})
    assert set(file.read()) == {"good"}


def test_a_file_cut_anywhere_keeps_what_is_whole_and_takes_more(tmp_path: Path) -> None:
    measurer = FakeMeasurer(SPACE)
    path = kept_path(measurer, tmp_path)
    expected = bits(measurer.measure(CELLS[:4]))
    Kept(measurer, SPACE, tmp_path).measure(CELLS[:3])
    whole = path.read_bytes()
    ends = [index + 1 for index, byte in enumerate(whole) if byte == ord("\n")]
    assert len(ends) == 4
    for cut in range(0, len(whole), 11):
        path.write_bytes(whole[:cut])
        kept = Kept(FakeMeasurer(SPACE), SPACE, tmp_path)
        assert bits(kept.measure(CELLS[:4])) == expected
        # The last line is whole only with its end.
        assert kept.hits == max(0, sum(end <= cut for end in ends) - 1)
        again = Kept(FakeMeasurer(SPACE), SPACE, tmp_path)
        assert bits(again.measure(CELLS[:4])) == expected
        assert (again.hits, again.trouble) == (4, None)


def test_damaged_lines_are_passed_over(tmp_path: Path) -> None:
    measurer = FakeMeasurer(SPACE)
    path = kept_path(measurer, tmp_path)
    Kept(measurer, SPACE, tmp_path).measure(CELLS)
    expected, whole = bits(measurer.measure(CELLS)), path.read_bytes()
    head = whole.index(b"\n") + 1
    places, noticed = range(head, len(whole), 137), 0
    for place in places:
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        kept = Kept(FakeMeasurer(SPACE), SPACE, tmp_path)
        assert bits(kept.measure(CELLS)) == expected
        # One line at most, or two that became one. (A last digit may change and be of the same number.)
        assert 38 <= kept.hits <= 40
        noticed += kept.hits < 40
    assert noticed >= 0.9 * len(places)
    assert not list(tmp_path.glob("*.damaged-*"))


@pytest.mark.parametrize(
    "content",
    [b"\0" * 5000, b"{}\n", b"words\n" * 50, b'{"schema_version":2}\n', b"[" * 100_000 + b"\n", b"\xff\xfe\n1e400\n"],
)
def test_a_file_that_is_none_is_set_aside_and_not_lost(tmp_path: Path, content: bytes) -> None:
    measurer = FakeMeasurer(SPACE)
    path = kept_path(measurer, tmp_path)
    path.write_bytes(content)
    first = Kept(measurer, SPACE, tmp_path)
    assert bits(first.measure(CELLS)) == bits(measurer.measure(CELLS))
    assert first.hits == 0
    second = Kept(measurer, SPACE, tmp_path)
    second.measure(CELLS)
    assert second.hits == 40
    (aside,) = tmp_path.glob("*.damaged-*")
    assert aside.read_bytes() == content


@pytest.mark.parametrize(
    "line",
    [
        {"score_key": "key", "values": {"a": 1.0, "b": 2.0}, "problem": None},
        {"score_key": "key", "values": {}, "problem": None},
        {"score_key": "key", "values": {"a": "1.0"}, "problem": None},
        {"score_key": "key", "values": [1.0], "problem": None},
        {"score_key": "key", "values": {"a": 1.0}, "problem": "both"},
        {"score_key": 5, "values": {"a": 1.0}, "problem": None},
        ["score_key"],
    ],
)
def test_lines_of_another_form_are_passed_over(tmp_path: Path, line: object) -> None:
    file = MeasuredFile(tmp_path / "a.jsonl", IDENTITY, ("a",))
    file.append({"good": Measured({"a": 1.5})})
    with (tmp_path / "a.jsonl").open("a") as text:
        text.write(json.dumps(line) + "\n")
    assert dict(MeasuredFile(tmp_path / "a.jsonl", IDENTITY, ("a",)).read()) == {"good": Measured({"a": 1.5})}


def test_a_folder_that_takes_nothing_costs_the_cache_alone(tmp_path: Path) -> None:
    (tmp_path / "scores").write_text("a file is in the way")
    kept = Kept(FakeMeasurer(SPACE), SPACE, tmp_path / "scores")
    assert bits(kept.measure(CELLS)) == bits(FakeMeasurer(SPACE).measure(CELLS))
    assert kept.trouble is not None
    assert kept.trouble.startswith("scores are not kept: cannot ")
    assert kept.misses == 40


def test_what_another_process_adds_is_seen_without_opening_anew(tmp_path: Path) -> None:
    mine, other = (MeasuredFile(tmp_path / "a.jsonl", IDENTITY, ("a",)) for _ in range(2))
    assert dict(mine.read()) == {}
    other.append({"x": Measured({"a": 1.0})})
    assert set(mine.read()) == {"x"}
    other.append({"y": Measured({"a": 2.0})})
    assert set(mine.read()) == {"x", "y"}
    (tmp_path / "a.jsonl").unlink()
    assert set(mine.read()) == set()
    other.append({"z": Measured({"a": 3.0})})
    assert set(mine.read()) == {"z"}


def write_all(folder: Path, offset: int) -> None:
    kept = Kept(FakeMeasurer(SPACE), SPACE, folder)
    order = CELLS[offset:] + CELLS[:offset]
    for index in range(0, len(order), 2):
        assert bits(kept.measure(order[index : index + 2])) == bits(
            FakeMeasurer(SPACE).measure(order[index : index + 2])
        )
    assert kept.trouble is None


@pytest.mark.parametrize("damaged", [False, True])
def test_many_processes_write_one_file_at_once(tmp_path: Path, damaged: bool) -> None:
    path = kept_path(FakeMeasurer(SPACE), tmp_path)
    if damaged:
        path.write_bytes(b"of somebody else\n")
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=write_all, args=(tmp_path, 10 * number)) for number in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0] * 4
    lines = path.read_bytes().splitlines()
    assert {json.loads(line).get("score_key") for line in lines[1:]} == set(KEYS)
    kept = Kept(FakeMeasurer(SPACE), SPACE, tmp_path)
    kept.measure(CELLS)
    assert kept.hits == 40
    # Of several that find the damage one sets it aside, and none sets aside the new file of another.
    assert len(list(tmp_path.glob("*.damaged-*"))) == int(damaged)


def test_a_file_that_another_process_sets_aside_just_now_takes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, aside = tmp_path / "a.jsonl", tmp_path / "a.damaged-of-another"
    path.write_text("of somebody else\n")
    lock = fcntl.flock

    def lock_too_late(descriptor: int, operation: int) -> None:
        # The other process had the lock, and by now the opened file has another name.
        if not aside.exists():
            path.rename(aside)
            MeasuredFile(path, IDENTITY, ("a",)).append({"theirs": Measured({"a": 1.0})})
        lock(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", lock_too_late)
    file = MeasuredFile(path, IDENTITY, ("a",))
    file.append({"mine": Measured({"a": 2.0})})
    assert set(file.read()) == {"theirs", "mine"}
    assert aside.read_text() == "of somebody else\n"
    assert sorted(tmp_path.iterdir()) == [aside, path]


def append_for_ever(path: Path) -> None:
    file = MeasuredFile(path, IDENTITY, ("a",))
    number = 0
    while True:
        file.append({f"{number + index}": Measured({"a": (number + index) / 7}) for index in range(200)})
        number += 200


def test_a_writer_that_is_killed_takes_nothing_with_it(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    for round_number in range(5):
        path = tmp_path / f"{round_number}.jsonl"
        process = context.Process(target=append_for_ever, args=(path,))
        process.start()
        give_up_s = time.monotonic() + 30
        while not path.exists() or path.stat().st_size < 30_000 * (round_number + 1):
            assert time.monotonic() < give_up_s
            time.sleep(0.001)
        assert process.pid is not None
        os.kill(process.pid, signal.SIGKILL)
        process.join()
        file = MeasuredFile(path, IDENTITY, ("a",))
        before = dict(file.read())
        assert before == {key: Measured({"a": int(key) / 7}) for key in map(str, range(len(before)))}
        assert len(before) > 100
        file.append({"after": Measured({"a": 0.1})})
        assert dict(MeasuredFile(path, IDENTITY, ("a",)).read()) == {**before, "after": Measured({"a": 0.1})}


def test_as_many_answers_as_the_benchmark_has_keys_are_kept(tmp_path: Path) -> None:
    every = {f"key {number}": Measured({"a": 1 / (1 + number)}) for number in range(6466)}
    MeasuredFile(tmp_path / "a.jsonl", IDENTITY, ("a",)).append(every)
    assert dict(MeasuredFile(tmp_path / "a.jsonl", IDENTITY, ("a",)).read()) == every
