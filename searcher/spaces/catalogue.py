"""The search spaces that a user can name."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from searcher.errors import BadInputError
from searcher.spaces.darts import DartsSpace
from searcher.spaces.fbnet import FBNet
from searcher.spaces.nasbench201 import NasBench201

SPACES = ("nasbench201", "fbnet", "darts")


def space_named(
    name: str,
    cells: int | None = None,
    classes: int | None = None,
    image_size: int | None = None,
    channels: int | None = None,
) -> NasBench201 | FBNet | DartsSpace:
    """Return a space by its name; what is None is as the space's benchmark has it.

    Args:
        name: one of SPACES.
        cells: depth of the networks: cells in each stage of nasbench201, in the whole network of darts; those of fbnet
            have one depth.
        classes: outputs of its networks.
        image_size: side of their square images, in pixels.
        channels: of the first cells of nasbench201 and darts; those of fbnet have one width.

    Raises:
        BadInputError: there is no such space, or it has no such sizes.
    """
    if name not in SPACES:
        raise BadInputError(f"unknown search space {name!r}; this version knows {', '.join(SPACES)}")
    sizes = _given(classes=classes, image_size=image_size)
    if name == "nasbench201":
        return replace(NasBench201(), **sizes, **_given(cells_per_stage=cells, channels=channels))
    if name == "darts":
        return DartsSpace(**sizes, **_given(cells=cells, channels=channels))
    if cells is not None:
        raise BadInputError(f"networks of {name} have no cells: their number is for nasbench201 and darts")
    if channels is not None:
        raise BadInputError(f"networks of {name} have one width: channels are for nasbench201 and darts")
    return FBNet(**sizes)


def _given(**sizes: int | None) -> dict[str, Any]:
    return {size: value for size, value in sizes.items() if value is not None}
