"""A score and its rungs: no more is measured than it needs, and rungs rise."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from searcher.errors import BadInputError
from searcher.networks.resnet import ResNet20
from searcher.search.scores.batch_training import RmiSettings
from searcher.search.scores.named_scores import NAMED_SCORES, score_named
from searcher.spaces.nasbench201 import NasBench201
from searcher.tables.lookup_table import TABLE_DOCUMENT
from searcher.training.reference import Reference
from searcher.workflows.scoring import Halving, Scoring, rungs_of
from tests.searcher.builders import table
from tests.searcher.command_line import Run
from tests.searcher.measurers import made_up_dataset
from tests.searcher.test_demo import save_weights

SPACE = NasBench201()
CELL = SPACE.parse("|nor_conv_3x3~0|+|none~0|skip_connect~1|+|avg_pool_3x3~0|none~1|nor_conv_1x1~2|")
OTHER = SPACE.parse("|nor_conv_1x1~0|+|none~0|none~1|+|skip_connect~0|none~1|none~2|")
QUICK = RmiSettings(steps=2, batch_size=4)


@pytest.fixture(scope="module")
def reference() -> Reference:
    model = ResNet20(10)
    model.initialise(torch.Generator().manual_seed(2))
    return Reference(model.eval(), 10.0, "made up", "00")


@pytest.mark.parametrize("name", [score.name for score in NAMED_SCORES])
def test_every_score_gets_the_values_that_it_needs_and_no_others(
    name: str, reference: Reference, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PROFILER_CACHE", str(tmp_path))
    scoring = Scoring(score_named(name), cells_per_stage=1, rmi=QUICK)
    dataset = made_up_dataset() if scoring.looks_at_images else None
    (rung,) = rungs_of(scoring, SPACE, dataset, reference if scoring.trains else None).rungs
    found = rung.measurer.measure([CELL, OTHER])
    assert all(one.problem is None for one in found)
    scores = scoring.score.scores([one.values for one in found])
    assert len(set(scores)) > 1 or name == "fused"
    trained = any("rmi" in value for value in rung.measurer.names)
    assert trained == scoring.trains == (name in ("rmi", "rmi-loss", "fused"))


def test_what_is_kept_spares_the_next_search(
    reference: Reference, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PROFILER_CACHE", str(tmp_path))
    scoring = Scoring(score_named("rmi"), cells_per_stage=1, rmi=QUICK)
    first, again = (rungs_of(scoring, SPACE, made_up_dataset(), reference) for _ in range(2))
    measured = first.rungs[0].measurer.measure([CELL])
    assert (first.cached, again.rungs[0].measurer.measure([CELL]), again.cached) == (0, measured, 1)
    forgetful = rungs_of(Scoring(score_named("rmi"), 1, QUICK, keeps=False), SPACE, made_up_dataset(), reference)
    assert forgetful.rungs[0].measurer.measure([CELL]) == measured
    assert forgetful.cached == 0


def test_each_rung_trains_for_its_own_steps(reference: Reference) -> None:
    scoring = Scoring(score_named("rmi"), 1, QUICK, (Halving(1, 0.25),), keeps=False)
    low, high = rungs_of(scoring, SPACE, made_up_dataset(), reference).rungs
    assert (low.keep, high.keep) == (0.25, 1.0)
    assert [rung.measurer.identity["steps"] for rung in (low, high)] == [1, 2]
    assert low.measurer.measure([CELL]) != high.measurer.measure([CELL])


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: Halving.parse("2"), "halving is STEPS:SHARE, such as 2:0.5, not '2'"),
        (lambda: Halving.parse("two:0.5"), "not 'two:0.5'"),
        (lambda: Halving.parse("2:nan"), "a share above 0 and below 1"),
        (lambda: Halving.parse("2:1"), "a share above 0 and below 1"),
        (lambda: Halving(0, 0.5), "not 0 and 0.5"),
        (lambda: Scoring(rmi=QUICK, halving=(Halving(2, 0.5),)), "more and more steps, not 2, 2"),
        (lambda: Scoring(score_named("flops"), halving=(Halving(1, 0.5),)), "takes no training that could be halved"),
    ],
)
def test_rungs_that_do_not_rise_are_refused(make: Callable[[], object], says: str) -> None:
    with pytest.raises(BadInputError, match=says):
        make()


def test_a_score_that_trains_nothing_takes_no_reference(searcher: Run, tmp_path: Path) -> None:
    TABLE_DOCUMENT.save(table(SPACE, lambda _block: 1.0), tmp_path / "t.json")
    options = ("--population", "6", "--generations", "2", "--out", tmp_path / "s.json", "--json")
    nowhere = ("--data", f"cifar10:{tmp_path / 'nowhere.npz'}")
    told = searcher("search", "--lut", tmp_path / "t.json", "--score", "parameters", *nowhere, *options)
    assert told.status == 0, told.err
    assert '"reference_sha256": null' in told.out
    assert '"score": "parameters"' in told.out


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--score", "accuracy"), "there is no score 'accuracy', only rmi"),
        (("--halving", "4:0.5"), "more and more steps, not 4, 4"),
        (("--halving", "x"), "halving is STEPS:SHARE"),
        (("--score-precision", "fp8"), "fp32 or bf16, not in 'fp8'"),
        (("--score-device", "cuda:99", "--no-keep-scores"), "cuda:99"),
    ],
)
def test_bad_options_get_one_sentence(searcher: Run, tmp_path: Path, options: tuple[str, ...], says: str) -> None:
    TABLE_DOCUMENT.save(table(SPACE, lambda _block: 1.0), tmp_path / "t.json")
    reference = save_weights(tmp_path / "r.pt")
    told = searcher("search", "--lut", tmp_path / "t.json", "--reference", reference, *options)
    assert told.status == 2
    assert says in told.err.splitlines()[-1]
    assert "Traceback" not in told.err
