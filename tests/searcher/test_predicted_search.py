"""Both searches with prices that were predicted: by kernels where blocks lack, and by models of whole networks."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from searcher.cost_models.block_sum import BlockSum
from searcher.cost_models.bounded_sum import BoundedSum
from searcher.cost_models.network_model import NETWORK_MODEL_DOCUMENT
from searcher.search.candidate import SEARCH_DOCUMENT, SearchResult
from searcher.search.differentiable.family import FAMILY_DOCUMENT
from searcher.spaces.nasbench201 import NasBench201
from searcher.tables.lookup_table import TABLE_DOCUMENT
from searcher.tables.network_latencies import NETWORKS_DOCUMENT
from searcher.workflows.darts_folder import RUN_DOCUMENT
from tests.searcher.builders import KEY
from tests.searcher.command_line import Outcome, Run, assert_one_sentence
from tests.searcher.known_devices import latencies_file, made_up_ms
from tests.searcher.measured_tables import BLOCKS, measured_table
from tests.searcher.predictors import CONFIDENCE, kernels_of_space, predictor_file, saved_predictor

SPACE = NasBench201()
QUICK = ("--score", "parameters", "--population", "6", "--generations", "2", "--no-keep-scores")


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A measured table that lacks convolutions, a predictor of kernels, and latencies of whole networks."""
    folder = tmp_path_factory.mktemp("prices")
    named = {name: folder / f"{name}.json" for name in ("lacking", "predictor", "completed", "latencies", "model")}
    measured_table(named["lacking"], blocks=[key for key in BLOCKS if not key.startswith("relu_conv_bn-k3")])
    saved_predictor(named["predictor"], predictor_file(kernels_of_space(SPACE), nanoseconds=0.05))
    rows = np.random.default_rng(3).choice(2605, 120, replace=False)
    NETWORKS_DOCUMENT.save(latencies_file("pi", rows, made_up_ms(50, "all")), named["latencies"])
    return named


def found_by(searcher: Run, *arguments: str | Path) -> SearchResult:
    outcome = searcher("search", *QUICK, *arguments, "--out", "search.json")
    assert outcome.status == 0, outcome.err
    return SEARCH_DOCUMENT.load(Path("search.json"))


def test_blocks_that_were_not_measured_are_predicted_and_bounded(searcher: Run, files: dict[str, Path]) -> None:
    priced = ("--lut", files["lacking"], "--predictor", files["predictor"])
    assert_one_sentence(searcher("search", *QUICK, *priced[:2]), 2, "lacks relu_conv_bn-k3")
    found = found_by(searcher, *priced, "--confidence", "0.9")
    completing = searcher("lut", "complete", *priced, "--out", "completed.json")
    assert completing.status == 0, completing.err
    table = TABLE_DOCUMENT.load(Path("completed.json"))
    model = BoundedSum(SPACE, table)
    assert (found.table_key, found.limits[0].confidence, found.limits[0].source) == (KEY, 0.9, str(files["lacking"]))
    assert found.settings["bound_over_prediction"] is None
    for one in found.candidates:
        cell = SPACE.parse(one.architecture)
        assert one.costs[0].value == pytest.approx(model.latency_ms(cell))
        assert one.costs[0].bound == pytest.approx(model.upper_ms(cell, 0.9))
        # The rounds of measured blocks were all alike: what may be wrong are the predicted ones.
        assert (one.costs[0].bound > 1.0001 * one.costs[0].value) == any(
            block.key in table.predicted for block in SPACE.blocks(cell)
        )
        assert one.feasible == (one.problem is None and one.costs[0].bound <= found.limits[0].at_most)
    # The same table comes of the same files again, so that a search can go on.
    again = found_by(searcher, *priced, "--confidence", "0.9", "--resume")
    assert again.candidates == found.candidates
    from_file = searcher("search", *QUICK, "--lut", "completed.json", "--confidence", "0.9", "--out", "search.json")
    of_file = SEARCH_DOCUMENT.load(Path("search.json")).candidates
    assert [one.architecture for one in of_file] == [one.architecture for one in found.candidates]
    told = f"{len(table.predicted)} of {len(table.entries)} blocks are predicted, not measured"
    assert f"{told}\n" in from_file.out
    expected = searcher("search", *QUICK, "--lut", "completed.json", "--out", "search.json")
    assert f"{told}: --confidence keeps limits with their intervals\n" in expected.out


def test_a_predictor_alone_prices_all_blocks(searcher: Run, files: dict[str, Path]) -> None:
    found = found_by(searcher, "--predictor", files["predictor"])
    searcher("lut", "complete", "--predictor", files["predictor"], "--out", "all.json")
    model = BlockSum(SPACE, TABLE_DOCUMENT.load(Path("all.json")))
    for one in found.candidates:
        assert one.costs[0].value == one.costs[0].bound
        assert one.costs[0].value == pytest.approx(model.latency_ms(SPACE.parse(one.architecture)))


def test_what_cannot_be_promised_is_one_sentence(searcher: Run, files: dict[str, Path]) -> None:
    def asked(*arguments: str | Path) -> Outcome:
        return searcher("search", *QUICK, *arguments, "--out", "none.json")

    priced = ("--lut", files["lacking"], "--predictor", files["predictor"])
    sure = asked(*priced, "--confidence", "0.99")
    assert_one_sentence(sure, 2, f"no bound of 99% is known; ask for --confidence {CONFIDENCE:g} or less")
    corrected = asked(*priced, "--confidence", "0.9", "--verify-top", "1")
    assert_one_sentence(corrected, 2, "--verify-top with --confidence takes a calibration")
    two = asked("--lut", files["lacking"], "--latencies", files["latencies"])
    assert_one_sentence(two, 2, "prices come from one file")
    assert_one_sentence(asked(), 2, "prices come from one file")
    assert_one_sentence(asked("--predictor", files["lacking"]), 2, "lacking.json is no kernel predictor")
    assert not Path("none.json").exists()


def test_latencies_of_whole_networks_price_a_search(searcher: Run, files: dict[str, Path]) -> None:
    trained = searcher("predictor", "train", files["latencies"], "--out", "model.json")
    assert trained.status == 0, trained.err
    found = found_by(searcher, "--predictor", "model.json", "--confidence", "0.9")
    model = NETWORK_MODEL_DOCUMENT.load(Path("model.json")).model(SPACE)
    assert found.table_key is None
    for one in found.candidates:
        cell = SPACE.parse(one.architecture)
        assert one.costs[0].value == pytest.approx(model.latency_ms(cell))
        assert one.costs[0].bound == pytest.approx(model.upper_ms(cell, 0.9))
    fitted = found_by(searcher, "--latencies", files["latencies"], "--confidence", "0.9")
    assert fitted.candidates == found.candidates
    assert_one_sentence(searcher("verify", "search.json"), 2, "nobody knows how the latencies behind this search were")
    beside = searcher("search", *QUICK, "--lut", files["lacking"], "--predictor", "model.json")
    assert_one_sentence(beside, 2, "model.json prices whole networks: it takes no --lut beside it")
    corrected = searcher("search", *QUICK, "--predictor", "model.json", "--verify-top", "1")
    assert_one_sentence(corrected, 2, "has no blocks that --verify-top could correct")


SMALL = (
    *("--supernet-channels", "4", "--image-size", "8", "--epochs", "1", "--warm-up-epochs", "0", "--batch-size", "256"),
    *("--threads", "1"),
)


def test_a_differentiable_search_takes_a_predictor(searcher: Run, files: dict[str, Path]) -> None:
    priced = ("--lut", files["lacking"], "--predictor", files["predictor"])
    outcome = searcher("darts", *priced, *SMALL, "--output", "run")
    assert outcome.status == 0, outcome.err
    run = RUN_DOCUMENT.load(Path("run/run.json"))
    assert [(one.name, one.source) for one in run.devices] == [("lacking", str(files["lacking"]))]
    table = TABLE_DOCUMENT.load(Path("run") / run.devices[0].file)
    assert len(table.predicted) == 3
    # No surer than what is predicted.
    assert run.confidence == CONFIDENCE
    # It is done; what goes on must be the very same search, with the very same table.
    assert searcher("darts", *priced, *SMALL, "--output", "run", "--resume").status == 0
    model = BoundedSum(SPACE, table)
    assert searcher("darts", "family", "run", "--divisions", "1").status == 0
    family = FAMILY_DOCUMENT.load(Path("run/family.json"))
    for member in family.members:
        (latency,) = member.latencies
        cell = SPACE.parse(member.architecture)
        assert latency.predicted_ms == pytest.approx(model.latency_ms(cell))
        assert latency.bound_ms == pytest.approx(model.upper_ms(cell, 0.9))


def test_a_differentiable_search_refuses_what_does_not_go_together(searcher: Run, files: dict[str, Path]) -> None:
    def asked(*arguments: str | Path) -> Outcome:
        return searcher("darts", *SMALL, *arguments, "--output", "none")

    predictor = ("--predictor", files["predictor"])
    several = asked("--lut", files["lacking"], "--lut", files["latencies"], *predictor)
    assert_one_sentence(several, 2, "complete tables of several by searcher lut complete first")
    fitted = asked("--lut", files["latencies"], *predictor)
    assert_one_sentence(fitted, 2, "latencies.json is no lookup table: --predictor completes nothing else")
    assert_one_sentence(asked(), 2, "a search takes --lut FILE, or --predictor FILE")
    sure = asked(*predictor, "--confidence", "0.95")
    assert_one_sentence(sure, 2, "no bound of 95% is known")
    assert not Path("none").exists()


def test_a_model_of_networks_prices_a_differentiable_search(searcher: Run, files: dict[str, Path]) -> None:
    assert searcher("predictor", "train", files["latencies"], "--out", "model.json").status == 0
    outcome = searcher("darts", "--predictor", "model.json", *SMALL, "--output", "run", "--json")
    assert outcome.status == 0, outcome.err
    run = json.loads(outcome.out)["run"]
    assert ([one["name"] for one in run["devices"]], run["confidence"]) == (["model"], 0.95)
    both = searcher("darts", "--predictor", "model.json", "--lut", files["lacking"], *SMALL, "--output", "other")
    assert_one_sentence(both, 2, "prices whole networks: it takes no --lut beside it")
