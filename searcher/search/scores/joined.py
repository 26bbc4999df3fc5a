"""Several measurers as one, and no more of them than a score needs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from searcher.errors import BadInputError
from searcher.search.scores.measuring import Measured, Measurer
from searcher.spaces.architecture import Architecture


class Joined:
    """Gives the values of all its measurers; implements Measurer.

    An architecture with which one measurer has a problem has that problem, and is not shown to those that follow: so
    the cheap ones are best given first.
    """

    def __init__(self, measurers: Sequence[Measurer]) -> None:
        """Join measurers of one space.

        Raises:
            BadInputError: two of them give a value of the same name.
        """
        names = [name for measurer in measurers for name in measurer.names]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise BadInputError(f"two measurers give the value {twice[0]!r}")
        self._measurers = tuple(measurers)
        self._names = tuple(names)

    @property
    def names(self) -> tuple[str, ...]:
        """The names of all values, in the order of the measurers."""
        return self._names

    @property
    def identity(self) -> Mapping[str, Any]:
        """The identities of all, in their order."""
        return {"measurer": "joined", "of": [dict(measurer.identity) for measurer in self._measurers]}

    def measure(self, architectures: Sequence[Architecture]) -> list[Measured]:
        """Return the values of each architecture, in their order; each measurer sees all that are left at once."""
        found = [Measured({}) for _ in architectures]
        for measurer in self._measurers:
            left = [index for index, one in enumerate(found) if one.problem is None]
            answers = measurer.measure([architectures[index] for index in left])
            for index, answer in zip(left, answers, strict=True):
                found[index] = answer if answer.problem else Measured({**found[index].values, **answer.values})
        return found


def measurer_of(values: Sequence[str], offered: Sequence[Measurer]) -> Measurer:
    """Return what gives these values and takes no measurer that is not needed for them.

    Args:
        values: names, such as those that a score needs.
        offered: measurers to choose from, the cheapest first.

    Raises:
        BadInputError: none of them gives one of the values.
    """
    left, needed = set(values), list[Measurer]()
    for measurer in offered:
        if left & set(measurer.names):
            needed.append(measurer)
            left -= set(measurer.names)
    if left:
        raise BadInputError(f"nothing measures the value {min(left)!r} here")
    return needed[0] if len(needed) == 1 else Joined(needed)
