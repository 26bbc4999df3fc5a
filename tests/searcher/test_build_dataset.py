"""Building a dataset: on a device in memory, broken off and gone on with."""

from __future__ import annotations

import functools
import itertools
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from profiler_agent.records import parse_job
from searcher.cli import show
from searcher.devices.transport import TransportError
from searcher.errors import BadInputError
from searcher.reports.datasets import card_remarks
from searcher.spaces.block import CALL_OVERHEAD
from searcher.spaces.nasbench201 import NasBench201
from searcher.tables.dataset import ENDS, RANDOM, SPACE
from searcher.tables.dataset_card import CARD_DOCUMENT, card_path
from searcher.tables.dataset_file import read_dataset
from searcher.tables.journal import JournalInUseError
from searcher.tables.lookup_table import KeyMismatchError
from searcher.workflows.build_dataset import build_dataset
from searcher.workflows.dataset_store import opened
from tests.fakes import FakeTransport, Program
from tests.searcher.builders import KEY, QUICK, agent_program
from tests.searcher.dataset_builds import build, known_ms, request
from tests.searcher.kernel_rows import CALL_MS, roofline_ms


def test_rows_and_card_tell_what_was_measured(tmp_path: Path) -> None:
    path = tmp_path / "d.csv"
    card = build(request(path, types=("relu", "add"), space=NasBench201()))
    rows = read_dataset(path)
    assert Counter(one.kernel_type for one in rows) == {"relu": 10, "add": 10}
    assert all(one.latency_ms == pytest.approx(roofline_ms(one.spec), abs=2e-6) for one in rows)
    assert {(one.call_ms, one.rounds, one.key, one.sentinel_ms) for one in rows} == {(CALL_MS, 6, KEY, 0.08)}
    # The first round cannot predict, the second one does.
    assert Counter((one.drawing_round, one.predicted_ms is None) for one in rows) == {(0, True): 16, (1, False): 4}
    assert {one.origin for one in rows} == {RANDOM, ENDS, SPACE}
    assert CARD_DOCUMENT.load(card_path(path)) == card
    assert (card.rows, card.licence, card.draws[0].points) == (20, None, 10)
    assert sum(count.rows for count in card.counts) == 20
    assert set(card.domain) == {"relu", "add"}
    (conditions,) = card.conditions
    assert (conditions.key, conditions.rows, conditions.device, conditions.failures) == (KEY, 20, "local", {})
    assert conditions.environment is not None
    assert f"20 rows of {KEY.device_fingerprint} (local, a processor): {KEY.runtime}" in next(iter(card_remarks(card)))
    assert "torch" in conditions.exporter_versions
    assert {(one.kernel_type, one.drawing_round) for one in card.fresh_errors} == {("relu", 1), ("add", 1)}


def test_building_again_measures_nothing_and_more_points_extend(tmp_path: Path) -> None:
    path = tmp_path / "d.csv"
    build(request(path))
    before = path.read_bytes()
    again = FakeTransport(agent_program(known_ms))
    show.run(build_dataset(request(path), lambda _device: again))
    assert path.read_bytes() == before
    # Only the call was measured, to learn the key.
    jobs = [parse_job(run.standard_input.decode()) for run in again.runs if run.arguments[4] == "start"]
    assert [[block.block_id for block in job.blocks] for job in jobs] == [[CALL_OVERHEAD.key]]
    card = build(request(path, points=14))
    rows = read_dataset(path)
    assert path.read_text().startswith(before.decode().split("\n", 1)[0])
    assert len(rows) == 14 == len({one.spec for one in rows})
    assert [draw.points for draw in card.draws] == [10, 14]


def stopping_after(jobs: int, error: BaseException) -> Program:
    """A device that is lost, or a user who interrupts, in the job after so many."""
    begun = itertools.count()
    sound = agent_program(known_ms)

    def program(arguments: Sequence[str], standard_input: bytes) -> Iterable[str]:
        if arguments[4] == "follow" and next(begun) >= jobs:
            raise error
        return sound(arguments, standard_input)

    return program


@pytest.mark.parametrize("error", [KeyboardInterrupt(), TransportError("the board is gone")])
def test_what_was_measured_before_a_break_is_kept_and_gone_on_with(tmp_path: Path, error: BaseException) -> None:
    path = tmp_path / "d.csv"
    wanted = request(path, points=12)
    # One job tells the key, the next the first round.
    with pytest.raises(type(error)) as caught:
        build(wanted, stopping_after(2, error))
    assert caught.value.__notes__ == [f"{path} holds 8 kernels: building again goes on from there"]
    kept = read_dataset(path)
    assert len(kept) == 8
    assert CARD_DOCUMENT.load(card_path(path)).rows == 8
    card = build(wanted)
    rows = read_dataset(path)
    assert rows[:8] == kept
    assert len(rows) == 12
    assert len(card.draws) == 1


def test_rows_that_cannot_be_written_are_not_told_as_kept(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    path = folder / "d.csv"
    begun = itertools.count()
    sound = agent_program(known_ms)

    def program(arguments: Sequence[str], standard_input: bytes) -> Iterable[str]:
        # The job after that of the key and that of the first round.
        if arguments[4] == "follow" and next(begun) == 2:
            folder.rename(tmp_path / "away")
            folder.touch()
        return sound(arguments, standard_input)

    with pytest.raises(BadInputError, match="cannot write the dataset") as caught:
        build(request(path, points=12), program)
    assert caught.value.__notes__ == [f"{path} holds 8 kernels: building again goes on from there"]
    assert len(read_dataset(tmp_path / "away" / "d.csv")) == 8


def test_a_break_before_anything_was_measured_leaves_no_file(tmp_path: Path) -> None:
    path = tmp_path / "d.csv"
    with pytest.raises(KeyboardInterrupt):
        build(request(path), stopping_after(1, KeyboardInterrupt()))
    assert not path.exists()
    assert not card_path(path).exists()


def test_a_card_that_was_lost_in_a_crash_is_made_again(tmp_path: Path) -> None:
    path = tmp_path / "d.csv"
    card = build(request(path))
    card_path(path).unlink()
    made = build(request(path))
    assert (made.file_sha256, made.rows, made.counts) == (card.file_sha256, 10, card.counts)
    assert CARD_DOCUMENT.load(card_path(path)) == made


def test_the_licence_that_a_publisher_wrote_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "d.csv"
    card = build(request(path))
    CARD_DOCUMENT.save(replace(card, licence="CC0-1.0"), card_path(path))
    assert build(request(path, points=11)).licence == "CC0-1.0"


def test_the_card_of_a_file_that_is_gone_tells_nothing_of_a_new_one(tmp_path: Path) -> None:
    path = tmp_path / "d.csv"
    card = build(request(path, seed=1))
    CARD_DOCUMENT.save(replace(card, licence="CC0-1.0", part_of="another"), card_path(path))
    path.unlink()
    made = build(request(path, seed=2))
    assert [draw.seed for draw in made.draws] == [2]
    assert (made.licence, made.part_of) == ("CC0-1.0", None)


def test_columns_of_others_are_not_lost(tmp_path: Path) -> None:
    path = tmp_path / "d.csv"
    build(request(path))
    header, *lines = path.read_text().splitlines()
    path.write_text("".join(f"{line}\n" for line in (f"{header},note", *(f"{line},mine" for line in lines))))
    before = path.read_bytes()
    assert len(read_dataset(path)) == 10
    with pytest.raises(BadInputError, match="has a column 'note', which is none of a dataset's and would be lost"):
        build(request(path, points=11))
    assert path.read_bytes() == before


def test_rows_of_several_keys_lie_in_one_file(tmp_path: Path) -> None:
    path = tmp_path / "d.csv"
    sound, threaded = (agent_program(known_ms, key=key) for key in (KEY, replace(KEY, threads=2)))

    def program(arguments: Sequence[str], standard_input: bytes) -> Iterable[str]:
        if arguments[4] == "start":
            two = parse_job(standard_input.decode()).settings.threads == 2
            chosen[arguments[5]] = threaded if two else sound
        return chosen[arguments[5]](arguments, standard_input)

    chosen: dict[str, Callable[[Sequence[str], bytes], Iterable[str]]] = {}
    both = request(path, settings=[QUICK, replace(QUICK, threads=2)])
    notes = [one.note for one in build_dataset(both, lambda _device: FakeTransport(program))]
    assert not [one for one in notes if one.startswith("no kernel in it")], "both were asked for"
    card = build(both, program)
    assert Counter(one.key.threads for one in read_dataset(path)) == {1: 10, 2: 10}
    assert [one.rows for one in card.conditions] == [10, 10]


def test_going_on_under_other_conditions_is_told(tmp_path: Path) -> None:
    path, other = tmp_path / "d.csv", replace(KEY, device_fingerprint="aarch64-1")
    told = []
    for key in (KEY, other, other):
        transport = FakeTransport(agent_program(known_ms, key=key))
        work = build_dataset(request(path), functools.partial(lambda way, _device: way, transport))
        told.append([one.note for one in work if one.note.startswith("no kernel in it")])
    differs = "no kernel in it was measured under these conditions: device_fingerprint was 'x86_64-0', is 'aarch64-1'"
    assert told == [[], [differs], []]


def test_a_key_that_changes_between_jobs_ends_the_build(tmp_path: Path) -> None:
    path = tmp_path / "d.csv"
    programs = [agent_program(known_ms), agent_program(known_ms, key=replace(KEY, runtime_version="9"))]
    starts = itertools.count()
    by_folder: dict[str, Program] = {}

    def program(arguments: Sequence[str], standard_input: bytes) -> Iterable[str]:
        chosen = by_folder.setdefault(
            arguments[5], programs[min(next(starts), 1)] if arguments[4] == "start" else sound
        )
        return chosen(arguments, standard_input)

    sound = programs[0]
    with pytest.raises(KeyMismatchError, match=r"runtime_version was '1\.31\.1', is '9'"):
        build(request(path), program)
    assert not path.exists()


def in_own_numbers(precision: str) -> Program:
    """A device of another precision, on which the number type changes nothing."""
    key = replace(KEY, precision=precision)
    return agent_program(lambda name: known_ms(name.replace(f"-{precision}", "-fp32")), key=key)


def test_kernels_of_int8_are_files_of_that(tmp_path: Path) -> None:
    path = tmp_path / "d.csv"
    settings = [replace(QUICK, precision="int8")]
    wanted = request(path, types=("pointwise", "relu", "fully_connected"), points=8, settings=settings)
    card = build(wanted, in_own_numbers("int8"))
    rows = read_dataset(path)
    assert Counter(one.kernel_type for one in rows) == {"pointwise": 8, "fully_connected": 8}
    assert {(one.spec.dtype, one.key.precision) for one in rows} == {("int8", "int8")}
    assert (card.conditions[0].calibration or "").startswith("normal numbers away from 0")
    # Every kernel is a file of its own.
    assert len({one.model_sha256 for one in rows}) == len(rows)


def test_the_budget_ends_between_jobs(tmp_path: Path) -> None:
    path = tmp_path / "d.csv"
    clock = itertools.count(0.0, 10.0)
    wanted = request(path, points=30, budget_s=25.0)
    device = FakeTransport(agent_program(known_ms))
    show.run(build_dataset(wanted, lambda _device: device, lambda: next(clock)))
    assert len(read_dataset(path)) == 8
    nothing = request(tmp_path / "e.csv", budget_s=5.0)
    with pytest.raises(BadInputError, match="the budget was over before a kernel was measured"):
        show.run(build_dataset(nothing, lambda _device: FakeTransport(agent_program(known_ms)), lambda: next(clock)))


def test_later_jobs_are_held_against_the_first_ones_sentinel(tmp_path: Path) -> None:
    device = FakeTransport(agent_program(known_ms))
    show.run(build_dataset(request(tmp_path / "d.csv"), lambda _device: device))
    jobs = [parse_job(run.standard_input.decode()) for run in device.runs if run.arguments[4] == "start"]
    assert [job.settings.sentinel_ns for job in jobs] == [None, None, 80_000.0]


def test_two_builds_of_one_file_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "d.csv"
    with opened(path), pytest.raises(JournalInUseError, match="written by another run"):
        build(request(path))


def test_a_file_that_is_no_dataset_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "d.csv"
    path.write_text("a,b\n1,2\n")
    with pytest.raises(BadInputError, match="no dataset of kernels"):
        build(request(path))
    assert path.read_text() == "a,b\n1,2\n"


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"types": ("relu", "lstm")}, "not of 'lstm'"),
        ({"types": ()}, "not of none"),
        ({"types": ("relu", "relu")}, "different types"),
        ({"points": 7}, "8 kernels of a type at least, not 7"),
        ({"out": Path("d.json")}, r"FILE\.csv or FILE\.parquet"),
        ({"settings": [replace(QUICK, precision="int8")]}, "relu are no kernels by themselves in int8"),
        (
            {"types": ("div", "relu"), "settings": [replace(QUICK, precision="int8")]},
            "div, relu are no kernels by themselves in int8",
        ),
        ({"settings": [replace(QUICK, precision="int4")]}, "unknown number type"),
        ({"settings": [replace(QUICK, runtime="unknown")]}, "unknown runtime"),
    ],
)
def test_what_cannot_be_built_is_refused_at_once(tmp_path: Path, changes: dict[str, object], sentence: str) -> None:
    with pytest.raises(BadInputError, match=sentence):
        request(tmp_path / "d.csv", **changes)
