"""What a search knows, under costs that are worked out anew: its candidates, and what shares a score with one."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from searcher.cost_models.prices import FLOPS, PARAMETERS, CountPrice
from searcher.search.candidate import Candidate, SearchResult, best_distinct
from searcher.search.evaluator import trained_key
from searcher.search.limits import Constraint, Cost, violation
from searcher.search.preference import preference_named, rank
from searcher.spaces.nasbench201 import NasBench201
from searcher.spaces.space import SearchSpace

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Standing:
    """What is believed of all architectures of an archive.

    Attributes:
        within: those that have a score and are believed to keep all limits, one for each `score_key`, best first.
        unscored: how many are believed to keep all limits and were never scored, since the search believed otherwise.
    """

    within: tuple[Candidate, ...]
    unscored: int


class Archive:
    """The candidates of a search, and their siblings: cells of NAS-Bench-201 that share a score, but not a latency."""

    def __init__(self, space: SearchSpace, search: SearchResult, constraints: Sequence[Constraint]) -> None:
        """Price all siblings of what the search scored.

        Args:
            space: of the search.
            search: what it found.
            constraints: its limits, in their order, with what prices architectures for them.

        Raises:
            BadInputError: an architecture is none of the space.
        """
        self._limits = search.limits
        self._preference = preference_named(search.constraint, search.limits)
        self._candidates = (*search.candidates, *_siblings(space, search.candidates, constraints))
        self._genotypes = np.array([space.parse(one.architecture).genotype for one in self._candidates], np.int64)

    @property
    def genotypes(self) -> NDArray[np.integer[Any]]:
        """(n, genes) encodings of all architectures."""
        return self._genotypes

    def standing(self, limit: int, values: Floats, bounds: Floats, measured: Collection[str]) -> Standing:
        """Rank all architectures under new costs of one limit.

        Args:
            limit: its place among the limits.
            values: (n,) what each architecture is now believed to cost, in the limit's unit.
            bounds: (n,) what is held against the limit.
            measured: texts of architectures whose cost was measured: of equal ones they come first, since nothing is
                gained by measuring another.
        """
        believed = [
            self._believed(one, limit, float(value), float(bound))
            for one, value, bound in zip(self._candidates, values, bounds, strict=True)
        ]
        ranked = sorted(
            rank(believed, self._preference),
            key=lambda one: (*self._preference(one), one.architecture in measured),
            reverse=True,
        )
        unscored = {one.score_key for one in believed if one.feasible and one.score is None}
        return Standing(best_distinct(ranked, len(ranked)), len(unscored))

    def _believed(self, candidate: Candidate, limit: int, value: float, bound: float) -> Candidate:
        cost = Cost(candidate.costs[limit].quantity, value, bound)
        costs = (*candidate.costs[:limit], cost, *candidate.costs[limit + 1 :])
        broken = violation(costs, self._limits)
        return replace(candidate, costs=costs, violation=broken, feasible=candidate.problem is None and broken == 0)


def _siblings(
    space: SearchSpace, candidates: Sequence[Candidate], constraints: Sequence[Constraint]
) -> list[Candidate]:
    """Return what the search never met but shares a score with a candidate."""
    if not isinstance(space, NasBench201):
        return []
    scored = {one.score_key: one for one in candidates if one.score is not None}
    met = {one.architecture for one in candidates}
    keyed = ((one, scored.get(trained_key(space, one))) for one in space.architectures())
    found = [(one, sharing) for one, sharing in keyed if sharing is not None and space.format(one) not in met]
    if not found:
        return []
    genotypes = np.array([one.genotype for one, _ in found], np.int64)
    costs = [
        [Cost(one.limit.quantity, float(value), float(bound)) for value, bound in zip(values, bounds, strict=True)]
        for one in constraints
        for values, bounds in [(one.price.costs(genotypes), one.bounds(genotypes))]
    ]
    parameters, macs = (_counts(space, quantity, genotypes) for quantity in (PARAMETERS, FLOPS))
    return [
        replace(
            sharing,
            architecture=space.format(one),
            costs=tuple(column[row] for column in costs),
            parameters=parameters[row],
            macs=macs[row],
        )
        for row, (one, sharing) in enumerate(found)
    ]


def _counts(space: SearchSpace, quantity: str, genotypes: NDArray[np.integer[Any]]) -> list[int]:
    """Return parameters or multiply-accumulates, all at once: one by one they take seconds."""
    counted: list[int] = np.rint(1e6 * CountPrice(space, quantity).costs(genotypes)).astype(np.int64).tolist()
    return counted
