"""What can be counted of an architecture without running anything: parameters and multiply-accumulates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from searcher.search.scores.measuring import Measured
from searcher.spaces.architecture import Architecture
from searcher.spaces.counts import block_macs, block_parameters
from searcher.spaces.space import SearchSpace

COUNTED_NAMES = ("parameters", "macs", "live_parameters", "live_macs")


class Counted:
    """Counts parameters and multiply-accumulates of one image; implements Measurer.

    `parameters` and `macs` are what the space's benchmark counts. `live_parameters` and `live_macs` leave out what does
    not reach the output, or has no input, and so neither learns nor computes. All are those of the one architecture
    that is trained for all of a `score_key`: another of the same key may have dead edges with weights of their own.
    """

    def __init__(self, space: SearchSpace) -> None:
        """Take a space, with the depth of the networks that are counted."""
        self._space = space

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the counts."""
        return COUNTED_NAMES

    @property
    def identity(self) -> Mapping[str, Any]:
        """That these are counts, and the sizes of the space's networks."""
        return {"measurer": "counted", "space": repr(self._space)}

    def measure(self, architectures: Sequence[Architecture]) -> list[Measured]:
        """Return the counts of each architecture, in their order."""
        return [self._count(self._space.representative(architecture)) for architecture in architectures]

    def _count(self, architecture: Architecture) -> Measured:
        executed = self._space.blocks(architecture).items()
        counts = (
            self._space.parameters(architecture),
            self._space.macs(architecture),
            sum(count * block_parameters(block) for block, count in executed),
            sum(count * block_macs(block) for block, count in executed),
        )
        return Measured({name: float(count) for name, count in zip(COUNTED_NAMES, counts, strict=True)})
