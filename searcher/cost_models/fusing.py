"""What a runtime does with ReLUs, read from the graphs that it optimised."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from searcher.spaces.architecture import Architecture
from searcher.spaces.fusion import PRODUCERS, UNFUSED, Fusion
from searcher.spaces.nasbench201 import NasBench201
from searcher.spaces.space import SearchSpace


@dataclass(frozen=True)
class Seen:
    """One network, and the operators of its graph as the runtime optimised it."""

    architecture: Architecture
    operations: tuple[str, ...]


@dataclass(frozen=True)
class ReadFusion:
    """What the graphs show.

    Attributes:
        fusion: the rule that explains most networks.
        explained: how many it explains exactly.
        networks: how many there are.
    """

    fusion: Fusion
    explained: int
    networks: int

    @property
    def holds(self) -> bool:
        """Whether every network is explained."""
        return self.explained == self.networks


def relu_operators(operations: Sequence[str]) -> int:
    """Count the ReLUs that stand by themselves among a graph's operators."""
    return sum(operation.partition("@")[0].lower() == "relu" for operation in operations)


def read_fusion(space: NasBench201, networks: Sequence[Seen]) -> ReadFusion:
    """Find the rule by which every network has as many ReLUs as its graph shows, but for those that all share.

    Of rules that explain as many networks, that which changes least is taken: what no network shows is not assumed.

    Args:
        space: of the networks.
        networks: at least one.
    """
    best = ReadFusion(UNFUSED, -1, len(networks))
    for fusion in _fusions():
        under = replace(space, fusion=fusion)
        surplus = Counter(relu_operators(one.operations) - under.relus(one.architecture) for one in networks)
        explained = surplus.most_common(1)[0][1]
        if explained > best.explained:
            best = ReadFusion(fusion, explained, len(networks))
    return best


def executed_by(space: SearchSpace, fusion: Fusion) -> SearchSpace:
    """Return a space that counts blocks as a runtime executes them; only NAS-Bench-201 has ReLUs to merge."""
    return replace(space, fusion=fusion) if isinstance(space, NasBench201) else space


def _fusions() -> list[Fusion]:
    """Return every rule, those that change less before those that change more."""
    subsets = [
        frozenset(chosen) for size in range(len(PRODUCERS) + 1) for chosen in itertools.combinations(PRODUCERS, size)
    ]
    return [Fusion(merges, into) for into in subsets for merges in (False, True)]
