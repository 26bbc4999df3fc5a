"""What blocks see inside a network: real images pushed through stem, stages and reductions."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from searcher.networks.blocks import initialise
from searcher.networks.nasbench201 import NasBench201Network
from searcher.spaces.nasbench201 import NasBench201

# Every operation that computes something is in it, and sums of two and of three operands are.
CELL = "|nor_conv_3x3~0|+|avg_pool_3x3~0|nor_conv_1x1~1|+|skip_connect~0|nor_conv_3x3~1|nor_conv_1x1~2|"

FeatureShape = tuple[int, int, int]


def settle_batch_norms(module: nn.Module, inputs: Sequence[Tensor]) -> None:
    """Set the running statistics of every batch norm to those of one batch; the module is in eval mode afterwards.

    Random weights behind fresh statistics let activations grow from cell to cell, beyond what fp16 can hold.

    Args:
        module: takes as many tensors as are given.
        inputs: one batch for each input, (N, C, H, W).
    """
    norms = [layer for layer in module.modules() if isinstance(layer, nn.BatchNorm2d)]
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


def stage_activations(
    space: NasBench201, settling: Tensor, images: Sequence[Tensor], seed: int
) -> list[dict[FeatureShape, Tensor]]:
    """Return activations of each shape that occurs between the blocks of a space's networks.

    The network has random weights and cells of every operation. An activation is what a stage ends with: sums of
    convolutions, of pools and of earlier sums. The images are the activations of their own shape.

    Args:
        space: gives depth, widths and resolution.
        settling: images that settle the batch norms, (N, 3, H, W).
        images: batches to push through, each (N, 3, H, W).
        seed: of the weights.

    Returns:
        For each batch, tensors (N, C, H, W) by (C, H, W).
    """
    network = NasBench201Network(space, space.parse(CELL))
    initialise(network, torch.Generator().manual_seed(seed))
    settle_batch_norms(network, [settling])
    return [_between_blocks(network, batch) for batch in images]


def _between_blocks(network: NasBench201Network, images: Tensor) -> dict[FeatureShape, Tensor]:
    seen = [images]
    with torch.no_grad():
        seen.append(network.stages[0](network.stem(images)))
        for reduction, stage in zip(network.reductions, list(network.stages)[1:], strict=True):
            seen.append(stage(reduction(seen[-1])))
    return {(one.shape[1], one.shape[2], one.shape[3]): one for one in seen}
