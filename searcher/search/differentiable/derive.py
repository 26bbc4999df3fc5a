"""From the logits of a structure to one architecture."""

from __future__ import annotations

import heapq

import torch
from torch import Tensor

from searcher.errors import BadInputError, SearcherError
from searcher.spaces import cell, darts_cell, fbnet_layers
from searcher.spaces.architecture import Architecture
from searcher.spaces.darts import DartsSpace
from searcher.spaces.fbnet import FBNet
from searcher.spaces.nasbench201 import NasBench201
from searcher.spaces.space import SearchSpace


def derive(space: SearchSpace, logits: Tensor) -> Architecture:
    """Return the architecture that a structure prefers.

    In DARTS's space each node keeps two edges, those whose strongest operation but `none` has the highest probability,
    with that operation (Liu et al. 2019, section 2.4). In others each position takes its most probable choice; where
    that is disconnected, the most probable architecture that is connected is taken.

    Args:
        space: that the logits are of.
        logits: (positions, choices), finite.

    Raises:
        SearcherError: a logit is not finite.
    """
    if not bool(logits.isfinite().all()):
        raise SearcherError("the structure has logits that are not finite: lower the structure's learning rate")
    log_probabilities = torch.log_softmax(logits.detach().double(), dim=-1)
    if isinstance(space, DartsSpace):
        return Architecture(space.name, _two_edges_a_node(log_probabilities.tolist()))
    return _most_probable(space, log_probabilities.tolist())


def skip_choice(space: SearchSpace) -> int:
    """Return the index of the choice that passes its input on unchanged.

    Raises:
        BadInputError: it is not known of this space.
    """
    if isinstance(space, NasBench201):
        return cell.OPERATIONS.index(cell.SKIP)
    if isinstance(space, DartsSpace):
        return darts_cell.OPERATIONS.index(darts_cell.SKIP)
    if isinstance(space, FBNet):
        return fbnet_layers.CHOICES.index(fbnet_layers.SKIP)
    raise BadInputError(f"which choice of the space {space.name} is a skip is not known")


def _two_edges_a_node(log_probabilities: list[list[float]]) -> tuple[int, ...]:
    none = darts_cell.OPERATIONS.index(darts_cell.NONE)
    genes = [none] * len(log_probabilities)
    edges = len(darts_cell.EDGES)
    for first in range(0, len(log_probabilities), edges):
        for places in darts_cell.NODE_EDGES:
            strongest = []
            for place in places:
                row = log_probabilities[first + place]
                choice = max((index for index in range(len(row)) if index != none), key=row.__getitem__)
                strongest.append((row[choice], first + place, choice))
            for _, position, choice in sorted(strongest, key=lambda edge: -edge[0])[:2]:
                genes[position] = choice
    return tuple(genes)


def _most_probable(space: SearchSpace, log_probabilities: list[list[float]]) -> Architecture:
    """Return the first connected architecture in the order of falling probability.

    Each position's choices are ranked. From the best ranks everywhere, the ranks that come next are those with one
    position, at or after the last that was moved, one rank further: each combination is met once, after a better one.
    """
    ranked = [sorted(range(len(row)), key=lambda choice, row=row: -row[choice]) for row in log_probabilities]  # type: ignore[misc]

    def entry(ranks: tuple[int, ...]) -> tuple[float, tuple[int, ...]]:
        return -sum(row[order[rank]] for row, order, rank in zip(log_probabilities, ranked, ranks, strict=True)), ranks

    waiting = [entry((0,) * len(ranked))]
    while waiting:
        _, ranks = heapq.heappop(waiting)
        genotype = tuple(order[rank] for order, rank in zip(ranked, ranks, strict=True))
        architecture = Architecture(space.name, genotype)
        if space.is_connected(architecture):
            return architecture
        last = max((position for position, rank in enumerate(ranks) if rank), default=0)
        for position in range(last, len(ranks)):
            if ranks[position] + 1 < len(ranked[position]):
                heapq.heappush(waiting, entry((*ranks[:position], ranks[position] + 1, *ranks[position + 1 :])))
    raise SearcherError(f"no architecture of the space {space.name} is connected")
