"""The genetic algorithm on a score that is known, and the evaluator's caches and penalty."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from searcher.errors import BadInputError
from searcher.search.candidate import (
    SEARCH_DOCUMENT,
    Candidate,
    GenerationRecord,
    SearchResult,
    best_distinct,
    rank,
)
from searcher.search.evaluator import DISCONNECTED, Evaluator, penalty
from searcher.search.evolution import EvolutionSettings, Generation, evolve, next_members
from searcher.search.pareto import pareto_front
from searcher.search.scores.rmi import TrainingDivergedError
from searcher.spaces.architecture import Architecture
from searcher.spaces.cell import OPERATIONS
from searcher.spaces.nasbench201 import NasBench201
from tests.searcher.builders import KEY

SPACE = NasBench201()


class CountingCost:
    """Latency: one ms for each 3×3 convolution, also a dead one."""

    def latency_ms(self, architecture: Architecture) -> float:
        return float(SPACE.operations(architecture).count("nor_conv_3x3"))

    def latencies_ms(self, genotypes: NDArray[np.integer[Any]]) -> NDArray[np.float64]:
        convolutions = genotypes == OPERATIONS.index("nor_conv_3x3")
        return np.asarray(convolutions.sum(axis=1), np.float64)


def convolutions(architecture: Architecture) -> float:
    """A score that likes what costs."""
    return SPACE.operations(architecture).count("nor_conv_3x3") / 2


def evaluator(limit_ms: float) -> Evaluator:
    return Evaluator(SPACE, convolutions, CountingCost(), limit_ms)


NOTHING = SPACE.parse("|none~0|+|none~0|none~1|+|none~0|none~1|none~2|")


def candidate(name: str, rmi: float, ms: float, key: str = "", feasible: bool = True) -> Candidate:
    return Candidate(name, key or name, rmi, ms, rmi, feasible, 0, 0)


def test_the_search_finds_the_best_within_the_limit() -> None:
    evaluate = evaluator(limit_ms=3.0)
    generations = list(evolve(SPACE, evaluate, EvolutionSettings(generations=30, seed=4)))
    assert len(generations) == 31
    # Cells of one score key may differ by a dead convolution, so more than three may score within three ms.
    assert generations[-1].best.predicted_ms <= 3.0
    assert generations[-1].best.preference >= (True, 1.5)
    random_best = max(evaluate(SPACE.sample(np.random.default_rng(seed))).preference for seed in range(20))
    assert generations[-1].best.preference >= random_best


def test_the_best_never_gets_worse() -> None:
    best = [one.best.preference for one in evolve(SPACE, evaluator(2.0), EvolutionSettings(generations=15, seed=1))]
    assert best == sorted(best)


def test_the_same_seed_gives_the_same_search() -> None:
    def trace(seed: int) -> list[tuple[Architecture, ...]]:
        settings = EvolutionSettings(generations=5, seed=seed)
        return [tuple(one for one, _ in g.population) for g in evolve(SPACE, evaluator(3.0), settings)]

    assert trace(7) == trace(7)
    assert trace(7) != trace(8)


def test_the_elite_lives_on_and_pressure_picks_the_fit() -> None:
    generator = np.random.default_rng(0)
    members = [SPACE.sample(generator) for _ in range(20)]
    evaluate = evaluator(limit_ms=100.0)
    generation = Generation(0, tuple((member, evaluate(member)) for member in members))
    settings = EvolutionSettings(elite=2, crossover_rate=0.0, mutation_rate=0.0)
    following = next_members(SPACE, generation, settings, generator)
    assert len(following) == 20
    ordered = sorted(members, key=lambda one: -convolutions(one))
    assert [convolutions(one) for one in following[:2]] == [convolutions(one) for one in ordered[:2]]
    assert set(following) <= set(members)
    assert np.mean([convolutions(one) for one in following]) > np.mean([convolutions(one) for one in members])


@pytest.mark.parametrize(
    "settings",
    [{"population": 1}, {"elite": 20}, {"generations": -1}, {"mutation_rate": 1.5}, {"tournament": 0}, {"seed": -1}],
)
def test_settings_that_cannot_evolve_are_refused(settings: dict[str, int]) -> None:
    with pytest.raises(BadInputError):
        EvolutionSettings(**settings)


def test_one_training_for_a_score_key_and_one_latency_for_a_string() -> None:
    trained: Counter[str] = Counter()

    def score(architecture: Architecture) -> float:
        trained[SPACE.score_key(architecture)] += 1
        return 1.0

    evaluate = Evaluator(SPACE, score, CountingCost(), 100.0)
    # The first edge is dead in both; only the second pays for a convolution that trains nothing.
    first = SPACE.parse("|none~0|+|none~0|none~1|+|skip_connect~0|none~1|none~2|")
    second = SPACE.parse("|nor_conv_3x3~0|+|none~0|none~1|+|skip_connect~0|none~1|none~2|")
    assert SPACE.score_key(first) == SPACE.score_key(second)
    assert evaluate(first).predicted_ms == 0.0
    assert evaluate(second).predicted_ms == 1.0
    evaluate(second)
    assert set(trained.values()) == {1}
    assert evaluate.trainings == 1
    assert len(evaluate.candidates) == 2


@pytest.mark.parametrize(("latency_ms", "expected"), [(1.0, 0.0), (2.0, 0.0), (2.5, -0.5), (10.0, -8.0)])
def test_the_penalty_is_that_of_the_paper(latency_ms: float, expected: float) -> None:
    assert penalty(latency_ms, limit_ms=2.0) == expected


def test_a_disconnected_architecture_ranks_below_the_slowest_and_is_never_trained() -> None:
    class Slow(CountingCost):
        def latency_ms(self, architecture: Architecture) -> float:
            return 0.1 if architecture == NOTHING else 500.0

    evaluate = Evaluator(SPACE, convolutions, Slow(), limit_ms=1.0)
    slow = evaluate(SPACE.parse("|skip_connect~0|+|none~0|none~1|+|nor_conv_3x3~0|nor_conv_3x3~1|none~2|"))
    nothing = evaluate(NOTHING)
    assert (nothing.problem, nothing.feasible) == (DISCONNECTED, False)
    assert (nothing.rmi, nothing.fitness) == (None, None)
    assert evaluate.trainings == 1
    assert slow.fitness == pytest.approx(-498.0)
    assert rank([nothing, slow]) == (slow, nothing)
    assert best_distinct([nothing, slow], 3) == ()
    assert pareto_front([nothing, slow]) == (slow,)
    assert pareto_front([nothing]) == ()
    generation = Generation(0, ((NOTHING, nothing), (SPACE.parse(slow.architecture), slow)))
    assert generation.best == slow
    settings = EvolutionSettings(population=2, tournament=50, crossover_rate=0.0, mutation_rate=0.0)
    members = next_members(SPACE, generation, settings, np.random.default_rng(0))
    assert [SPACE.format(one) for one in members] == [slow.architecture] * 2


def test_what_diverges_is_a_candidate_with_a_problem_and_not_tried_again() -> None:
    tried: list[Architecture] = []

    def score(architecture: Architecture) -> float:
        tried.append(architecture)
        raise TrainingDivergedError("its training diverged")

    evaluate = Evaluator(SPACE, score, CountingCost(), 100.0)
    twins = [
        SPACE.parse(f"|{dead}~0|+|none~0|none~1|+|skip_connect~0|none~1|none~2|") for dead in ("none", "nor_conv_3x3")
    ]
    found = [evaluate(one) for one in twins]
    assert [one.problem for one in found] == ["its training diverged"] * 2
    assert all(one.rmi is None and one.fitness is None and not one.feasible for one in found)
    assert (len(tried), evaluate.trainings) == (1, 1)


def test_a_problem_is_seen_in_the_file(tmp_path: Path) -> None:
    diverged = Candidate("b", "b", None, 1.0, None, False, 0, 0, "its training diverged")
    candidates = rank([diverged, candidate("a", 1.0, 2.0)])
    history = (GenerationRecord(0, None, "b", 1, 0.1),)
    result = SearchResult(SPACE.name, 1, 1, KEY, 2.0, {}, candidates, ("a",), history)
    SEARCH_DOCUMENT.save(result, tmp_path / "search.json")
    assert SEARCH_DOCUMENT.load(tmp_path / "search.json") == result
    document = json.loads((tmp_path / "search.json").read_text())
    assert document["candidates"][1]["problem"] == "its training diverged"
    assert document["candidates"][1]["fitness"] is None
    assert document["candidates"][0]["problem"] is None


def test_ranking_prefers_fitness_then_speed_and_distinct_keys() -> None:
    slow, fast = candidate("slow", 2.0, 5.0, "k"), candidate("fast", 2.0, 4.0, "k")
    best, out = candidate("best", 3.0, 9.0, "z"), candidate("out", 9.0, 1.0, "o", feasible=False)
    assert [one.architecture for one in rank([slow, fast, best])] == ["best", "fast", "slow"]
    assert [one.architecture for one in best_distinct([slow, fast, best, out], 3)] == ["best", "fast"]


def test_the_pareto_front_holds_what_nothing_beats() -> None:
    scores = {"a": (1.0, 1.0), "b": (2.0, 2.0), "c": (1.5, 3.0), "d": (3.0, 4.0)}
    candidates = [candidate(name, rmi, ms) for name, (rmi, ms) in scores.items()]
    assert [one.architecture for one in pareto_front(candidates)] == ["a", "b", "d"]
    assert pareto_front([]) == ()
