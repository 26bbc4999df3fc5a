"""The search spaces that a user can name."""

from __future__ import annotations

from searcher.errors import BadInputError
from searcher.spaces.nasbench201 import NasBench201

SPACES = ("nasbench201",)


def space_named(name: str, cells_per_stage: int = 5, classes: int = 10) -> NasBench201:
    """Return a space by its name.

    Args:
        name: one of SPACES.
        cells_per_stage: depth of its networks.
        classes: outputs of its networks.

    Raises:
        BadInputError: there is no such space.
    """
    if name not in SPACES:
        raise BadInputError(f"unknown search space {name!r}; this version knows {', '.join(SPACES)}")
    return NasBench201(cells_per_stage=cells_per_stage, classes=classes)
