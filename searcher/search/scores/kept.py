"""A cache around any measurer, which outlives the process: nothing is measured twice on one machine."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from searcher.artifacts import cache_folder
from searcher.search.scores.measured_file import SCHEMA_VERSION, MeasuredFile
from searcher.search.scores.measuring import Measured, Measurer
from searcher.spaces.architecture import Architecture
from searcher.spaces.space import SearchSpace


class Kept:
    """Asks a measurer for what is not kept yet, and keeps it; implements Measurer.

    What is kept is found by the measurer's identity and the architecture's `score_key`, and comes back to the last bit;
    problems are kept as well. A cache that cannot be read or written costs measurements and is never an error. What one
    call has measured is kept when that call is done: who wants less lost at a sudden end asks for less at a time.

    Attributes:
        hits: how many answers were kept ones.
        misses: how many were measured.
    """

    def __init__(self, measurer: Measurer, space: SearchSpace, folder: Path | None = None) -> None:
        """Open nothing yet.

        Args:
            measurer: whose answers are kept.
            space: of its architectures.
            folder: where files are; None for `scores` in the cache folder.
        """
        self._measurer = measurer
        self._space = space
        self._file = MeasuredFile(kept_path(measurer, folder), measurer.identity, measurer.names)
        self.hits = 0
        self.misses = 0

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the measurer's values."""
        return self._measurer.names

    @property
    def identity(self) -> Mapping[str, Any]:
        """The measurer's own: that an answer was kept does not change it."""
        return self._measurer.identity

    @property
    def trouble(self) -> str | None:
        """Why nothing can be kept, in one sentence; None as long as it can."""
        return self._file.trouble

    def measure(self, architectures: Sequence[Architecture]) -> list[Measured]:
        """Return what is found out about each architecture, in their order; the new ones are measured at once."""
        keys = [self._space.score_key(architecture) for architecture in architectures]
        kept = self._file.read()
        new = {key: one for key, one in zip(keys, architectures, strict=True) if key not in kept}
        if new:
            answers = self._measurer.measure(list(new.values()))
            self._file.append(dict(zip(new, answers, strict=True)))
            kept = {**kept, **dict(zip(new, answers, strict=True))}
        self.misses += len(new)
        self.hits += len(keys) - len(new)
        return [kept[key] for key in keys]


def kept_path(measurer: Measurer, folder: Path | None = None) -> Path:
    """Return the file of a measurer's answers: one for each identity, each set of values and each version of the file.

    Args:
        measurer: whose answers.
        folder: of the file; None for `scores` in the cache folder.
    """
    told = json.dumps([SCHEMA_VERSION, measurer.identity, measurer.names], sort_keys=True)
    name = f"{hashlib.sha256(told.encode()).hexdigest()[:24]}.jsonl"
    return (folder or cache_folder() / "scores") / name
