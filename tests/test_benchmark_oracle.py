"""Whether the benchmark of the search under limits chooses, judges and counts right."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from benchmarks.kept_scores import KeptScores, differences, drawn_keys, read_scores
from benchmarks.oracle import QUANTILES, Share, outcome
from benchmarks.oracle_figures import Run, case_figures, summarise
from benchmarks.published_cells import Cells, KnownPrice
from benchmarks.strategies import Chosen, Task, best_within, drawn, evolved, most_parameters
from searcher.errors import BadInputError
from searcher.search.evaluator import trained_key
from searcher.search.evolution import EvolutionSettings
from searcher.search.preference import DEB, PAPER
from searcher.search.scores.counted import Counted
from searcher.search.scores.named_scores import score_named
from searcher.spaces.nasbench201 import NasBench201

SPACE = NasBench201()
SETTINGS = EvolutionSettings(generations=30, seed=3)
STRATEGIES = ("search", "random", "random_anywhere", "parameters", "live_parameters", "paper", "within_bounds")
Scores = Mapping[str, Mapping[str, float]]


@pytest.fixture(scope="module")
def cells(data_dir: Path) -> Cells:
    return Cells.read(data_dir, ("raspi4", "pixel3", "eyeriss"))


@pytest.fixture(scope="module")
def telling(cells: Cells) -> Scores:
    """Scores that tell the accuracy on CIFAR-10 of the first cell of each key, the loss exactly, φ with noise."""
    noise = np.random.default_rng(7).normal(0, 2, len(cells.genotypes))
    scores: dict[str, Mapping[str, float]] = {}
    for row, accuracy in enumerate(cells.accuracy["cifar10"]):
        key = trained_key(SPACE, cells.architecture(row))
        scores.setdefault(key, {"loss": -float(accuracy), "rmi": float(accuracy + noise[row])})
    return scores


def task_of(cells: Cells, scores: Scores, device: str, limit_ms: float | None) -> Task:
    return Task(cells, cells.latency_ms[device], limit_ms, (KeptScores(scores), Counted(SPACE)))


def test_rows_and_prices_go_by_the_whole_cell(cells: Cells) -> None:
    assert [cells.row(cells.architecture(row)) for row in (0, 1, 15_624)] == [0, 1, 15_624]
    price = KnownPrice("raspi4", cells, cells.latency_ms["raspi4"])
    assert price.cost(cells.architecture(0)) == 10.48198
    assert np.array_equal(price.costs(cells.genotypes), cells.latency_ms["raspi4"])
    assert cells.connected.sum() == 15_625 - 341


@pytest.mark.parametrize(
    ("device", "limits_ms", "best"),
    [
        ("raspi4", [15.7, 25.7, 38.9], [92.14, 93.75, 94.03]),
        ("pixel3", [6.4, 10.7, 15.6], [92.14, 93.66, 94.06]),
        ("eyeriss", [4.63, 5.12, 6.59], [93.91, 94.09, 94.34]),
    ],
)
def test_limits_and_their_best_cells_are_the_known_ones(
    cells: Cells, device: str, limits_ms: list[float], best: list[float]
) -> None:
    column = cells.latency_ms[device]
    limits = [float(np.quantile(column, quantile)) for quantile in QUANTILES]
    assert limits == pytest.approx(limits_ms, abs=0.05)
    found = [cells.accuracy["cifar10"][best_within(task_row(cells, device, limit), "cifar10").row] for limit in limits]
    assert found == pytest.approx(best, abs=0.006)


def task_row(cells: Cells, device: str, limit_ms: float) -> Task:
    return Task(cells, cells.latency_ms[device], limit_ms, ())


def test_all_strategies_keep_bounds_that_are_exact(cells: Cells, telling: Scores) -> None:
    task = task_of(cells, telling, "pixel3", 10.0)
    best = cells.accuracy["cifar10"][best_within(task, "cifar10").row]
    score = score_named("rmi-loss")
    found = evolved(task, score, DEB, SETTINGS)
    at_random = drawn(task, score, found.measurements, seed=1)
    penalised = evolved(task, score, PAPER, SETTINGS)
    for chosen in (found, at_random, penalised, most_parameters(task)):
        assert cells.latency_ms["pixel3"][chosen.row] <= 10.0
        assert cells.connected[chosen.row]
    # The score knows: searching comes near the best of some four thousand.
    assert best - cells.accuracy["cifar10"][found.row] < 1.0
    assert evolved(task, score, DEB, SETTINGS) == found
    assert at_random.measurements == found.measurements < found.architectures
    # The penalty takes trainings also of what breaks the limit.
    assert penalised.measurements > found.measurements


def test_most_parameters_within_the_bounds_are_counted_as_the_space_does(cells: Cells) -> None:
    task = task_row(cells, "raspi4", 20.0)
    chosen = SPACE.parameters(cells.architecture(most_parameters(task).row))
    within = np.flatnonzero((cells.latency_ms["raspi4"] <= 20.0) & cells.connected)
    sampled = np.random.default_rng(1).choice(within, 300, replace=False)
    assert chosen >= max(SPACE.parameters(cells.architecture(row)) for row in sampled)


def test_where_nothing_keeps_the_limit_the_nearest_is_chosen(cells: Cells, telling: Scores) -> None:
    task = task_of(cells, telling, "eyeriss", 0.5)
    nearest = float(cells.latency_ms["eyeriss"][cells.connected].min())
    for chosen in (most_parameters(task), best_within(task, "cifar10"), drawn(task, score_named("rmi"), 0, 1)):
        assert cells.latency_ms["eyeriss"][chosen.row] == nearest


def test_one_seed_gives_all_strategies_under_a_limit_and_without(data_dir: Path, cells: Cells, telling: Scores) -> None:
    found = outcome(Share(data_dir, telling, ("eyeriss",), SETTINGS, (0.5,)))
    assert set(found.runs) == {("eyeriss", 0.5)}
    assert found.fits["eyeriss"]["spearman"] > 0.98
    assert found.fits["eyeriss"]["coverage"] > 0.9
    limit_ms = float(np.quantile(cells.latency_ms["eyeriss"], 0.5))
    case = case_figures(cells, "eyeriss", limit_ms, [found.runs["eyeriss", 0.5]])
    assert case["oracle"]["cifar10"] == pytest.approx(94.09, abs=0.01)
    assert case["within_bounds"]["regret"] <= min(case[one]["regret_of_feasible"] for one in ("search", "random"))
    assert found.unconstrained["search"].measurements == found.unconstrained["random"].measurements


@pytest.mark.slow
def test_the_command_prints_one_object(data_dir: Path, telling: Scores, tmp_path: Path) -> None:
    file = tmp_path / "scores.json.gz"
    file.write_bytes(gzip.compress(json.dumps({"scores": telling}).encode()))
    command = [sys.executable, "-m", "benchmarks.oracle", "--data-dir", str(data_dir), "--scores", str(file)]
    ended = subprocess.run([*command, "--runs", "2"], capture_output=True, text=True, check=True)
    told = json.loads(ended.stdout.splitlines()[-1])
    assert len(told["cases"]) == 9
    assert 0 <= told["feasible_share"] <= 1
    assert told["unconstrained_accuracy"] > 93


def test_regrets_and_shares_are_those_of_the_column() -> None:
    accuracy = np.array([90.0, 92.0, 94.0, 91.0])
    small = Cells(
        genotypes=np.zeros((4, 6), np.int64),
        connected=np.ones(4, bool),
        accuracy=dict.fromkeys(("cifar10", "cifar100", "imagenet16_120"), accuracy),
        latency_ms={"board": np.array([1.0, 2.0, 3.0, 2.5])},
    )
    runs = [Run(0, {"search": Chosen(0, 10, 20)}), Run(1, {"search": Chosen(2, 20, 40)})]
    case = case_figures(small, "board", 2.2, runs)
    assert case["oracle"]["cifar10"] == 92.0
    assert case["search"]["cifar10"] == {"mean": 92.0, "sd": 2.828}
    assert case["search"]["regret"] == 0.0  # of 2 and of -2, which breaks the limit
    assert case["search"]["regret_of_feasible"] == 2.0
    assert case["search"]["feasible"] == 0.5
    assert (case["search"]["measurements"], case["search"]["architectures"]) == (15, 30)
    free = case_figures(small, None, None, runs)
    assert (free["oracle"]["cifar10"], free["search"]["feasible"], free["search"]["regret"]) == (94.0, 1.0, 2.0)


def test_the_worst_case_counts() -> None:
    def case(device: str, feasible: float, *regrets: float) -> dict[str, object]:
        told = {name: {"regret": one, "feasible": 1.0} for name, one in zip(STRATEGIES, regrets, strict=True)}
        told["search"]["feasible"] = feasible
        return {"device": device, **told}

    cases = {
        "a 25%": case("a", 1.0, 0.2, 0.8, 0.9, 1.0, 0.9, 0.5, 0.0),
        "a 50%": case("a", 0.9, 0.3, 0.5, 0.4, 0.2, 0.9, 0.6, 0.2),
        "b 25%": case("b", 1.0, 0.4, 0.4, 0.8, 1.0, 0.9, 0.5, 0.4),
        "b 50%": case("b", 1.0, 0.1, 0.5, 0.5, 1.0, 0.9, 0.5, 0.0),
    }
    told = summarise(cases, {"search": {"cifar10": {"mean": 94.1}}})
    assert told["feasible_share"] == 0.9
    assert told["worst_regret_ratio_to_random"] == 1.0
    assert told["worst_regret_ratio_to_random_pooled"] == 0.5
    assert told["worst_regret_ratio_to_random_within_bounds"] == 1.0  # where neither is off the best within the bounds
    assert told["worst_regret_ratio_to_random_anywhere"] == 0.75
    assert told["worst_regret_lead_over_parameters"] == -0.1
    assert told["worst_regret_lead_over_live_parameters"] == 0.5
    assert told["worst_regret_lead_over_paper"] == 0.1
    assert told["unconstrained_accuracy"] == 94.1
    cases["b 50%"] = case("b", 1.0, 0.1, 0.0, 0.5, 1.0, 0.9, 0.5, 0.0)
    assert summarise(cases, {"search": {"cifar10": {"mean": 94.1}}})["worst_regret_ratio_to_random"] is None


def test_kept_scores_are_read_and_must_be_whole(telling: Scores, tmp_path: Path) -> None:
    file = tmp_path / "scores.json.gz"
    file.write_bytes(gzip.compress(json.dumps({"scores": telling}).encode()))
    scores = read_scores(file)
    assert scores == telling
    key, other = list(scores)[:2]
    with pytest.raises(BadInputError, match="lack 1 keys, such as"):
        KeptScores({name: values for name, values in scores.items() if name != key})
    with pytest.raises(BadInputError, match="not of the same values"):
        KeptScores({**scores, key: {"loss": 1.0}})
    with pytest.raises(BadInputError, match="no finite number"):
        KeptScores({**scores, other: {"loss": 1.0, "rmi": float("nan")}})
    file.write_bytes(b"no gzip")
    with pytest.raises(BadInputError, match="cannot read the scores"):
        read_scores(file)
    with pytest.raises(BadInputError, match="cannot read the scores"):
        read_scores(tmp_path / "nothing.json")


def test_what_diverged_is_a_problem_of_the_key(cells: Cells, telling: Scores) -> None:
    cell = cells.architecture(1)
    key = trained_key(SPACE, cell)
    kept = KeptScores({**telling, key: {}})
    diverged, fine = kept.measure([cell, cells.architecture(2)])
    assert diverged.problem == "its training diverged"
    assert (fine.problem, sorted(fine.values)) == (None, ["loss", "rmi"])


def test_keys_measured_again_are_compared() -> None:
    kept = {"a": {"loss": 2.0, "rmi": 1.0}, "b": {"loss": 0.001}, "c": {}}
    assert set(drawn_keys(kept, seed=1)) == {"a", "b"}
    assert drawn_keys(kept, seed=2, count=1) == drawn_keys(kept, seed=2, count=1)
    kept = {"a": {"loss": 2.0, "rmi": 1.0}, "b": {"loss": 0.0, "rmi": 3.0}, "c": {}}
    assert differences(kept, {"a": kept["a"]}) == {"loss": 0.0, "rmi": 0.0}
    off = differences(kept, {"a": {"loss": 2.5, "rmi": 1.0}, "b": {"loss": 0.0, "rmi": 2.9}})
    assert off == pytest.approx({"loss": 0.5, "rmi": 0.1})  # both spreads are 1
