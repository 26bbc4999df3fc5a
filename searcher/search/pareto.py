"""The Pareto front of candidates: more φ, less latency."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from pymoo.util.nds.non_dominated_sorting import NonDominatedSorting

from searcher.search.candidate import Candidate


def pareto_front(candidates: Sequence[Candidate]) -> tuple[Candidate, ...]:
    """Return the candidates that none beats in both φ and latency, fastest first; those without φ are left out."""
    scored = [(candidate, candidate.rmi) for candidate in candidates if candidate.rmi is not None]
    if not scored:
        return ()
    costs = np.array([[-rmi, candidate.predicted_ms] for candidate, rmi in scored])
    indices = NonDominatedSorting().do(costs, only_non_dominated_front=True)
    return tuple(sorted((scored[i][0] for i in indices), key=lambda one: (one.predicted_ms, one.architecture)))
