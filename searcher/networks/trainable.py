"""The network of an architecture in the form that trains fastest here, and the way back to the plain one."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from searcher.networks.blocks import initialise
from searcher.networks.network import build_network
from searcher.networks.quick import quick_network
from searcher.spaces.architecture import Architecture
from searcher.spaces.nasbench201 import NasBench201
from searcher.spaces.space import SearchSpace


def trainable_network(space: SearchSpace, architecture: Architecture, seed: int) -> nn.Module:
    """Return the network of an architecture with weights from the seed alone, (N, 3, H, W) to (N, classes).

    Raises:
        BadInputError: the architecture is not of the space, or the space has no networks here.
    """
    if isinstance(space, NasBench201):
        return quick_network(space, architecture, seed)
    network = build_network(space, architecture)
    initialise(network, torch.Generator().manual_seed(seed))
    return network


def plain_weights(space: SearchSpace, architecture: Architecture, network: nn.Module) -> dict[str, Tensor]:
    """Return the state of a trained network as `build_network`'s takes it: on the CPU, contiguous, in its order.

    Args:
        space: of the architecture.
        architecture: whose network it is.
        network: as `trainable_network` makes it.
    """
    # What a quicker form of an operation computes with is no weight.
    state = network.state_dict()
    return {name: state[name].cpu().contiguous() for name in build_network(space, architecture).state_dict()}


def network_of(space: SearchSpace, architecture: Architecture, weights: Mapping[str, Tensor]) -> nn.Module:
    """Return the plain network with weights of `plain_weights`, in eval mode, as it is exported.

    Raises:
        BadInputError: the architecture is not of the space, or the space has no networks here.
        RuntimeError: these are no weights of the network.
    """
    network: nn.Module = build_network(space, architecture)
    network.load_state_dict(weights)
    return network.eval()
