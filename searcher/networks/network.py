"""The torch network of an architecture, whichever space it is from."""

from __future__ import annotations

from searcher.errors import BadInputError
from searcher.networks.darts import DartsNetwork
from searcher.networks.fbnet import FBNetNetwork
from searcher.networks.nasbench201 import NasBench201Network
from searcher.spaces.architecture import Architecture
from searcher.spaces.darts import DartsSpace
from searcher.spaces.fbnet import FBNet
from searcher.spaces.nasbench201 import NasBench201
from searcher.spaces.space import SearchSpace


def build_network(space: SearchSpace, architecture: Architecture) -> NasBench201Network | FBNetNetwork | DartsNetwork:
    """Return the network of an architecture, images of the space's shape to logits; weights are torch's defaults.

    Raises:
        BadInputError: the architecture is not of the space, or the space has no networks here.
    """
    if isinstance(space, NasBench201):
        return NasBench201Network(space, architecture)
    if isinstance(space, FBNet):
        return FBNetNetwork(space, architecture)
    if isinstance(space, DartsSpace):
        return DartsNetwork(space, architecture)
    raise BadInputError(f"There are no networks of the space {space.name}.")
