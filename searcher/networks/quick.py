"""NAS-Bench-201 networks for short trainings on a CPU: the same functions, in forms that compute faster there."""

from __future__ import annotations

import hashlib

import torch
from torch import Tensor, nn
from torch.nn import functional

from searcher.networks.blocks import initialise
from searcher.networks.nasbench201 import Cell, NasBench201Network
from searcher.spaces.architecture import Architecture
from searcher.spaces.cell import AVG_POOL
from searcher.spaces.nasbench201 import NasBench201


class PoolByConvolution(nn.Module):
    """Average pooling over 3×3 that leaves the padding out of the mean, as a depthwise convolution.

    Torch's own average pooling takes six times as long on a CPU in channels-last memory, forward and backward.
    """

    ones: Tensor
    share: Tensor

    def __init__(self, channels: int, size: int) -> None:
        super().__init__()
        self._channels = channels
        kernel = torch.ones(1, 1, 3, 3)
        counted = functional.conv2d(torch.ones(1, 1, size, size), kernel, padding=1)
        self.register_buffer("ones", kernel.expand(channels, 1, 3, 3).contiguous())
        self.register_buffer("share", 1 / counted)

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the means, (N, C, H, W) as the input."""
        sums = functional.conv2d(inputs, self.ones.to(inputs.dtype), padding=1, groups=self._channels)
        return sums * self.share.to(inputs.dtype)


def quick_network(space: NasBench201, architecture: Architecture, seed: int) -> NasBench201Network:
    """Return the network of an architecture for training, in channels-last memory, with weights from the seed.

    Weights are common random numbers: a layer's depend on the seed and on its place in the network alone, so that two
    architectures begin with the same weights wherever they have the same operation.
    """
    network = NasBench201Network(space, architecture)
    for name, layer in network.named_modules():
        if isinstance(layer, nn.Conv2d | nn.Linear | nn.BatchNorm2d):
            initialise(layer, torch.Generator().manual_seed(_seed_of(seed, name)))
    for stage, cells in enumerate(network.stages):
        _, channels, size, _ = space.stage_shape(stage)
        for cell in cells.children():
            if isinstance(cell, Cell):
                _pool_by_convolution(cell, space.operations(architecture), channels, size)
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload] # torch's stubs lack it
    network.train()
    return network


def _pool_by_convolution(cell: Cell, operations: tuple[str, ...], channels: int, size: int) -> None:
    cell.pool = PoolByConvolution(channels, size)
    for edge, operation in enumerate(operations):
        if operation == AVG_POOL:
            cell.edges[edge] = cell.pool


def _seed_of(seed: int, name: str) -> int:
    digest = hashlib.sha256(f"{seed} {name}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1
