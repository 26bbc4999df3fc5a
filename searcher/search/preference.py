"""Which of two candidates is better, when there are limits to keep."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from searcher.errors import BadInputError
from searcher.search.candidate import Candidate
from searcher.search.limits import Cost, Limit

Preference = Callable[[Candidate], tuple[float, ...]]

DEB, PAPER, REJECT = "deb", "paper", "reject"
CONSTRAINTS = (DEB, PAPER, REJECT)

_PROBLEM, _INFEASIBLE, _FEASIBLE = 0.0, 1.0, 2.0


def preference_named(constraint: str, limits: Sequence[Limit]) -> Preference:
    """Return what a search compares candidates by: more is better, as tuples compare.

    Args:
        constraint: one of CONSTRAINTS; what is rejected before it is evaluated needs no rules but Deb's.
        limits: of the search.

    Raises:
        BadInputError: there is no such way to keep limits.
    """
    if constraint not in CONSTRAINTS:
        raise BadInputError(
            f"limits are kept by {', '.join(CONSTRAINTS[:-1])} or {CONSTRAINTS[-1]}, not {constraint!r}"
        )
    if constraint == PAPER:
        return lambda candidate: papers(candidate, limits)
    return debs


def debs(candidate: Candidate) -> tuple[float, ...]:
    """Return an architecture's place by Deb's feasibility rules (Deb 2000, An efficient constraint handling method).

    The feasible stand above the infeasible, among them the higher rung and then the higher score; the infeasible by
    violation alone. Those with a problem stand below all.
    """
    if candidate.problem is not None:
        return (_PROBLEM,)
    if not candidate.feasible:
        return (_INFEASIBLE, -candidate.violation)
    return (_FEASIBLE, candidate.rung, candidate.score or 0.0)


def papers(candidate: Candidate, limits: Sequence[Limit]) -> tuple[float, ...]:
    """Return an architecture's place by its score plus the penalties (HW-EvRSNAS, Eq. 4); those without a score last.

    Of halving, which the paper has not, the higher rung comes first.
    """
    if candidate.score is None:
        return (_PROBLEM,)
    return (_FEASIBLE, candidate.rung, candidate.score + penalty(candidate.costs, limits))


def penalty(costs: Iterable[Cost], limits: Iterable[Limit]) -> float:
    """Return the sum of min(0, limit - cost), each in its own unit: 0 within the limits (HW-EvRSNAS, Eq. 5)."""
    return sum(min(0.0, limit.at_most - cost.bound) for cost, limit in zip(costs, limits, strict=True))


def rank(candidates: Iterable[Candidate], preference: Preference) -> tuple[Candidate, ...]:
    """Order candidates, the preferred first; of equals the cheaper, then by text, so that the order is one."""
    ordered = sorted(candidates, key=lambda one: ([cost.value for cost in one.costs], one.architecture))
    return tuple(sorted(ordered, key=preference, reverse=True))
