"""What is found out about an architecture without training it fully: named numbers, and what measures them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from searcher.spaces.architecture import Architecture


@dataclass(frozen=True)
class Measured:
    """What was found out about one architecture.

    Attributes:
        values: by name, such as `rmi` and `loss`; empty where there is a problem.
        problem: why there are none, such as that its training diverged; None if there are.
    """

    values: Mapping[str, float]
    problem: str | None = None


class Measurer(Protocol):
    """Finds out the same numbers about any architecture of one space.

    The answer for an architecture is a pure function of `identity` and of the architecture's `score_key`: not of the
    others in the same call, nor of the order of calls. That is what makes it worth keeping.
    """

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the values that it gives."""

    @property
    def identity(self) -> Mapping[str, Any]:
        """All that its answers depend on but the architecture, as JSON has it."""

    def measure(self, architectures: Sequence[Architecture]) -> list[Measured]:
        """Return what is found out about each architecture, in their order.

        Those that are given at once may be worked on together, which is quicker. They are connected, and no two of
        them share a `score_key`.
        """
