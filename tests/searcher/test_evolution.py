"""The genetic algorithm on a score that is known."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from searcher.errors import BadInputError
from searcher.search.evaluator import Evaluator, Rung
from searcher.search.evolution import MOST_DRAWS, EvolutionSettings, Generation, admitted, evolve, next_members
from searcher.search.preference import debs
from searcher.spaces.architecture import Architecture
from tests.searcher.search_parts import NOTHING, SPACE, Known, Worth, convolutions, latency_limit


def evaluator(limit_ms: float) -> Evaluator:
    return Evaluator(SPACE, [latency_limit(limit_ms)], [Rung(Known())], Worth(), screens=True)


def generations(limit_ms: float, settings: EvolutionSettings) -> list[Generation]:
    return list(evolve(SPACE, evaluator(limit_ms).evaluate, debs, settings))


def test_the_search_finds_the_best_within_the_limit() -> None:
    found = generations(3.0, EvolutionSettings(generations=30, seed=4))
    assert len(found) == 31
    best = found[-1].best
    assert best.predicted_ms <= 3.0
    # Values that are computed twice stand twice in a key, so that three convolutions may score for more.
    assert best.score is not None
    assert best.score >= 1.5
    drawn = [SPACE.sample(np.random.default_rng(seed)) for seed in range(20)]
    assert debs(best) >= max(debs(one) for one in evaluator(3.0).evaluate(drawn))


def test_the_best_never_gets_worse() -> None:
    best = [debs(one.best) for one in generations(3.0, EvolutionSettings(population=6, generations=15, seed=1))]
    assert best == sorted(best)
    assert best[0] < best[-1]


def test_the_same_seed_gives_the_same_search() -> None:
    def trace(seed: int) -> list[tuple[Architecture, ...]]:
        found = generations(3.0, EvolutionSettings(generations=5, seed=seed))
        return [tuple(one for one, _ in generation.population) for generation in found]

    assert trace(7) == trace(7)
    assert trace(7) != trace(8)


def test_the_elite_lives_on_and_pressure_picks_the_fit() -> None:
    generator = np.random.default_rng(0)
    members = [SPACE.sample(generator) for _ in range(20)]
    candidates = evaluator(100.0).evaluate(members)
    generation = Generation(0, tuple(zip(members, candidates, strict=True)), max(candidates, key=debs))
    settings = EvolutionSettings(elite=2, crossover_rate=0.0, mutation_rate=0.0)
    following = next_members(SPACE, generation, debs, settings, generator)
    assert len(following) == 20
    ordered = sorted(members, key=lambda one: -convolutions(one))
    assert [convolutions(one) for one in following[:2]] == [convolutions(one) for one in ordered[:2]]
    assert set(following) <= set(members)
    assert np.mean([convolutions(one) for one in following]) > np.mean([convolutions(one) for one in members])


def test_what_has_a_problem_has_no_children() -> None:
    live = SPACE.parse("|skip_connect~0|+|none~0|none~1|+|nor_conv_3x3~0|nor_conv_3x3~1|none~2|")
    candidates = evaluator(1.0).evaluate([NOTHING, live])
    assert not any(one.feasible for one in candidates)
    generation = Generation(0, ((NOTHING, candidates[0]), (live, candidates[1])), candidates[1])
    settings = EvolutionSettings(population=2, tournament=50, crossover_rate=0.0, mutation_rate=0.0)
    assert next_members(SPACE, generation, debs, settings, np.random.default_rng(0)) == [live] * 2


def test_rejection_fills_every_generation_with_what_keeps_the_limit() -> None:
    rejecting, plain = evaluator(1.0), evaluator(1.0)
    settings = EvolutionSettings(generations=4, seed=2)
    found = list(evolve(SPACE, rejecting.evaluate, debs, settings, rejecting.violation))
    assert all(one.feasible for generation in found for _, one in generation.population)
    assert rejecting.measurements.over_limits == rejecting.measurements.disconnected == 0
    list(evolve(SPACE, plain.evaluate, debs, settings))
    assert plain.measurements.over_limits > 0


def test_rejection_ends_and_takes_what_breaks_the_limits_least() -> None:
    drawn: list[Architecture] = []
    numbers = itertools.count()

    def draw() -> Architecture:
        drawn.append(Architecture("made up", (next(numbers),)))
        return drawn[-1]

    def violation(architecture: Architecture) -> float:
        return float(abs(architecture.genotype[0] - 700) + 1)

    chosen, draws = admitted(draw, violation)
    assert (chosen.genotype, draws, len(drawn)) == ((700,), MOST_DRAWS, MOST_DRAWS)
    numbers, drawn = itertools.count(), []
    chosen, draws = admitted(draw, lambda one: float(one.genotype[0] < 3))
    assert (chosen.genotype, draws, len(drawn)) == ((3,), 4, 4)
    numbers, drawn = itertools.count(), []
    assert admitted(draw, None)[1] == len(drawn) == 1


@pytest.mark.parametrize(
    "settings",
    [{"population": 1}, {"elite": 20}, {"generations": -1}, {"mutation_rate": 1.5}, {"tournament": 0}, {"seed": -1}],
)
def test_settings_that_cannot_evolve_are_refused(settings: dict[str, int]) -> None:
    with pytest.raises(BadInputError):
        EvolutionSettings(**settings)
