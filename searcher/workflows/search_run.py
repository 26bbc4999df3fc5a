"""The course of a search: generation after generation, on the disk as they come, until all are there or time is up."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from searcher.search.accounting import Account, Rates, Spent, add_up
from searcher.search.candidate import GenerationRecord
from searcher.search.evaluator import Evaluator
from searcher.search.evolution import Generation
from searcher.search.run_journal import RunJournal
from searcher.workflows.progress import Progress, Work


class SearchRun:
    """One session of a search, with its journal and its account.

    The time budget is of all sessions together. It never ends a search before a generation that any session has begun,
    and where it ended the search once, it ends it again: what the journal says has happened, however fast it is told.

    Args:
        evaluator: of the search; its rungs answer from the journal.
        journal: begun.
        account: of this session, with the earlier ones.
        deadline_s: seconds after which no new generation starts that would end later; None for no bound.
        cached: tells how many measurements a cache of earlier searches has answered in this session.
    """

    def __init__(
        self,
        evaluator: Evaluator,
        journal: RunJournal,
        account: Account,
        deadline_s: float | None = None,
        cached: Callable[[], int] = lambda: 0,
    ) -> None:
        self._evaluator = evaluator
        self._journal = journal
        self._account = account
        self._deadline_s = deadline_s
        self._cached = cached

    def follow(self, generations: Iterator[Generation], total: int) -> Work[list[GenerationRecord]]:
        """Take generations until there are so many or the time budget ends the search, and return their records."""
        history: list[GenerationRecord] = []
        longest_s = 0.0
        while len(history) < total:
            number = len(history)
            if self._ends(number, longest_s):
                self._journal.stop(number)
                self._journal.checkpoint(self._account.session(self._cached()))
                yield self._progress(total, total, f"the time budget ends the search after {number} generations")
                break
            self._journal.begin_generation(number, self._account.elapsed_s)
            longest_s = max(longest_s / 2, self._take(next(generations), history))
            yield self._progress(len(history), total)
        return history

    def spent(self, rates: Rates) -> Spent:
        """Return what all sessions have spent until now."""
        sessions = (*self._journal.earlier, self._account.session(self._cached()))
        return add_up(sessions, rates, self._journal.generation_s)

    def _take(self, generation: Generation, history: list[GenerationRecord]) -> float:
        """Write down a generation; return the seconds that it took when it was evaluated first."""
        members = [candidate.architecture for _, candidate in generation.population]
        best = generation.best
        self._journal.finish_generation(generation.number, members, best.architecture, self._account.elapsed_s)
        self._journal.checkpoint(self._account.session(self._cached()))
        trainings = sum(self._evaluator.measurements.measured)
        history.append(GenerationRecord(generation.number, best.score, best.architecture, trainings))
        return self._journal.generation_s[generation.number] - self._journal.begun_s[generation.number]

    def _ends(self, number: int, longest_s: float) -> bool:
        """Say whether the search ends before this generation."""
        if self._journal.stopped_after is not None:
            return number >= self._journal.stopped_after
        if self._deadline_s is None or number == 0 or number < len(self._journal.begun_s):
            return False
        return self._account.elapsed_s + longest_s > self._deadline_s

    def _progress(self, done: int, total: int, note: str = "") -> Progress:
        """Count generations; where a deadline will end them, count the seconds to it."""
        if self._deadline_s is None:
            return Progress("search, generations", done, total, note)
        elapsed_s = self._deadline_s if done == total else min(self._account.elapsed_s, self._deadline_s)
        return Progress("search, seconds", int(elapsed_s), int(self._deadline_s), note)
