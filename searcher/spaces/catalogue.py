"""The search spaces that a user can name."""

from __future__ import annotations

from searcher.errors import BadInputError
from searcher.spaces.fbnet import FBNet
from searcher.spaces.nasbench201 import NasBench201

SPACES = ("nasbench201", "fbnet")


def space_named(
    name: str, cells_per_stage: int | None = None, classes: int | None = None, image_size: int | None = None
) -> NasBench201 | FBNet:
    """Return a space by its name; what is None is as the space's benchmark has it.

    Args:
        name: one of SPACES.
        cells_per_stage: depth of the networks of nasbench201; those of fbnet have one depth.
        classes: outputs of its networks.
        image_size: side of their square images, in pixels.

    Raises:
        BadInputError: there is no such space, or it has no such sizes.
    """
    if name not in SPACES:
        raise BadInputError(f"unknown search space {name!r}; this version knows {', '.join(SPACES)}")
    given = {"classes": classes, "image_size": image_size}
    sizes = {size: value for size, value in given.items() if value is not None}
    if name == "nasbench201":
        return NasBench201(**sizes) if cells_per_stage is None else NasBench201(cells_per_stage, **sizes)
    if cells_per_stage is not None:
        raise BadInputError(f"networks of {name} have no cells: their number in a stage is for nasbench201")
    return FBNet(**sizes)
