"""The Pareto front of candidates: a better score, lower costs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from pymoo.util.nds.non_dominated_sorting import NonDominatedSorting

from searcher.search.candidate import Candidate


def pareto_front(candidates: Sequence[Candidate]) -> tuple[Candidate, ...]:
    """Return the candidates that none beats in score and in every cost, cheapest first; those without score left out.

    A score of a higher rung is above all of a lower one.
    """
    scored = [candidate for candidate in candidates if candidate.score is not None]
    if not scored:
        return ()
    standings = [(candidate.rung, candidate.score or 0.0) for candidate in scored]
    places = {standing: place for place, standing in enumerate(sorted(set(standings)))}
    objectives = np.array(
        [
            [-places[standing], *(cost.value for cost in candidate.costs)]
            for candidate, standing in zip(scored, standings, strict=True)
        ],
        np.float64,
    )
    front = [scored[index] for index in NonDominatedSorting().do(objectives, only_non_dominated_front=True)]
    return tuple(sorted(front, key=lambda one: ([cost.value for cost in one.costs], one.architecture)))
