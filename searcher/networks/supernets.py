"""The supernet of a space, whichever space it is."""

from __future__ import annotations

import torch

from searcher.errors import BadInputError
from searcher.networks.blocks import initialise
from searcher.networks.darts_supernet import DartsSupernet
from searcher.networks.fbnet_supernet import FBNetSupernet
from searcher.networks.nasbench201_supernet import NasBench201Supernet
from searcher.networks.supernet import Supernet, SupernetOptions
from searcher.spaces.darts import DartsSpace
from searcher.spaces.fbnet import FBNet
from searcher.spaces.nasbench201 import NasBench201
from searcher.spaces.space import SearchSpace


def build_supernet(space: SearchSpace, options: SupernetOptions, generator: torch.Generator) -> Supernet:
    """Return the supernet of a space in training mode and channels-last memory, its weights from the generator alone.

    Raises:
        BadInputError: the space has no supernet here, or the options do not fit it.
    """
    supernet = _of(space, options)
    initialise(supernet, generator)
    supernet.to(memory_format=torch.channels_last)  # type: ignore[call-overload] # torch's stubs lack it
    supernet.train()
    return supernet


def _of(space: SearchSpace, options: SupernetOptions) -> Supernet:
    if isinstance(space, NasBench201):
        return NasBench201Supernet(space, options)
    if isinstance(space, FBNet):
        return FBNetSupernet(space, options)
    if isinstance(space, DartsSpace):
        return DartsSupernet(space, options)
    raise BadInputError(f"There is no supernet of the space {space.name}.")
