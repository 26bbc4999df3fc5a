"""Works that go on at once: none stops the others, and an interrupt reaches all of them."""

from __future__ import annotations

import threading
import time
from collections.abc import Generator
from types import SimpleNamespace

import pytest

from searcher.devices.transport import TransportError
from searcher.workflows import side_by_side as module
from searcher.workflows.progress import MEASURING, Progress, Work
from searcher.workflows.side_by_side import InterruptedTogetherError, Outcome, side_by_side


def steps(result: str, count: int, error: BaseException | None = None) -> Work[str]:
    for done in range(1, count + 1):
        yield Progress(MEASURING, done, count)
    if error is not None:
        raise error
    return result


def collected(work: Work[dict[str, Outcome[str]]]) -> tuple[list[Progress], dict[str, Outcome[str]]]:
    shown = []
    while True:
        try:
            shown.append(next(work))
        except StopIteration as finished:
            return shown, finished.value


def test_each_is_shown_under_its_name_and_a_failure_stops_no_other() -> None:
    error = TransportError("it burnt down")
    error.add_note("its ashes are kept")
    works = {"a": steps("A", 3), "b": steps("B", 2, error), "c": steps("C", 1, ZeroDivisionError("no\nnumber"))}
    shown, outcomes = collected(side_by_side(works))
    assert [progress.done for progress in shown if progress.stage == "a"] == [1, 2, 3]
    assert [progress.note for progress in shown if progress.stage == "b"][-2:] == [
        "b: it burnt down",
        "b: its ashes are kept",
    ]
    assert list(outcomes) == ["a", "b", "c"]
    assert (outcomes["a"].result, outcomes["a"].reason) == ("A", None)
    assert (outcomes["b"].result, outcomes["b"].reason) == (None, "it burnt down")
    assert outcomes["b"].notes == ("its ashes are kept",)
    assert outcomes["c"].reason == "unexpected ZeroDivisionError: no number"


def test_threads_are_bounded_and_every_work_gets_its_turn() -> None:
    running, most = [0], [0]
    lock = threading.Lock()

    def counted(name: str) -> Work[str]:
        with lock:
            running[0] += 1
            most[0] = max(most[0], running[0])
        time.sleep(0.01)
        yield Progress(MEASURING, 1, 1)
        with lock:
            running[0] -= 1
        return name

    _, outcomes = collected(side_by_side({str(index): counted(str(index)) for index in range(20)}, most_at_once=4))
    assert [outcome.result for outcome in outcomes.values()] == [str(index) for index in range(20)]
    assert 2 <= most[0] <= 4


def test_an_interrupt_is_thrown_into_each_and_a_silent_one_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    never = threading.Event()
    reached: list[str] = []
    last_s = began_s = time.monotonic()

    def patient() -> float:
        # On a slow machine too, patience wears out only once the attentive ones have been reached.
        nonlocal last_s
        if len(reached) < 2 and time.monotonic() < began_s + 30:
            last_s = time.monotonic()
        return time.monotonic() - last_s

    def attentive(name: str) -> Generator[Progress, None, str]:
        try:
            while True:
                time.sleep(0.01)
                yield Progress(MEASURING, 1, 2)
        except KeyboardInterrupt as e:
            reached.append(name)
            e.add_note("goes on")
            raise

    def silent() -> Work[str]:
        yield Progress(MEASURING, 1, 2)
        never.wait(120)
        return "late"

    works = {"a": attentive("a"), "b": attentive("b"), "mute": silent(), "waiting": attentive("waiting")}
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=patient))
    work = side_by_side(works, most_at_once=3, patience_s=0.5)
    seen: set[str] = set()
    while not seen >= {"a", "b", "mute"}:
        seen.add(next(work).stage)
    with pytest.raises(InterruptedTogetherError) as caught:
        work.throw(KeyboardInterrupt())
    assert time.monotonic() - began_s < 60
    never.set()
    assert sorted(reached) == ["a", "b"]
    assert sorted(caught.value.__notes__) == ["a: goes on", "b: goes on"]
    assert caught.value.silent == ("mute",)


def test_dropped_work_interrupts_all() -> None:
    ended = threading.Event()

    def watched() -> Work[str]:
        try:
            while True:
                yield Progress(MEASURING, 1, 2)
        finally:
            ended.set()

    work = side_by_side({"a": watched()})
    next(work)
    work.close()
    assert ended.is_set()


def test_many_that_tell_much_do_not_run_ahead_of_who_listens() -> None:
    told = [0]

    def chatty() -> Work[str]:
        for done in range(5000):
            told[0] = done
            yield Progress(MEASURING, done, 5000)
        return "done"

    work = side_by_side({"a": chatty()})
    next(work)
    time.sleep(0.1)
    assert told[0] < 500
    shown, outcomes = collected(work)
    assert (len(shown), outcomes["a"].result) == (4999, "done")
