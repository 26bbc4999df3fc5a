"""The DARTS cell that costs least, exactly: dynamic programming over nodes that knows which pools are paid already."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from searcher.spaces.darts_cell import EDGES, INPUTS, NODE_EDGES, NODES, OPERATIONS, POOLS, Genotype

_POOLS = [OPERATIONS.index(name) for name in POOLS]
_OTHERS = [gene for gene in range(1, len(OPERATIONS)) if gene not in _POOLS]
# One bit for each pool of each value that a node may take: both inputs and all nodes but the last.
_STATES = 1 << len(_POOLS) * (INPUTS + NODES - 1)


class _Option(NamedTuple):
    """One way to fill a node: two edges with their operations, what they cost, and the pools among them."""

    genes: tuple[tuple[int, int], tuple[int, int]]
    cost: float
    pools: tuple[tuple[int, float], ...]


class _Step(NamedTuple):
    """The cheapest way to each state after a node: which option was taken, and in which state before."""

    options: list[_Option]
    option: NDArray[np.intp]
    before: NDArray[np.intp]


def cheapest_cell(prices: NDArray[np.float64]) -> Genotype:
    """Return the cell that costs least when equal pools of one value are paid once.

    Of the operations that are paid each, only the cheapest on an edge can be part of it.

    Args:
        prices: (14, 8) what each operation costs on each edge; may be negative. Edges of one source have one price.
    """
    costs = np.full(_STATES, np.inf)
    costs[0] = 0.0
    steps = []
    for edges in NODE_EDGES:
        step, costs = _step(list(_options(edges, prices)), costs)
        steps.append(step)
    state, genes = int(costs.argmin()), [0] * len(EDGES)
    for step in reversed(steps):
        for edge, gene in step.options[step.option[state]].genes:
            genes[edge] = gene
        state = int(step.before[state])
    return tuple(genes)


def _options(edges: tuple[int, ...], prices: NDArray[np.float64]) -> Iterator[_Option]:
    best = {edge: _OTHERS[int(prices[edge, _OTHERS].argmin())] for edge in edges}
    for pair in itertools.combinations(edges, 2):
        for genes in itertools.product(*[(best[edge], *_POOLS) for edge in pair]):
            chosen = list(zip(pair, genes, strict=True))
            paid = sum(float(prices[edge, gene]) for edge, gene in chosen if gene not in _POOLS)
            pools = tuple((_bit(edge, gene), float(prices[edge, gene])) for edge, gene in chosen if gene in _POOLS)
            yield _Option((chosen[0], chosen[1]), paid, pools)


def _bit(edge: int, gene: int) -> int:
    return 1 << (EDGES[edge][0] * len(_POOLS) + _POOLS.index(gene))


def _step(options: list[_Option], costs: NDArray[np.float64]) -> tuple[_Step, NDArray[np.float64]]:
    """Fill one node in all ways; return the cheapest way to each state and what it costs."""
    reached = np.flatnonzero(np.isfinite(costs))
    totals, after = np.empty((len(options), len(reached))), np.empty((len(options), len(reached)), np.intp)
    for row, option in enumerate(options):
        totals[row], after[row] = costs[reached] + option.cost, reached
        for bit, price in option.pools:
            totals[row] += np.where(reached & bit, 0.0, price)
            after[row] |= bit
    order = totals.ravel().argsort(kind="stable")
    states, first = np.unique(after.ravel()[order], return_index=True)
    cheapest = order[first]
    found = _Step(options, np.zeros(_STATES, np.intp), np.zeros(_STATES, np.intp))
    found.option[states], found.before[states] = cheapest // len(reached), reached[cheapest % len(reached)]
    after_costs = np.full(_STATES, np.inf)
    after_costs[states] = totals.ravel()[cheapest]
    return found, after_costs
