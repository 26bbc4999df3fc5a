"""What every supernet is: one network that holds the choices of all positions, mixed by weights given at each pass."""

from __future__ import annotations

import itertools
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from searcher.errors import BadInputError


@dataclass(frozen=True)
class SupernetOptions:
    """What a supernet may be beside its space.

    Attributes:
        partial_channels: k; 1/k of the channels of each edge is mixed, the others pass by (PC-DARTS). 1 mixes all.
        affine: whether batch norms of the choices scale and shift; DARTS leaves that out of the search, since a scale
            would take the place of a weight.

    Raises:
        BadInputError: `partial_channels` is below 1.
    """

    partial_channels: int = 1
    affine: bool = False

    def __post_init__(self) -> None:
        if self.partial_channels < 1:
            raise BadInputError(f"partial_channels must be at least 1, not {self.partial_channels}")


class Supernet(nn.Module, ABC):
    """A network of all choices of a space, (N, 3, H, W) images and (P, K) weights to (N, classes) logits.

    Positions and choices are those of the space's genotype, so that the one-hot weights of a genotype (`one_hot`) give
    the network of that architecture with the supernet's own weights. A choice whose weight is exactly 0 is not
    computed: it costs nothing, and its gradient is 0.

    Attributes:
        positions: P.
        choices: K.
        auxiliary_skip: β, weight of the auxiliary skip connection beside each mixture, read at each pass; 0 is off.
    """

    positions: int
    choices: int
    auxiliary_skip: float

    def __init__(self, positions: int, choices: int) -> None:
        super().__init__()
        self.positions = positions
        self.choices = choices
        self.auxiliary_skip = 0.0

    @abstractmethod
    def forward(self, images: Tensor, weights: Tensor) -> Tensor:
        """Return the logits, (N, classes).

        Args:
            images: (N, 3, H, W).
            weights: (P, K) of any floating type; logits are differentiable with respect to it.

        Raises:
            BadInputError: the weights have another shape.
        """

    def require_weights(self, weights: Tensor) -> None:
        """Refuse weights of another shape than (P, K).

        Raises:
            BadInputError: as said.
        """
        if tuple(weights.shape) != (self.positions, self.choices):
            raise BadInputError(
                f"This supernet mixes by weights of {self.positions} positions and {self.choices} choices, "
                f"not by {tuple(weights.shape)}."
            )


class Subnet(nn.Module):
    """A supernet under fixed weights, (N, 3, H, W) to (N, classes), for whatever takes a network of images alone."""

    weights: Tensor

    def __init__(self, supernet: Supernet, weights: Tensor) -> None:
        super().__init__()
        self.supernet = supernet
        self.register_buffer("weights", weights.detach())

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits, (N, classes)."""
        logits: Tensor = self.supernet(images, self.weights)
        return logits


def one_hot(genotype: Sequence[int], choices: int) -> Tensor:
    """Return the weights of one architecture, float32 (P, K): 1 at its choices, exactly 0 elsewhere."""
    return functional.one_hot(torch.tensor(genotype), choices).float()


def recalibrate(supernet: Supernet, weights: Tensor, batches: Iterable[Tensor]) -> None:
    """Set the running statistics of all batch norms to those of one architecture's paths.

    What they collected while the supernet was trained belongs to the mixtures and paths of that time, and is worth
    nothing for one architecture (Guo et al., *Single Path One-Shot*, ECCV 2020, section 3.4). Each statistic becomes
    the mean over the batches; norms that the weights leave out become fresh ones. Modes are afterwards as they were.

    Args:
        supernet: changed in place; its auxiliary skip is taken as it stands.
        weights: (P, K), of the architecture.
        batches: images that it is trained on, each (N, 3, H, W); larger ones give better variances.

    Raises:
        BadInputError: there is no batch, or the weights have another shape.
    """
    supernet.require_weights(weights)
    remaining = iter(batches)
    first = next(remaining, None)
    if first is None:
        raise BadInputError("Batch norms cannot be calibrated on no images at all: give at least one batch.")
    norms = [layer for layer in supernet.modules() if isinstance(layer, nn.BatchNorm2d)]
    momenta = [layer.momentum for layer in norms]
    modes = [(module, module.training) for module in supernet.modules()]
    for layer in norms:
        layer.reset_running_stats()
        layer.momentum = None  # the mean over all batches
    supernet.train()
    try:
        with torch.no_grad():
            for images in itertools.chain((first,), remaining):
                supernet(images, weights)
    finally:
        for layer, momentum in zip(norms, momenta, strict=True):
            layer.momentum = momentum
        for module, training in modes:
            module.training = training


def depending_on(logits: Tensor, weights: Tensor) -> Tensor:
    """Return the logits, such that weights which no path used have a gradient: zero, where torch would give none."""
    return logits + 0 * weights.sum().to(logits.dtype)


def without_affine(module: nn.Module) -> nn.Module:
    """Return the module with every batch norm in it made one that neither scales nor shifts."""
    for name, child in module.named_children():
        if isinstance(child, nn.BatchNorm2d):
            setattr(module, name, nn.BatchNorm2d(child.num_features, affine=False))
        else:
            without_affine(child)
    return module
