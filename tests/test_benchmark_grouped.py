"""The benchmark of candidates trained together, on the processors and tiny: what it tells, never how fast."""

from __future__ import annotations

import json

import pytest

from benchmarks import grouped
from searcher.spaces.nasbench201 import NasBench201

pytestmark = pytest.mark.usefixtures("one_thread")


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> None:
    tiny = ("--device", "cpu", "--channels", "4", "--image-size", "8", "--batch-size", "6", "--steps", "2")
    monkeypatch.setattr("sys.argv", ["grouped", *tiny, "--cells", "3", "--group", "2", "--rounds", "1", *arguments])
    grouped.main()


def test_both_roads_are_timed_and_their_scores_agree(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run(monkeypatch)
    told = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (told["benchmark"], told["device"], told["settings"]["cells"]) == ("grouped", "cpu", 3)
    assert set(told["roads"]) == {"threads", "one_by_one", "together"}
    for road in told["roads"].values():
        assert road["ms_per_candidate_and_step"] > 0
        assert len(road["of_each_round"]) == 1
        assert road["diverged"] == 0
        assert road["greatest_difference_at_first"] < 1e-4
        assert road["greatest_difference_at_last"] < 1e-3
    assert told["speedup_of_together_to_threads"] > 0


def test_wrong_use_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SystemExit, match=r"benchmarks\.grouped: there is no device .cuda:99. here"):
        run(monkeypatch, "--device", "cuda:99")
    with pytest.raises(SystemExit, match="those of CIFAR-10 are 32 wide"):
        run(monkeypatch, "--data-dir", "anywhere")


def test_cells_are_distinct_and_of_the_seed() -> None:
    space = NasBench201()
    cells = grouped.random_cells(space, 12, seed=3)
    assert len({space.score_key(cell) for cell in cells}) == 12
    assert cells == grouped.random_cells(space, 12, seed=3) != grouped.random_cells(space, 12, seed=4)
    assert all(space.is_connected(cell) for cell in cells)
