"""Progress in a log: a line when a stage begins, and one now and then, however many stages go on at once."""

from __future__ import annotations

import io

from rich.console import Console
from rich.progress import Progress as Bars

from searcher.cli.show import _Bars, _Lines
from searcher.workflows.progress import Progress


def lines_of(*steps: tuple[float, Progress]) -> list[str]:
    out = io.StringIO()
    now_s = [0.0]
    screen = _Lines(Console(file=out, width=200), lambda: now_s[0])
    for at_s, progress in steps:
        now_s[0] = at_s
        screen.show(progress)
    return out.getvalue().splitlines()


def test_a_stage_tells_every_ten_seconds_what_remains() -> None:
    steps = [(float(at_s), Progress("measure", at_s, 100)) for at_s in range(31)]
    assert lines_of(*steps) == [
        "measure …",
        "measure: 10 of 100, about 90 s remaining",
        "measure: 20 of 100, about 80 s remaining",
        "measure: 30 of 100, about 70 s remaining",
    ]


def test_a_stage_that_begins_again_is_not_judged_by_its_first_step() -> None:
    first = [(float(at_s), Progress("measure", at_s, 20)) for at_s in range(21)]
    again = [(50.0 + at_s, Progress("measure", at_s, 20)) for at_s in range(16)]
    assert lines_of(*first, *again) == [
        "measure …",
        "measure: 10 of 20, about 10 s remaining",
        "measure: 10 of 20, about 10 s remaining",
    ]


def test_stages_at_once_begin_once_each_and_take_turns() -> None:
    steps = [
        (float(at_s), Progress(name, at_s, 100, "it said so" if name == "b" and at_s == 5 else ""))
        for at_s in range(41)
        for name in "ab"
    ]
    assert lines_of(*steps) == [
        "a …",
        "b …",
        "it said so",
        "a: 20 of 100, about 80 s remaining",
        "b: 20 of 100, about 80 s remaining",
        "a: 40 of 100, about 60 s remaining",
        "b: 40 of 100, about 60 s remaining",
    ]


def test_a_stage_that_begins_again_reckons_from_there() -> None:
    first = [(float(at_s), Progress("a", at_s, 9)) for at_s in range(10)]
    again = [(100.0, Progress("a", 0, 20)), (110.0, Progress("a", 10, 20))]
    assert lines_of(*first, *again)[-1] == "a: 10 of 20, about 10 s remaining"


def test_a_stage_that_has_finished_slows_the_others_no_more() -> None:
    steps = [(1.0, Progress("a", 1, 100)), (2.0, Progress("b", 1, 2)), (3.0, Progress("b", 2, 2))]
    assert lines_of(*steps, (12.0, Progress("a", 50, 100))) == ["a …", "b …", "a: 50 of 100, about 11 s remaining"]


def test_bars_of_a_long_shelf_leave_the_screen_when_they_are_full() -> None:
    bars = Bars(console=Console(file=io.StringIO()))
    screen = _Bars(bars)
    for index in range(20):
        screen.show(Progress(f"board-{index}", 0, 0))
    assert [task.total for task in bars.tasks] == [None] * 20
    for index in range(20):
        screen.show(Progress(f"board-{index}", 17 if index % 2 else 16, 17))
    assert [task.visible for task in bars.tasks] == [index % 2 == 0 for index in range(20)]
    assert {task.total for task in bars.tasks} == {17}
