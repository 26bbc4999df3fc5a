"""Whether the benchmarks of scores read, resume, compare and count right; what they train is tested elsewhere."""

from __future__ import annotations

import gzip
import json
from dataclasses import asdict
from pathlib import Path

import pytest

from benchmarks import plain_loop, rmi, score_all, search_cost
from benchmarks.kept_scores import read_scores
from searcher.errors import SearcherError
from searcher.search.scores.batch_training import Trajectory
from searcher.search.scores.named_scores import score_named
from searcher.spaces.nasbench201 import NasBench201
from searcher.tables.lookup_table import TABLE_DOCUMENT
from searcher.workflows.scoring import Scoring
from searcher.workflows.search_space import search_space
from tests.searcher.builders import table
from tests.searcher.watching import watched

SPACE = NasBench201()
FIRST, SECOND = score_all.all_representatives(SPACE)[:2]
WENT = Trajectory((1.5, 2.0, 2.25, 2.5, 2.75), (2.0, 1.5, 1.25, 1.0, 0.1 + 0.2))
DIVERGED = Trajectory((1.5, 2.0), (2.0, float("inf")))


def partial_of(tmp_path: Path, ending: str = "") -> Path:
    partial = tmp_path / "scores.json.gz.partial"
    rows = ((FIRST, WENT), (SECOND, DIVERGED))
    lines = [",".join(score_all._fields(SPACE.format(cell), went).values()) for cell, went in rows]
    lines[1] += "," * (2 * score_all.SETTINGS.steps + 3 - lines[1].count(",") - 1)
    partial.write_text(score_all._settings_line() + "".join(f"{line}\n" for line in lines) + ending)
    return partial


def test_scores_that_were_begun_go_on_and_end_as_a_file(tmp_path: Path) -> None:
    partial = partial_of(tmp_path, ending="|torn")
    assert [row["architecture"] for row in score_all._partial_rows(partial)] == [
        SPACE.format(FIRST),
        SPACE.format(SECOND),
    ]
    output = tmp_path / "scores.json.gz"
    assert score_all._finish(partial, output) == 2
    assert not partial.exists()
    scores = read_scores(output, score_all.settings())
    assert scores[SPACE.score_key(FIRST)] == {"rmi": 2.75, "loss": 0.3}  # of nine digits, which a 32-bit float has
    assert scores[SPACE.score_key(SECOND)] == {}
    with pytest.raises(SearcherError, match="made with other settings"):
        read_scores(output, {**score_all.settings(), "steps": 100})


def test_scores_of_other_settings_do_not_go_on(tmp_path: Path) -> None:
    partial = partial_of(tmp_path)
    partial.write_text(partial.read_text().replace('"steps": 4', '"steps": 5', 1))
    with pytest.raises(SearcherError, match="begun with other settings"):
        score_all._partial_rows(partial)


def test_every_training_class_is_scored_once() -> None:
    every = score_all.all_representatives(SPACE)
    assert len(every) == len(set(every)) == 4929
    assert all(SPACE.representative(cell) == cell and SPACE.is_connected(cell) for cell in every[::50])


def test_the_file_of_all_scores_is_whole_and_of_the_benchmarks_settings() -> None:
    kept = Path(score_all.__file__).parent / "results" / "nasbench201_scores.json.gz"
    scores = read_scores(kept, score_all.settings())
    assert scores.keys() == {SPACE.score_key(cell) for cell in score_all.all_representatives(SPACE)}
    assert "command" in json.loads(gzip.decompress(kept.read_bytes()))["about"]


def test_the_loops_scores_are_of_the_judged_cells() -> None:
    kept = plain_loop.read_scores(Path(plain_loop.__file__).parent / "results" / "plain_loop.json")
    cells = plain_loop.judged_cells()
    assert list(kept) == [SPACE.format(cell) for cell in cells]
    assert len({SPACE.score_key(cell) for cell in cells}) == plain_loop.CELLS == 60


def test_the_loop_does_not_take_scores_of_other_settings(tmp_path: Path) -> None:
    file = tmp_path / "loop.json"
    file.write_text(json.dumps({"settings": {}, "scores": []}))
    with pytest.raises(SearcherError, match="made with other settings"):
        plain_loop.read_scores(file)


def test_scores_agree_within_what_is_told() -> None:
    kept = {text: plain_loop.LoopScore(text, 2.5, 0.1, 9.0) for text in "ab"}
    near = [plain_loop.LoopScore("a", 2.51, 0.1, 1.0)]
    assert rmi.agreement(near, kept)["rescored_agree"]
    far = rmi.agreement([*near, plain_loop.LoopScore("b", 2.4, 0.1, 1.0)], kept)
    assert not far["rescored_agree"]
    assert far["rescored"] == pytest.approx({"a": 0.01, "b": -0.1})


def test_every_evaluation_is_trained_or_avoided(tmp_path: Path, data_dir: Path) -> None:
    lut = tmp_path / "t.json"
    TABLE_DOCUMENT.save(table(SPACE, lambda block: 1.0 + len(block.key) % 7), lut)
    request = search_cost.request_of(data_dir, lut, generations=3, seed=1)
    counted = type(request)(**{**vars(request), "scoring": Scoring(score_named("flops"), keeps=False)})
    found, _ = watched(search_space(counted))
    told = search_cost.figures(found)
    assert told["evaluations"] == 80
    new = told["evaluations"] - told["avoided"]["met_before"]
    spared = sum(told["avoided"][name] for name in ("shared", "over_limits", "disconnected", "kept"))
    assert sum(told["trainings"]) == new - spared
    assert asdict(request.evolution)["generations"] == 3
