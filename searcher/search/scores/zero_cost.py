"""Zero-cost proxies: what a network's first weights tell of it, from one pass over it and no training.

- `synflow` (Tanaka et al., Pruning neural networks without any data by iteratively conserving synaptic flow, 2020,
  summed over the network as Abdelfattah et al., Zero-Cost Proxies for Lightweight NAS, 2021, do): with every weight
  replaced by its absolute value and an image of ones, R is the sum of the outputs, and synflow is the sum of
  weight · ∂R/∂weight over convolutions and linear layers. Batch norms are left out, as there. The number spans dozens
  of orders of magnitude, and its natural logarithm is given.
- `naswot` (Mellor et al., Neural Architecture Search without Training, 2021): which ReLUs pass on something is a binary
  code of each image; K counts for each pair of images on how many units their codes agree, and naswot is log|det K|.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn

from searcher.errors import BadInputError
from searcher.networks.blocks import initialise
from searcher.networks.nasbench201 import Cell, NasBench201Network
from searcher.search.scores.batch_training import GREATEST_SEED
from searcher.search.scores.measuring import Measured
from searcher.search.scores.threads import one_thread
from searcher.spaces.architecture import Architecture
from searcher.spaces.nasbench201 import NasBench201
from searcher.training.datasets import ImageDataset, fingerprint

ZERO_COST_NAMES = ("synflow", "naswot")


@dataclass(frozen=True)
class ZeroCostSettings:
    """What the proxies are worked out from.

    Attributes:
        batch_size: images whose codes naswot compares.
        seed: of the weights and of the choice of images; the same for every architecture.
    """

    batch_size: int = 64
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse settings with which there is nothing to compare.

        Raises:
            BadInputError: a value is out of its range.
        """
        if self.batch_size < 2:
            raise BadInputError(f"naswot compares images: a batch of {self.batch_size} is too small")
        if not 0 <= self.seed <= GREATEST_SEED:
            raise BadInputError(f"a seed lies between 0 and {GREATEST_SEED}, not at {self.seed}")


class ZeroCost:
    """Gives `synflow` and `naswot` of NAS-Bench-201 networks; implements Measurer."""

    def __init__(self, space: NasBench201, dataset: ImageDataset, settings: ZeroCostSettings) -> None:
        """Choose the images.

        Args:
            space: with the depth of the networks that are looked at.
            dataset: where images are from (its training half).
            settings: of batch and weights.

        Raises:
            BadInputError: the data set has fewer images than the batch, or others than the space's networks take.
        """
        shape = tuple(dataset.train_images.shape[1:])
        if shape != space.image_shape[1:]:
            raise BadInputError(f"the data set {dataset.name} has images of {shape}, not of {space.image_shape[1:]}")
        count = len(dataset.train_images)
        if count < settings.batch_size:
            raise BadInputError(
                f"the data set {dataset.name} has {count} training images, fewer than a batch of {settings.batch_size}"
            )
        self._space = space
        self._settings = settings
        generator = torch.Generator().manual_seed(settings.seed)
        self._images = dataset.train_images[torch.randperm(count, generator=generator)[: settings.batch_size]]
        self._fingerprint = fingerprint(dataset)

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the proxies."""
        return ZERO_COST_NAMES

    @property
    def identity(self) -> Mapping[str, Any]:
        """Networks, images, seed, and the version of torch, whose sums differ in their last digits."""
        return {
            "measurer": "zero_cost",
            "space": repr(self._space),
            "data": self._fingerprint,
            "torch": str(torch.__version__),
            "instructions": torch.backends.cpu.get_cpu_capability(),
            **asdict(self._settings),
        }

    def measure(self, architectures: Sequence[Architecture]) -> list[Measured]:
        """Return the proxies of each architecture, in their order, from the network trained for its `score_key`."""
        with one_thread():
            return [self._measure(self._space.representative(architecture)) for architecture in architectures]

    def _measure(self, architecture: Architecture) -> Measured:
        network = NasBench201Network(self._space, architecture)
        initialise(network, torch.Generator().manual_seed(self._settings.seed))
        values = {"synflow": synflow(network, self._space.image_shape), "naswot": naswot(network, self._images)}
        # Nothing flows through a disconnected network, and images that no ReLU tells apart make K singular.
        unknown = [name for name, value in values.items() if not math.isfinite(value)]
        return Measured({}, f"its {unknown[0]} is not a finite number") if unknown else Measured(values)


def synflow(network: NasBench201Network, image_shape: tuple[int, ...]) -> float:
    """Return the natural logarithm of the network's synaptic flow; the network stays as it is.

    Without batch norms and with no weight negative, a network is linear up to its head. So each cell's output may be
    divided by its greatest value, and the logarithms of the divisors added at the end: nothing overflows at any depth.

    Args:
        network: as it is initialised; its batch norms are left out.
        image_shape: (1, 3, H, W) of the image of ones.

    Returns:
        The logarithm; not a finite number where nothing flows.
    """
    flowing = copy.deepcopy(network).double()
    _leave_out_norms(flowing)
    divisors: list[Tensor] = []

    def divide(_module: nn.Module, _inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        divisors.append(output.detach().max())
        return output / divisors[-1]

    layers = [layer for layer in flowing.modules() if isinstance(layer, nn.Conv2d | nn.Linear)]
    with torch.no_grad():
        for parameter in flowing.parameters():
            parameter.abs_()
    for cell in (module for module in flowing.modules() if isinstance(module, Cell)):
        cell.register_forward_hook(divide)
    weights = [layer.weight for layer in layers]
    outputs = flowing(torch.ones(image_shape, dtype=torch.float64))
    # The edges that are not executed have weights too, which no output depends on.
    gradients = torch.autograd.grad(outputs.sum(), weights, allow_unused=True)
    with torch.no_grad():
        flows = [(weight * slope).sum() for weight, slope in zip(weights, gradients, strict=True) if slope is not None]
        return float(torch.stack(flows).sum().log() + torch.stack(divisors).log().sum())


def _leave_out_norms(module: nn.Module) -> None:
    for name, child in module.named_children():
        if isinstance(child, nn.BatchNorm2d):
            setattr(module, name, nn.Identity())
        else:
            _leave_out_norms(child)


def naswot(network: NasBench201Network, images: Tensor) -> float:
    """Return log|det K| of the agreement of the images' ReLU codes, with batch statistics in batch norms.

    Args:
        network: as it is initialised; its running statistics are not touched.
        images: (n, 3, H, W).

    Returns:
        The logarithm; minus infinity where two images have the same code.
    """
    agreement = torch.zeros(len(images), len(images), dtype=torch.float64)

    def count(code: Tensor) -> None:
        # With +1 and -1 for on and off, units that agree minus units that differ are one product. Its whole numbers are
        # exact in fp32 for every layer of fewer than 2^24 units.
        signs = code.flatten(1).float().mul_(2).sub_(1)
        agreement.add_((signs @ signs.T + signs.shape[1]).double() / 2)

    def see(_module: nn.Module, inputs: tuple[Tensor, ...], _output: Tensor) -> None:
        count(inputs[0] > 0)

    watched = copy.deepcopy(network).train()
    for module in watched.modules():
        if isinstance(module, nn.ReLU):
            module.register_forward_hook(see)
    with torch.no_grad():
        # The last ReLU, in the head, is a function and no module.
        count(watched.features(images)[-1] > 0)
    return float(torch.linalg.slogdet(agreement).logabsdet)
