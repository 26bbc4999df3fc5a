"""Work for many devices at once: each in a thread of its own, all of it shown and ended as one."""

from __future__ import annotations

import collections
import contextlib
import queue
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Generic

from searcher.devices.transport import start_thread
from searcher.errors import SearcherError
from searcher.workflows.progress import MEASURING, Progress, Result, Work

MOST_AT_ONCE = 64
# How long a device that is silent may keep the user waiting after Ctrl-C.
PATIENCE_S = 10.0
# Threads that tell wait for the one that shows, so that what is told never piles up.
_TOLD_AHEAD = 256
_LOOK_S = 0.2


@dataclass(frozen=True)
class Outcome(Generic[Result]):
    """How one work ended.

    Attributes:
        result: what it returned; None if it failed.
        error: why it failed; None if it did not.
        seconds: how long it took.
    """

    result: Result | None
    error: BaseException | None
    seconds: float

    @property
    def reason(self) -> str | None:
        """Why it failed, in a sentence; None if it did not."""
        return None if self.error is None else _sentence(self.error)

    @property
    def notes(self) -> tuple[str, ...]:
        """What else its error says: where a partial result lies, and how the work can go on."""
        return tuple(getattr(self.error, "__notes__", ()))


class InterruptedTogetherError(KeyboardInterrupt):
    """The user interrupted works that went on at once; its notes say of each what became of it.

    Attributes:
        silent: names of those that had begun and could not be told of it in time.
    """

    def __init__(self, silent: tuple[str, ...]) -> None:
        super().__init__()
        self.silent = silent


def side_by_side(
    works: Mapping[str, Work[Result]], most_at_once: int = MOST_AT_ONCE, patience_s: float = PATIENCE_S
) -> Work[dict[str, Outcome[Result]]]:
    """Carry out works at once; none stops the others.

    They must not export models, which only one thread may do.

    Args:
        works: by the name that their progress is shown under.
        most_at_once: threads; the others wait for their turn.
        patience_s: how long to wait after an interrupt for works to end, in s.

    Returns:
        How each ended, in their order.

    Raises:
        InterruptedTogetherError: the user interrupted; each work was interrupted at its next step.
    """
    crew = _Crew(works)
    try:
        for _ in range(min(most_at_once, len(works))):
            start_thread(crew.carry_out)
        yield from crew.told()
    except KeyboardInterrupt as e:
        raise crew.interrupted(patience_s) from e
    except GeneratorExit:
        crew.interrupted(patience_s)
        raise
    finally:
        crew.dismiss()
    return {name: crew.outcomes[name] for name in works}


class _Crew(Generic[Result]):
    """Threads that carry out works, and what they tell.

    Attributes:
        outcomes: of works that have ended, told or not.
    """

    def __init__(self, works: Mapping[str, Work[Result]]) -> None:
        self.outcomes: dict[str, Outcome[Result]] = {}
        self._count = len(works)
        self._waiting = collections.deque(works.items())
        self._begun: list[str] = []
        self._told: queue.Queue[tuple[str, Progress | Outcome[Result]]] = queue.Queue(_TOLD_AHEAD)
        self._interrupted, self._dismissed = threading.Event(), threading.Event()

    def carry_out(self) -> None:
        """Take one waiting work after the other; what one thread does."""
        while not self._interrupted.is_set():
            try:
                name, work = self._waiting.popleft()
            except IndexError:
                return
            self._begun.append(name)
            began_s = time.monotonic()
            try:
                result = self._driven(name, work)
            except BaseException as e:  # noqa: BLE001 - whatever it is, it is told, and the other works go on
                self.outcomes[name] = Outcome(None, e, time.monotonic() - began_s)
            else:
                self.outcomes[name] = Outcome(result, None, time.monotonic() - began_s)
            self._tell(name, self.outcomes[name])

    def _driven(self, name: str, work: Work[Result]) -> Result:
        done = total = 0
        with closing(work):
            while True:
                try:
                    progress = work.throw(KeyboardInterrupt()) if self._interrupted.is_set() else next(work)
                except StopIteration as finished:
                    result: Result = finished.value
                    return result
                # One bar a work: it tells of the measuring, which is what takes long.
                if progress.stage == MEASURING:
                    done, total = progress.done, progress.total
                note = f"{name}: {progress.note}" if progress.note else ""
                self._tell(name, Progress(name, done, total, note))

    def _tell(self, name: str, message: Progress | Outcome[Result]) -> None:
        while not self._dismissed.is_set():
            try:
                self._told.put((name, message), timeout=_LOOK_S)
                return
            except queue.Full:
                continue

    def told(self) -> Iterator[Progress]:
        """Yield what the works tell, until all have ended."""
        last: dict[str, Progress] = {}
        for _ in range(self._count):
            while True:
                name, message = self._told.get()
                if isinstance(message, Outcome):
                    break
                last[name] = message
                yield message
            yield from _end_of(message, last.get(name, Progress(name, 0, 0)))

    def interrupted(self, patience_s: float) -> InterruptedTogetherError:
        """Interrupt every work at its next step, and tell what became of each."""
        ended = set(self.outcomes)
        self._interrupted.set()
        give_up_s = time.monotonic() + patience_s
        while set(self._begun) - self.outcomes.keys() and time.monotonic() < give_up_s:
            # What is told makes room for those that wait to tell.
            with contextlib.suppress(queue.Empty):
                self._told.get(timeout=_LOOK_S)
        error = InterruptedTogetherError(tuple(name for name in self._begun if name not in self.outcomes))
        for name in [one for one in self._begun if one in self.outcomes.keys() - ended]:
            for note in self.outcomes[name].notes:
                error.add_note(f"{name}: {note}")
        return error

    def dismiss(self) -> None:
        """Let threads end without being heard."""
        self._interrupted.set()
        self._dismissed.set()


def _end_of(outcome: Outcome[Result], last: Progress) -> Iterator[Progress]:
    if outcome.reason is not None:
        for sentence in (outcome.reason, *outcome.notes):
            yield replace(last, note=f"{last.stage}: {sentence}")


def _sentence(error: BaseException) -> str:
    # The project's own errors say all in their message; of others the kind is worth knowing.
    said = " ".join(str(error).split())
    return said if isinstance(error, SearcherError) else f"unexpected {type(error).__name__}: {said}"
