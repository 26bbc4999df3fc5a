"""The course of a search that is broken and goes on: real evolution, evaluation and journal, made-up measurements."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from itertools import count
from pathlib import Path
from typing import NamedTuple

import pytest

from searcher.search.accounting import Account, Rates, Spent
from searcher.search.candidate import Candidate, GenerationRecord
from searcher.search.evaluator import Evaluator, Rung
from searcher.search.evolution import EvolutionSettings, evolve
from searcher.search.journalled import Journalled
from searcher.search.preference import debs
from searcher.search.run_journal import RunJournal
from searcher.search.scores.measuring import Measured
from searcher.search.scores.named_scores import RMI
from searcher.spaces.architecture import Architecture
from searcher.spaces.nasbench201 import NasBench201
from searcher.tables.journal import partial_path
from searcher.workflows.progress import Progress
from searcher.workflows.search_run import SearchRun

SPACE = NasBench201()
SETTINGS = EvolutionSettings(population=6, generations=5, seed=2)
TOTAL = SETTINGS.generations + 1


class Killed(BaseException):
    """The process ends here."""


class Scores:
    """Values by score key, on two rungs; dies when it is asked for more than it has left."""

    names = ("rmi",)

    def __init__(self, rung: int, left: Iterable[int]) -> None:
        self.identity = {"rung": rung}
        self._rung = rung
        self._left = iter(left)

    def measure(self, architectures: Sequence[Architecture]) -> list[Measured]:
        for _ in architectures:
            if next(self._left, None) is None:
                raise Killed
        return [self._found(one) for one in architectures]

    def _found(self, architecture: Architecture) -> Measured:
        key = SPACE.score_key(architecture).encode()
        if sum(key) % 11 == 0:
            return Measured({}, "its training diverged")
        return Measured({"rmi": sum(byte * (1 + place % 7) for place, byte in enumerate(key)) / 7 ** (1 + self._rung)})


class Outcome(NamedTuple):
    """What a search found and spent."""

    candidates: tuple[Candidate, ...]
    history: list[GenerationRecord]
    spent: Spent
    told: list[Progress]


class Clock:
    """Tells a time that grows by a second for each look, or stands still."""

    def __init__(self, step_s: float = 1.0) -> None:
        self.now_s = 0.0
        self.step_s = step_s

    def __call__(self) -> float:
        self.now_s += self.step_s
        return self.now_s


def search(
    path: Path | None,
    measurements: int | None = None,
    deadline_s: float | None = None,
    resume: bool = False,
    clock: Callable[[], float] | None = None,
) -> Outcome:
    """Run a search that is killed after so many measurements."""
    left = iter(count() if measurements is None else range(measurements))
    account = Account(clock or Clock(), lambda: 7.0, lambda _now_s: None)
    told: list[Progress] = []
    with RunJournal(path, resume) as journal:
        journal.begin({"evolution": dataclasses.asdict(SETTINGS)})
        account.go_on(journal.earlier)
        rungs = [Rung(Journalled(Scores(rung, left), SPACE, journal), 0.5) for rung in (0, 1)]
        evaluator = Evaluator(SPACE, (), rungs, RMI, screens=True)
        run = SearchRun(evaluator, journal, account, deadline_s)
        work = run.follow(evolve(SPACE, evaluator.evaluate, debs, SETTINGS), TOTAL)
        while True:
            try:
                told.append(next(work))
            except StopIteration as finished:
                history = finished.value
                break
        outcome = Outcome(evaluator.candidates, history, run.spent(Rates()), told)
        journal.finish()
    return outcome


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "search.json.journal.jsonl"


def test_broken_anywhere_a_search_ends_like_an_unbroken_one(path: Path) -> None:
    unbroken = search(None)
    assert len(unbroken.history) == TOTAL
    needed = unbroken.history[-1].trainings
    assert needed > 3 * SETTINGS.population
    for measurements in range(0, needed, 5):
        with pytest.raises(Killed):
            search(path, measurements, resume=True)
        again = search(path, resume=True)
        assert again[:2] == unbroken[:2]
        assert again.spent.sessions == 2
        path.unlink()


def test_killed_again_and_again_it_still_ends_like_an_unbroken_one(path: Path) -> None:
    unbroken = search(None)
    sessions = 0
    while True:
        sessions += 1
        try:
            # Enough for the largest call of all: what is measured together is kept together.
            again = search(path, SETTINGS.population, resume=True)
            break
        except Killed:
            assert sessions < TOTAL * 2
    assert sessions > 2
    assert again[:2] == unbroken[:2]
    assert (again.spent.sessions, again.spent.energy_method) == (sessions, "estimate")
    assert not partial_path(path).exists()


def test_seconds_add_up_over_the_sessions_and_are_told_once(path: Path) -> None:
    with pytest.raises(Killed):
        search(path, 8)
    first = search(path, resume=True)
    again = search(path, resume=True)
    assert again.spent.sessions == first.spent.sessions + 1 == 3
    assert again.spent.wall_s > first.spent.wall_s
    assert again.spent.generation_s == first.spent.generation_s
    assert len(first.spent.generation_s) == TOTAL
    assert list(first.spent.generation_s) == sorted(first.spent.generation_s)


def test_the_time_budget_ends_a_search_where_it_ended_it_before(path: Path) -> None:
    whole = search(None)
    ended = search(path, deadline_s=whole.spent.generation_s[3])
    assert 1 < len(ended.history) < TOTAL
    assert "time budget ends the search after" in ended.told[-1].note
    # No time passes at all now, so that the clock alone would end it nowhere.
    again = search(path, deadline_s=1e9, resume=True, clock=Clock(0.0))
    assert again[:2] == ended[:2]
    assert again.told[-1].note == ended.told[-1].note


def test_the_time_budget_never_ends_a_search_before_what_was_begun(path: Path) -> None:
    unbroken = search(None)
    with pytest.raises(Killed):
        search(path, unbroken.history[3].trainings + 1)
    begun = len(RunJournalView(path).begun)
    again = search(path, deadline_s=1e-9, resume=True)
    assert again.history == unbroken.history[:begun]
    assert begun >= 5


class RunJournalView:
    """What an unfinished journal says of generations."""

    def __init__(self, path: Path) -> None:
        lines = partial_path(path).read_text().splitlines()
        self.begun = [line for line in lines if line.startswith('{"event":"begun"')]


def test_the_time_budget_is_of_all_sessions(path: Path) -> None:
    whole = search(None)
    deadline_s = whole.spent.generation_s[4]
    with pytest.raises(Killed):
        search(path, whole.history[2].trainings + 1)
    # By itself this session would have time for everything.
    again = search(path, deadline_s=deadline_s, resume=True, clock=Clock(0.01))
    assert len(again.history) == TOTAL
    path.unlink()
    with pytest.raises(Killed):
        search(path, whole.history[2].trainings + 1, clock=Clock(100.0))
    again = search(path, deadline_s=deadline_s, resume=True, clock=Clock(0.01))
    assert len(again.history) == 4


def test_what_a_cache_answered_is_counted_for_each_session(path: Path) -> None:
    account = Account(Clock(), lambda: 7.0, lambda _now_s: None)
    for cached in (2, 3):
        with RunJournal(path, resume=True) as journal:
            journal.begin({})
            account.go_on(journal.earlier)
            evaluator = Evaluator(SPACE, (), [Rung(Scores(0, count()))], RMI, screens=True)
            run = SearchRun(evaluator, journal, account, cached=partial(int, cached))
            (progress,) = run.follow(evolve(SPACE, evaluator.evaluate, debs, SETTINGS), 1)
            assert (progress.done, progress.total) == (1, 1)
            spent = run.spent(Rates())
    assert (spent.sessions, spent.cached) == (2, 5)
