"""The Pareto front of candidates: more φ, less latency."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from pymoo.util.nds.non_dominated_sorting import NonDominatedSorting

from searcher.search.candidate import Candidate


def pareto_front(candidates: Sequence[Candidate]) -> tuple[Candidate, ...]:
    """Return the candidates that none beats in both φ and latency, fastest first."""
    if not candidates:
        return ()
    costs = np.array([[-candidate.rmi, candidate.predicted_ms] for candidate in candidates])
    indices = NonDominatedSorting().do(costs, only_non_dominated_front=True)
    return tuple(sorted((candidates[i] for i in indices), key=lambda one: (one.predicted_ms, one.architecture)))
