"""What blocks see inside a network: real images pushed through one that has every operation of its space."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from searcher.errors import BadInputError
from searcher.networks.blocks import initialise
from searcher.networks.network import build_network
from searcher.spaces.space import SearchSpace

# By space, an architecture in which every operation that computes something occurs, and sums of two and of three
# operands do.
_EXAMPLES = {
    "nasbench201": "|nor_conv_3x3~0|+|avg_pool_3x3~0|nor_conv_1x1~1|+|skip_connect~0|nor_conv_3x3~1|nor_conv_1x1~2|",
    "darts": (
        "Genotype(normal=[('sep_conv_3x3', 0), ('sep_conv_5x5', 1), ('dil_conv_3x3', 0), ('max_pool_3x3', 2), "
        "('dil_conv_5x5', 1), ('avg_pool_3x3', 3), ('skip_connect', 0), ('sep_conv_3x3', 4)], "
        "normal_concat=range(2, 6), "
        "reduce=[('skip_connect', 0), ('max_pool_3x3', 1), ('sep_conv_3x3', 1), ('dil_conv_5x5', 2), "
        "('avg_pool_3x3', 0), ('sep_conv_5x5', 3), ('dil_conv_3x3', 1), ('skip_connect', 4)], "
        "reduce_concat=range(2, 6))"
    ),
    "fbnet": "0-1-2-3-4-5-6-7-0-1-2-3-4-5-6-7-0-1-2-3-4-5",
}

FeatureShape = tuple[int, int, int]


def settle_batch_norms(module: nn.Module, inputs: Sequence[Tensor]) -> None:
    """Set the running statistics of every batch norm to those of one batch; the module is in eval mode afterwards.

    Random weights behind fresh statistics let activations grow from cell to cell, beyond what fp16 can hold.

    Args:
        module: takes as many tensors as are given.
        inputs: one batch for each input, (N, C, H, W).
    """
    norms = [layer for layer in module.modules() if isinstance(layer, nn.BatchNorm2d)]
    if not norms:
        # Inputs that have no batch, as single numbers, are those of modules without norms.
        module.eval()
        return
    momenta = [layer.momentum for layer in norms]
    for layer in norms:
        layer.reset_running_stats()
        layer.momentum = None  # the mean over all batches, of which there is one
    module.train()
    with torch.no_grad():
        module(*inputs)
    for layer, momentum in zip(norms, momenta, strict=True):
        layer.momentum = momentum
    module.eval()


def example_of(space: SearchSpace) -> str:
    """Return the text of the architecture whose activations stand for those of a space's networks.

    Raises:
        BadInputError: the space has none.
    """
    if space.name not in _EXAMPLES:
        raise BadInputError(f"no network gives activations of the space {space.name}: only fp32 can be exported")
    return _EXAMPLES[space.name]


def activations_of(
    space: SearchSpace, settling: Tensor, images: Sequence[Tensor], seed: int
) -> list[dict[FeatureShape, Tensor]]:
    """Return activations of each shape that occurs between the blocks of a space's networks.

    The network is that of `example_of` with random weights. Of several activations of one shape the last is taken,
    which is what a stage ends with: sums of convolutions, of pools and of earlier sums. The images are the activations
    of their own shape.

    Args:
        space: gives depth, widths and resolution.
        settling: images that settle the batch norms, (N, 3, H, W).
        images: batches to push through, each (N, 3, H, W).
        seed: of the weights.

    Returns:
        For each batch, tensors (N, C, H, W) by (C, H, W).

    Raises:
        BadInputError: the space has no such network.
    """
    network = build_network(space, space.parse(example_of(space)))
    initialise(network, torch.Generator().manual_seed(seed))
    settle_batch_norms(network, [settling])
    with torch.no_grad():
        seen = [network.activations(batch) for batch in images]
    return [{(one.shape[1], one.shape[2], one.shape[3]): one for one in between} for between in seen]
