"""A measurer that answers from a search's journal, and writes there what it has to measure."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from searcher.errors import SearcherError
from searcher.search.run_journal import RunJournal
from searcher.search.scores.measuring import Measured, Measurer
from searcher.spaces.architecture import Architecture
from searcher.spaces.space import SearchSpace


class Journalled:
    """Stands before a measurer, so that what the journal holds is not measured again.

    Its answers are those that the journal holds, also of what is measured now: a search that goes on meets the very
    same numbers.

    Args:
        measurer: measures what the journal does not hold.
        space: tells the architectures' score keys.
        journal: of the search, begun.
        clock_s: the time, in s.
    """

    def __init__(
        self,
        measurer: Measurer,
        space: SearchSpace,
        journal: RunJournal,
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._measurer = measurer
        self._space = space
        self._journal = journal
        self._clock_s = clock_s
        self._key = identity_hash(measurer)

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the values, the measurer's."""
        return self._measurer.names

    @property
    def identity(self) -> Mapping[str, Any]:
        """The measurer's identity: the journal changes no answer."""
        return self._measurer.identity

    def measure(self, architectures: Sequence[Architecture]) -> list[Measured]:
        """Return what is found out about each architecture; what was measured now is on the disk before.

        Raises:
            SearcherError: the measurer failed, or gave a number that is not finite.
            BadInputError: the journal cannot be written.
        """
        keys = [self._space.score_key(architecture) for architecture in architectures]
        missing = {
            key: architecture
            for key, architecture in zip(keys, architectures, strict=True)
            if self._journal.answer(self._key, key) is None
        }
        if missing:
            began_s = self._clock_s()
            found = self._measurer.measure(list(missing.values()))
            self._journal.keep(self._key, dict(zip(missing, found, strict=True)), self._clock_s() - began_s)
        return [self._answer(key) for key in keys]

    def _answer(self, key: str) -> Measured:
        answer = self._journal.answer(self._key, key)
        if answer is None:
            raise SearcherError(f"the journal has lost what was measured of {key}")
        return answer


def identity_hash(measurer: Measurer) -> str:
    """Return a short hexadecimal hash of a measurer's identity."""
    text = json.dumps(measurer.identity, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
