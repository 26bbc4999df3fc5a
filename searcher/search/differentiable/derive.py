"""From the logits of a structure to the architectures that it prefers."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from searcher.errors import BadInputError, SearcherError
from searcher.spaces import cell, darts_cell, fbnet_layers
from searcher.spaces.architecture import Architecture
from searcher.spaces.darts import DartsSpace
from searcher.spaces.fbnet import FBNet
from searcher.spaces.nasbench201 import NasBench201
from searcher.spaces.space import SearchSpace


class _Option(NamedTuple):
    """What a part of a structure may become: genes as (position, choice), and the logarithm of their probability."""

    log_probability: float
    genes: tuple[tuple[int, int], ...]


def derive(space: SearchSpace, logits: Tensor) -> Architecture:
    """Return the architecture that a structure prefers: the first of `likeliest`.

    Raises:
        SearcherError: a logit is not finite.
    """
    return likeliest(space, logits, 1)[0]


def likeliest(space: SearchSpace, logits: Tensor, count: int) -> tuple[Architecture, ...]:
    """Return the connected architectures that a structure gives the highest probabilities, the highest first.

    In DARTS's space each node keeps two edges with an operation but `none`; so the likeliest architecture keeps those
    two whose strongest operation has the highest probability (Liu et al. 2019, section 2.4). In others each position
    takes a choice.

    Args:
        space: that the logits are of.
        logits: (positions, choices), finite.
        count: how many; fewer are returned where the space has no more.

    Raises:
        SearcherError: a logit is not finite.
    """
    if not bool(logits.isfinite().all()):
        raise SearcherError("the structure has logits that are not finite: lower the structure's learning rate")
    log_probabilities = torch.log_softmax(logits.detach().double(), dim=-1).tolist()
    parts = _nodes(log_probabilities, count) if isinstance(space, DartsSpace) else _positions(log_probabilities)
    found = tuple(itertools.islice(_connected(space, len(log_probabilities), parts), count))
    if not found:
        raise SearcherError(f"no architecture of the space {space.name} is connected")
    return found


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


def _positions(log_probabilities: list[list[float]]) -> list[list[_Option]]:
    return [
        [_Option(value, ((position, choice),)) for choice, value in enumerate(row)]
        for position, row in enumerate(log_probabilities)
    ]


def _nodes(log_probabilities: list[list[float]], count: int) -> list[list[_Option]]:
    """Return for each node of both cells which two edges it may keep, with which operations.

    All such architectures are connected, so that the first `count` of them hold none but the `count` likeliest
    operations of an edge.
    """
    none = darts_cell.OPERATIONS.index(darts_cell.NONE)
    choices = [choice for choice in range(len(darts_cell.OPERATIONS)) if choice != none]
    kept = [heapq.nlargest(count, choices, key=row.__getitem__) for row in log_probabilities]
    nodes = []
    for first in range(0, len(log_probabilities), len(darts_cell.EDGES)):
        for places in darts_cell.NODE_EDGES:
            pairs = itertools.combinations([first + place for place in places], 2)
            nodes.append(
                [
                    _Option(
                        log_probabilities[one][left] + log_probabilities[other][right], ((one, left), (other, right))
                    )
                    for one, other in pairs
                    for left, right in itertools.product(kept[one], kept[other])
                ]
            )
    return nodes


def _connected(space: SearchSpace, positions: int, parts: list[list[_Option]]) -> Iterator[Architecture]:
    """Yield the connected architectures in the order of falling probability.

    The options of each part are ranked. From the best ranks everywhere, the ranks that come next are those with one
    part, at or after the last that was moved, one rank further: each combination is met once, after a better one.
    """
    ranked = [sorted(options, key=lambda option: -option.log_probability) for options in parts]

    def entry(ranks: tuple[int, ...]) -> tuple[float, tuple[int, ...]]:
        return -sum(options[rank].log_probability for options, rank in zip(ranked, ranks, strict=True)), ranks

    waiting = [entry((0,) * len(ranked))]
    while waiting:
        _, ranks = heapq.heappop(waiting)
        genes = [0] * positions
        for options, rank in zip(ranked, ranks, strict=True):
            for position, choice in options[rank].genes:
                genes[position] = choice
        architecture = Architecture(space.name, tuple(genes))
        if space.is_connected(architecture):
            yield architecture
        last = max((part for part, rank in enumerate(ranks) if rank), default=0)
        for part in range(last, len(ranks)):
            if ranks[part] + 1 < len(ranked[part]):
                heapq.heappush(waiting, entry((*ranks[:part], ranks[part] + 1, *ranks[part + 1 :])))
