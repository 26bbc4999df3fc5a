"""The journal of a search and the measurer that answers from it; the files are real, the measurements made up."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from searcher.errors import BadInputError, SearcherError
from searcher.search.accounting import Session
from searcher.search.journalled import Journalled, identity_hash
from searcher.search.run_journal import OtherSearchError, RunJournal
from searcher.search.scores.measuring import Measured
from searcher.spaces.architecture import Architecture
from searcher.spaces.nasbench201 import NasBench201
from searcher.tables.journal import JournalInUseError, partial_path

SPACE = NasBench201()
REQUEST: dict[str, Any] = {"space": "nasbench201", "limits": [{"at_most": 3.5}], "evolution": {"seed": 4, "elite": 1}}
DRAWN = [SPACE.sample(np.random.default_rng(seed)) for _, seed in zip(range(4), (1, 3, 6, 7), strict=True)]
KEYS = [SPACE.score_key(one) for one in DRAWN]


class Awkward:
    """A measurer of numbers that a short decimal does not hold; it counts what it is asked for."""

    def __init__(self, seed: int = 0) -> None:
        self.asked: list[str] = []
        self.names = ("loss", "rmi")
        self.identity: Mapping[str, Any] = {"measurer": "awkward", "seed": seed}

    def measure(self, architectures: Sequence[Architecture]) -> list[Measured]:
        keys = [SPACE.score_key(one) for one in architectures]
        self.asked += keys
        return [self.found(key) for key in keys]

    def found(self, key: str) -> Measured:
        if key == KEYS[3]:
            return Measured({}, "its training diverged: «NaN» \n after 3 steps")
        return Measured({"loss": 0.1 + sum(key.encode()) / 3, "rmi": float(np.nextafter(0.3, 1)) * len(key)})


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "search.json.journal.jsonl"


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def begun(path: Path, measurer: Awkward, request: Mapping[str, Any] = REQUEST) -> None:
    """A search that is broken after two measurements and one generation."""
    with RunJournal(path) as journal:
        assert journal.begin(request) == ""
        journal.begin_generation(0, 0.5)
        Journalled(measurer, SPACE, journal).measure(DRAWN[2:])
        journal.finish_generation(0, ["a", "b"], "b", 1.5)
        journal.checkpoint(Session(2.0, 3.0, 4.0, 1))
        journal.begin_generation(1, 1.75)


def measuring(path: Path, measurer: Awkward, failure: BaseException | None = None) -> None:
    """A search that measures and fails, or ends without being finished."""
    with RunJournal(path) as journal:
        journal.begin(REQUEST)
        Journalled(measurer, SPACE, journal).measure(DRAWN)
        if failure is not None:
            raise failure


def repeating(path: Path, members: list[str], best: str) -> tuple[float, ...]:
    """A search that goes on and evaluates these in its first generation."""
    with RunJournal(path, resume=True) as journal:
        journal.begin(REQUEST)
        journal.finish_generation(0, members, best, 99.0)
        return journal.generation_s


def test_what_was_measured_comes_back_to_the_last_bit_and_is_not_measured_again(path: Path) -> None:
    begun(path, Awkward())
    measurer = Awkward()
    with RunJournal(path, resume=True) as journal:
        note = journal.begin(REQUEST)
        assert note == f"going on with the search of {path} (generations: 1, measurements: 2)"
        journalled = Journalled(measurer, SPACE, journal)
        assert (journalled.names, journalled.identity) == (measurer.names, measurer.identity)
        assert journalled.measure(DRAWN) == [Awkward().found(key) for key in KEYS]
        assert measurer.asked == KEYS[:2]
        assert journalled.measure(DRAWN[::-1]) == [Awkward().found(key) for key in KEYS[::-1]]
        assert (journal.begun_s, journal.generation_s, journal.stopped_after) == ((0.5, 1.75), (1.5,), None)
        assert journal.earlier == (Session(2.0, 3.0, 4.0, 1),)
        journal.finish()
    assert measurer.asked == KEYS[:2]
    assert not partial_path(path).exists()
    told = lines(path)
    assert [line["event"] for line in told] == [
        *("search", "spent", "begun", "measured", "measured", "generation", "spent", "begun"),
        *("spent", "measured", "measured"),
    ]
    assert told[0] == {"event": "search", "request": REQUEST, "schema_version": 1}
    assert [line["session"] for line in told if line["event"] == "spent"] == [1, 1, 2]
    assert {line["score_key"] for line in told if line["event"] == "measured"} == set(KEYS)


def test_the_first_run_meets_the_numbers_that_a_later_one_reads() -> None:
    class Single(Awkward):
        def found(self, key: str) -> Measured:
            return Measured({"loss": np.float32(0.1) * len(key), "rmi": np.float64(0.1)})  # type: ignore[dict-item]

    with RunJournal(None) as journal:
        journal.begin(REQUEST)
        (found,) = Journalled(Single(), SPACE, journal).measure(DRAWN[:1])
    assert {type(value) for value in found.values.values()} == {float}
    assert found.values["loss"] == float(np.float32(0.1) * np.float32(len(KEYS[0])))


def test_the_time_of_those_measured_together_is_shared(path: Path) -> None:
    times = iter((10.0, 13.0))
    with RunJournal(path) as journal:
        journal.begin(REQUEST)
        Journalled(Awkward(), SPACE, journal, lambda: next(times)).measure(DRAWN[:2])
    assert [line["seconds"] for line in lines(partial_path(path)) if line["event"] == "measured"] == [1.5, 1.5]


def test_measurers_of_another_identity_do_not_answer_for_each_other() -> None:
    first, other = Awkward(seed=0), Awkward(seed=1)
    assert identity_hash(first) != identity_hash(other)
    assert identity_hash(first) == identity_hash(Awkward(seed=0))
    with RunJournal(None) as journal:
        journal.begin(REQUEST)
        Journalled(first, SPACE, journal).measure(DRAWN)
        Journalled(other, SPACE, journal).measure(DRAWN)
    assert first.asked == other.asked == KEYS


def test_a_torn_last_line_is_cut_off(path: Path) -> None:
    begun(path, Awkward())
    whole = partial_path(path).read_bytes()
    with partial_path(path).open("ab") as file:
        file.write(b'{"event":"measured","measurer":"\xc3')
    with RunJournal(path, resume=True) as journal:
        journal.begin(REQUEST)
        assert partial_path(path).read_bytes().startswith(whole + b'{"event":"spent","session":2,')
    assert [line["event"] for line in lines(partial_path(path))[-2:]] == ["begun", "spent"]


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        ((b'"event":"measured"', b'"event":"guessed"'), "damaged in line 4"),
        ((b'"seconds":', b'"secs":'), r"damaged in line 4: measured\.seconds: field required"),
        ((b'"rmi":', b'"rmi":NaN,"x":'), "damaged in line 4: NaN is no number"),
        ((b'{"event":"begun"', b'{"event":"beg'), "damaged in line 3"),
        ((b'"schema_version":1', b'"schema_version":9'), "line 1: its schema version is '9', not 1"),
        ((b'{"event":"search"', b'{"event":"stopped","generations":1}\n{"event":"search"'), "line 1: only the first"),
        ((b'"problem"', b'"\xff"'), "damaged in line 4"),
    ],
)
def test_damage_anywhere_else_is_refused_and_left_as_it_is(path: Path, damage: tuple[bytes, bytes], said: str) -> None:
    begun(path, Awkward())
    partial = partial_path(path)
    partial.write_bytes(partial.read_bytes().replace(*damage, 1))
    before = partial.read_bytes()
    for resume in (True, False):
        with pytest.raises(BadInputError, match=said) as refused, RunJournal(path, resume):
            pass
        assert "\n" not in str(refused.value)
        assert "remove it" in str(refused.value)
    assert partial.read_bytes() == before


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"evolution": {"seed": 5, "elite": 2}}, r"evolution\.seed was 4, is 5;"),
        ({"limits": [{"at_most": 3.0}]}, r"limits\[0\]\.at_most was 3\.5, is 3\.0;"),
        ({"limits": []}, r'limits was \[\{"at_most": 3\.5\}\], is \[\];'),
        ({"space": "n" * 100}, 'space was "nasbench201", is "' + "n" * 59 + "…;"),
        ({"reference": "ab"}, 'reference was null, is "ab";'),
    ],
)
def test_another_search_is_refused_with_the_first_difference(path: Path, change: dict[str, Any], said: str) -> None:
    begun(path, Awkward())
    before = partial_path(path).read_bytes()
    with pytest.raises(OtherSearchError, match=said), RunJournal(path, resume=True) as journal:
        journal.begin({**REQUEST, **change})
    assert partial_path(path).read_bytes() == before


def test_tuples_are_what_they_become_in_the_file(path: Path) -> None:
    begun(path, Awkward(), {"rungs": (1, (2, 3))})
    with RunJournal(path, resume=True) as journal:
        assert journal.begin({"rungs": (1, (2, 3))}).startswith("going on")


def test_without_resume_an_unfinished_search_is_not_overwritten(path: Path) -> None:
    begun(path, Awkward())
    before = partial_path(path).read_bytes()
    said = r"holds an unfinished search \(measurements: 2\): go on with --resume, or remove it"
    with pytest.raises(BadInputError, match=said), RunJournal(path):
        pass
    assert partial_path(path).read_bytes() == before


def test_what_never_measured_anything_is_in_nobody_s_way(path: Path) -> None:
    with RunJournal(path) as journal:
        journal.begin({"space": "another"})
    assert len(lines(partial_path(path))) == 2
    with RunJournal(path) as journal:
        assert journal.begin(REQUEST) == ""
    assert lines(partial_path(path))[0]["request"] == REQUEST


def test_a_search_that_fails_before_it_begins_leaves_no_file(path: Path) -> None:
    with pytest.raises(SearcherError, match="impossible"), RunJournal(path):
        raise SearcherError("impossible")
    assert list(path.parent.iterdir()) == []


def test_an_error_says_where_the_measurements_are(path: Path) -> None:
    with pytest.raises(KeyboardInterrupt) as interrupted:
        measuring(path, Awkward(), KeyboardInterrupt())
    assert interrupted.value.__notes__ == [
        f"what was measured until then is kept in {partial_path(path)}: --resume goes on with it"
    ]


def test_two_processes_never_write_one_journal(path: Path) -> None:
    begun(path, Awkward())
    with RunJournal(path, resume=True) as journal:
        journal.begin(REQUEST)
        with pytest.raises(JournalInUseError, match="is being written by another run"), RunJournal(path, resume=True):
            pass
    assert len(lines(partial_path(path))) == 9


def test_resume_without_an_unfinished_search_takes_the_finished_one(path: Path) -> None:
    with RunJournal(path, resume=True) as journal:
        assert journal.begin(REQUEST) == f"no search of {path} is to go on: searching from the beginning"
        Journalled(Awkward(), SPACE, journal).measure(DRAWN)
        journal.finish()
    before = path.read_bytes()
    measurer = Awkward()
    with RunJournal(path, resume=True) as journal:
        assert journal.begin(REQUEST).startswith("going on")
        Journalled(measurer, SPACE, journal).measure(DRAWN)
        assert path.read_bytes() == before
        journal.finish()
    assert measurer.asked == []
    assert path.read_bytes().startswith(before)
    # Of another request it is nothing to go on with, and stays until the new one is finished.
    before = path.read_bytes()
    with RunJournal(path, resume=True) as journal:
        assert "from the beginning" in journal.begin({"space": "another"})
        Journalled(measurer, SPACE, journal).measure(DRAWN)
        assert path.read_bytes() == before
        journal.finish()
    assert measurer.asked == KEYS
    assert lines(path)[0]["request"] == {"space": "another"}


def test_a_search_that_does_not_repeat_itself_is_ended(path: Path) -> None:
    begun(path, Awkward())
    assert repeating(path, ["a", "b"], "b") == (1.5,)
    for members, best in ((["a", "c"], "b"), (["a", "b"], "a")):
        with pytest.raises(SearcherError, match=r"generation 0 is another one now .* begin anew, without --resume"):
            repeating(path, members, best)


def test_the_end_that_the_time_budget_made_is_kept(path: Path) -> None:
    begun(path, Awkward())
    with RunJournal(path, resume=True) as journal:
        journal.begin(REQUEST)
        journal.stop(1)
    with RunJournal(path, resume=True) as journal:
        journal.begin(REQUEST)
        assert journal.stopped_after == 1
        journal.stop(5)
        assert journal.stopped_after == 1


def test_what_a_session_spent_before_its_first_generation_counts_though_it_is_killed_there(path: Path) -> None:
    with RunJournal(path) as journal:
        journal.begin(REQUEST, Session(30.0, 55.0, 900.0))
    with RunJournal(path, resume=True) as journal:
        journal.begin(REQUEST)
        assert journal.earlier == (Session(30.0, 55.0, 900.0),)


def test_a_number_that_is_not_finite_is_no_measurement(path: Path) -> None:
    class Infinite(Awkward):
        def found(self, key: str) -> Measured:
            return Measured({"loss": float("inf")})

    with pytest.raises(SearcherError, match="not finite"):
        measuring(path, Infinite())
    assert [line["event"] for line in lines(partial_path(path))] == ["search", "spent"]


def test_a_journal_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match="cannot write the journal"), RunJournal(tmp_path / "missing" / "journal"):
        pass
