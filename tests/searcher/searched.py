"""Results of searches whose scores are known, for tests of what comes after a search."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from searcher.cost_models.prices import LatencyPrice
from searcher.search.candidate import Candidate, SearchResult
from searcher.search.limits import Constraint, Limit, violation
from searcher.search.preference import DEB, PAPER, preference_named, rank
from searcher.spaces.architecture import Architecture
from searcher.spaces.space import SearchSpace
from tests.searcher.builders import KEY


def found(
    space: SearchSpace,
    architectures: Sequence[Architecture],
    constraints: Sequence[Constraint],
    score: Callable[[Architecture], float],
    cells: int = 1,
    constraint: str = DEB,
) -> SearchResult:
    """A search that met these architectures and scored those within the limits, or, with the paper's penalty, all."""
    limits = tuple(one.limit for one in constraints)
    candidates = []
    for one in dict.fromkeys(architectures):
        costs = tuple(constraint.cost(one) for constraint in constraints)
        broken = violation(costs, limits)
        is_scored = broken == 0 or constraint == PAPER
        candidates.append(
            Candidate(
                architecture=space.format(one),
                score_key=space.score_key(one),
                score=score(one) if is_scored else None,
                measured={},
                rung=int(is_scored),
                costs=costs,
                violation=broken,
                feasible=broken == 0,
                parameters=space.parameters(one),
                macs=space.macs(one),
            )
        )
    ranked = rank(candidates, preference_named(constraint, limits))
    return SearchResult(space.name, cells, cells, KEY, limits, "known", constraint, {}, ranked, (), ())


def latency_limit(
    price: LatencyPrice, at_most: float, confidence: float | None = None, ratio: float = 1.0
) -> Constraint:
    return Constraint(Limit("latency", at_most, confidence, price.name), price, ratio)


def random_cells(space: SearchSpace, count: int, seed: int = 0) -> list[Architecture]:
    generator = np.random.default_rng(seed)
    drawn = (space.sample(generator) for _ in range(3 * count))
    return [one for one in dict.fromkeys(drawn) if space.is_connected(one)][:count]
