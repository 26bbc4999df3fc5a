"""What a runtime does with ReLUs, and whether it leaves sums and pools alone, read from graphs that it optimised."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from searcher.spaces.architecture import Architecture
from searcher.spaces.cell import AVG_POOL
from searcher.spaces.computation import ADD
from searcher.spaces.fusion import PRODUCERS, Fusion
from searcher.spaces.nasbench201 import STAGES, NasBench201
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
        explained: how many networks it explains exactly.
        networks: how many there are, of those whose graphs are known.
        adds: how many have as many sums as their cells add, but for a number that all share.
        pools: how many have as many average pools as their cells take, but for a number that all share.
    """

    fusion: Fusion
    explained: int
    networks: int
    adds: int
    pools: int

    @property
    def holds(self) -> bool:
        """Whether every network's ReLUs are explained, and there is one."""
        return self.explained == self.networks > 0


_RELUS, _ADDS, _POOLS = ("relu",), ("add",), ("averagepool", "average_pool_2d")


def relu_operators(operations: Sequence[str]) -> int:
    """Count the ReLUs that stand by themselves among a graph's operators."""
    return _operators(operations, _RELUS)


def _operators(operations: Sequence[str], names: Sequence[str]) -> int:
    return sum(operation.partition("@")[0].lower() in names for operation in operations)


def read_fusion(space: NasBench201, networks: Sequence[Seen]) -> ReadFusion:
    """Find the rule by which every network has as many ReLUs as its graph shows, but for those that all share.

    Of rules that explain as many networks, that which changes least is taken: what no network shows is not assumed.

    Args:
        space: of the networks.
        networks: those without operators, whose graphs are unknown, say nothing.
    """
    known = [one for one in networks if one.operations]
    rules = [replace(space, fusion=fusion) for fusion in _fusions()]
    explained = [
        _alike(relu_operators(one.operations) - rule.relus(one.architecture) for one in known) for rule in rules
    ]
    best = max(range(len(rules)), key=lambda index: explained[index])
    counts = [dict(space.computation(one.architecture).operations) for one in known]
    cells = STAGES * space.cells_per_stage
    adds, pools = (
        _alike(
            _operators(one.operations, names) - cells * count[kind] for one, count in zip(known, counts, strict=True)
        )
        for names, kind in ((_ADDS, ADD), (_POOLS, AVG_POOL))
    )
    return ReadFusion(rules[best].fusion, explained[best], len(known), adds, pools)


def _alike(numbers: Iterable[int]) -> int:
    """Return how often the most frequent of the numbers occurs; 0 where there is none."""
    return max(Counter(numbers).values(), default=0)


def executed_by(space: SearchSpace, fusion: Fusion) -> SearchSpace:
    """Return a space that counts blocks as a runtime executes them; only NAS-Bench-201 has ReLUs to merge."""
    return replace(space, fusion=fusion) if isinstance(space, NasBench201) else space


def _fusions() -> list[Fusion]:
    """Return every rule, those that change less before those that change more."""
    subsets = [
        frozenset(chosen) for size in range(len(PRODUCERS) + 1) for chosen in itertools.combinations(PRODUCERS, size)
    ]
    return [Fusion(merges, into) for into in subsets for merges in (False, True)]
