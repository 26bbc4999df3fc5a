"""A clock of a test's own, and work carried out without a screen."""

from __future__ import annotations

from typing import Any

from searcher.workflows.progress import Progress, Work


class Clock:
    """Time that goes on by a fixed step with every look at it."""

    def __init__(self, step_s: float) -> None:
        self.now_s = 0.0
        self._step_s = step_s

    def __call__(self) -> float:
        self.now_s += self._step_s
        return self.now_s


def watched(work: Work[Any]) -> tuple[Any, list[Progress]]:
    """The result of work, and all that it told of itself."""
    seen = []
    while True:
        try:
            seen.append(next(work))
        except StopIteration as finished:
            return finished.value, seen
