"""The genetic algorithm of HW-EvRSNAS: selection by tournament, uniform crossover, mutation, the best kept.

Aware of a space and of something that evaluates architectures; not of scores, tables or devices.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from searcher.errors import BadInputError
from searcher.search.candidate import Candidate
from searcher.spaces.architecture import Architecture
from searcher.spaces.space import SearchSpace

Evaluate = Callable[[Architecture], Candidate]


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
    mutation_rate: float = 0.1
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
    """One generation, evaluated."""

    number: int
    population: tuple[tuple[Architecture, Candidate], ...]

    @property
    def best(self) -> Candidate:
        """The candidate that is preferred, by fitness; of equals the first."""
        return max((candidate for _, candidate in self.population), key=lambda one: one.preference)


def evolve(space: SearchSpace, evaluate: Evaluate, settings: EvolutionSettings) -> Iterator[Generation]:
    """Yield the random first generation and then one after the other (HW-EvRSNAS, Algorithm 1).

    Args:
        space: where architectures are from.
        evaluate: gives an architecture its fitness; called once a member, so caching is its own affair.
        settings: sizes, rates and the seed.
    """
    generator = np.random.default_rng(settings.seed)
    members = [space.sample(generator) for _ in range(settings.population)]
    for number in range(settings.generations + 1):
        generation = Generation(number, tuple((member, evaluate(member)) for member in members))
        yield generation
        members = next_members(space, generation, settings, generator)


def next_members(
    space: SearchSpace, generation: Generation, settings: EvolutionSettings, generator: np.random.Generator
) -> list[Architecture]:
    """Make the members of the next generation: the elite, then children of tournament winners."""
    ordered = sorted(generation.population, key=lambda pair: pair[1].preference, reverse=True)
    members = [architecture for architecture, _ in ordered[: settings.elite]]
    while len(members) < settings.population:
        child = _tournament(generation, settings.tournament, generator)
        if generator.random() < settings.crossover_rate:
            other = _tournament(generation, settings.tournament, generator)
            child = space.crossover(child, other, generator)
        members.append(space.mutate(child, settings.mutation_rate, generator))
    return members


def _tournament(generation: Generation, size: int, generator: np.random.Generator) -> Architecture:
    """Return the fittest of `size` members drawn with replacement."""
    drawn = generator.integers(len(generation.population), size=size)
    competitors: list[tuple[Architecture, Candidate]] = [generation.population[index] for index in drawn]
    winner, _ = max(competitors, key=lambda pair: pair[1].preference)
    return winner
