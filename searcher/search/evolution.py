"""The genetic algorithm of HW-EvRSNAS: selection by tournament, uniform crossover, mutation, the best kept.

Aware of a space, of something that evaluates a generation at once and of what is preferred; not of scores, limits,
tables or devices.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from searcher.errors import BadInputError
from searcher.search.candidate import Candidate
from searcher.search.preference import Preference
from searcher.spaces.architecture import Architecture
from searcher.spaces.space import SearchSpace

Evaluate = Callable[[Sequence[Architecture]], Sequence[Candidate]]
Violation = Callable[[Architecture], float]

# Draws for one place of a generation, where what breaks a limit is rejected: of limits that one architecture in a
# thousand keeps, two places in three find one.
MOST_DRAWS = 1000


@dataclass(frozen=True)
class EvolutionSettings:
    """Of the genetic algorithm; population and generations are the paper's.

    Attributes:
        population: architectures in a generation.
        generations: generations after the random first one.
        tournament: how many compete for each place among the parents.
        crossover_rate: probability that a child has two parents.
        mutation_rate: probability that a gene of a child is replaced.
        elite: the best of a generation that live on unchanged.
        seed: of everything random.
    """

    population: int = 20
    generations: int = 100
    tournament: int = 3
    crossover_rate: float = 0.9
    mutation_rate: float = 0.2
    elite: int = 1
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse settings with which no generation can be made.

        Raises:
            BadInputError: a count or a rate is out of its range.
        """
        if self.population < 2 or not 0 <= self.elite < self.population:
            raise BadInputError(f"a population of {self.population} with {self.elite} kept cannot evolve")
        if self.generations < 0 or self.tournament < 1:
            raise BadInputError("generations must not be negative, and a tournament needs a competitor")
        if not (0 <= self.crossover_rate <= 1 and 0 <= self.mutation_rate <= 1):
            raise BadInputError("crossover and mutation rates lie between 0 and 1")
        if self.seed < 0:
            raise BadInputError(f"a seed is not negative, but this is {self.seed}")


@dataclass(frozen=True)
class Generation:
    """One generation, evaluated; `best` is the candidate that is preferred, of equals the first."""

    number: int
    population: tuple[tuple[Architecture, Candidate], ...]
    best: Candidate


def evolve(
    space: SearchSpace,
    evaluate: Evaluate,
    preference: Preference,
    settings: EvolutionSettings,
    violation: Violation | None = None,
) -> Iterator[Generation]:
    """Yield the random first generation and then one after the other (HW-EvRSNAS, Algorithm 1).

    Args:
        space: where architectures are from.
        evaluate: gives the architectures of a generation their candidates; called once for each.
        preference: of two candidates the one with more.
        settings: sizes, rates and the seed.
        violation: tells by how much an architecture breaks the limits. With it, what breaks them is drawn again, up to
            MOST_DRAWS times for each place; then the one of those draws that breaks them least takes it. None admits
            everything.
    """
    generator = np.random.default_rng(settings.seed)
    members = [admitted(lambda: space.sample(generator), violation)[0] for _ in range(settings.population)]
    for number in range(settings.generations + 1):
        population = tuple(zip(members, evaluate(members), strict=True))
        generation = Generation(number, population, max((one for _, one in population), key=preference))
        yield generation
        members = next_members(space, generation, preference, settings, generator, violation)


def next_members(
    space: SearchSpace,
    generation: Generation,
    preference: Preference,
    settings: EvolutionSettings,
    generator: np.random.Generator,
    violation: Violation | None = None,
) -> list[Architecture]:
    """Make the members of the next generation: the elite, then children of tournament winners."""

    def child() -> Architecture:
        made = _tournament(generation, preference, settings.tournament, generator)
        if generator.random() < settings.crossover_rate:
            other = _tournament(generation, preference, settings.tournament, generator)
            made = space.crossover(made, other, generator)
        return space.mutate(made, settings.mutation_rate, generator)

    ordered = sorted(generation.population, key=lambda pair: preference(pair[1]), reverse=True)
    members = [architecture for architecture, _ in ordered[: settings.elite]]
    while len(members) < settings.population:
        members.append(admitted(child, violation)[0])
    return members


def admitted(draw: Callable[[], Architecture], violation: Violation | None) -> tuple[Architecture, int]:
    """Draw until an architecture keeps the limits, up to MOST_DRAWS times.

    Args:
        draw: makes one at random.
        violation: by how much an architecture breaks the limits; None takes the first draw.

    Returns:
        The first that keeps them, else the one of all draws that breaks them least; and the number of draws.
    """
    least, chosen = math.inf, draw()
    if violation is None:
        return chosen, 1
    drawn = chosen
    for draws in range(1, MOST_DRAWS + 1):
        broken = violation(drawn)
        if broken == 0:
            return drawn, draws
        if broken < least:
            least, chosen = broken, drawn
        if draws < MOST_DRAWS:
            drawn = draw()
    return chosen, MOST_DRAWS


def _tournament(
    generation: Generation, preference: Preference, size: int, generator: np.random.Generator
) -> Architecture:
    """Return the preferred of `size` members drawn with replacement; of equals the first drawn."""
    drawn = generator.integers(len(generation.population), size=size)
    competitors: list[tuple[Architecture, Candidate]] = [generation.population[index] for index in drawn]
    winner, _ = max(competitors, key=lambda pair: preference(pair[1]))
    return winner
