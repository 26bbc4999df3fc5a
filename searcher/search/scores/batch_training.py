"""A candidate trained for some steps on one batch, and what that shows on the way (HW-EvRSNAS, Eqs. 2 and 3)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from searcher.errors import BadInputError
from searcher.networks.nasbench201 import NasBench201Network
from searcher.search.scores.batch import TrainingBatch
from searcher.search.scores.cka import representation_mutual_information

FP32, BF16 = "fp32", "bf16"
GREATEST_SEED = 2**63 - 1  # of torch's generators


@dataclass(frozen=True)
class RmiSettings:
    """How candidates are trained; the defaults are HW-EvRSNAS's, with RMI-NAS's optimiser.

    Attributes:
        steps: training steps on the one batch.
        batch_size: images in it.
        beta: weight of the representation term; the task's loss weighs 1 - beta (Eq. 3, sign corrected).
        learning_rate: of SGD.
        momentum: of SGD.
        weight_decay: of SGD.
        seed: of the batch and of every candidate's weights.
        precision: of activations and convolutions, `fp32` or `bf16`; weights, losses and Gram matrices are fp32.
    """

    steps: int = 100
    batch_size: int = 32
    beta: float = 0.8
    learning_rate: float = 0.1
    momentum: float = 0.9
    weight_decay: float = 5e-4
    seed: int = 0
    precision: str = FP32

    def __post_init__(self) -> None:
        """Refuse settings with which nothing can be trained.

        Raises:
            BadInputError: a value is out of its range.
        """
        if self.steps < 1 or self.batch_size < 2:
            raise BadInputError(f"{self.steps} steps on a batch of {self.batch_size} train nothing")
        if not (0 <= self.beta <= 1 and 0 < self.learning_rate < math.inf):
            raise BadInputError("beta lies between 0 and 1, and the learning rate is positive")
        if not (0 <= self.momentum < 1 and 0 <= self.weight_decay < math.inf):
            raise BadInputError("momentum lies between 0 and 1, and the weight decay is not negative")
        if not 0 <= self.seed <= GREATEST_SEED:
            raise BadInputError(f"a seed lies between 0 and {GREATEST_SEED}, not at {self.seed}")
        if self.precision not in (FP32, BF16):
            raise BadInputError(f"candidates are trained in {FP32} or {BF16}, not in {self.precision!r}")


@dataclass(frozen=True)
class Trajectory:
    """What a training showed at its beginning and after each step: steps + 1 values.

    Attributes:
        rmi: φ, representation mutual information with the reference.
        loss: β·(L - φ) + (1 - β)·cross-entropy.
    """

    rmi: tuple[float, ...]
    loss: tuple[float, ...]

    @property
    def steps(self) -> int:
        """How many steps were trained."""
        return len(self.rmi) - 1

    @property
    def finite(self) -> bool:
        """Whether the training came to its end without an overflow."""
        return math.isfinite(self.loss[-1])


class Training:
    """A training that can go on: to n steps by way of fewer it is, bit for bit, the training of n steps."""

    def __init__(self, network: NasBench201Network, batch: TrainingBatch, settings: RmiSettings) -> None:
        """Begin with the network's first weights; `settings.steps` plays no part."""
        self._network = network
        self._batch = batch
        self._settings = settings
        self._rmis, self._losses = list[float](), list[float]()
        self._optimizer = optimizer_of(network, settings)

    @property
    def steps(self) -> int:
        """How many steps are done."""
        return max(0, len(self._rmis) - 1)

    def go_on(self, steps: int) -> Trajectory:
        """Train until so many steps are done in all, and return how all of it went.

        A training whose loss is no longer finite ends there, as its trajectory does.
        """
        for step in range(self.steps, steps + 1):
            last = step == steps
            with torch.set_grad_enabled(not last):
                rmi, loss = _rmi_and_loss(self._network, self._batch, self._settings)
            # What stood last was looked at without a gradient, and is looked at again.
            self._rmis[step:], self._losses[step:] = [rmi.item()], [loss.item()]
            if last or not math.isfinite(self._losses[-1]):
                break
            self._optimizer.zero_grad()
            torch.autograd.backward(loss)
            self._optimizer.step()
        return Trajectory(tuple(self._rmis), tuple(self._losses))


def _rmi_and_loss(network: NasBench201Network, batch: TrainingBatch, settings: RmiSettings) -> tuple[Tensor, Tensor]:
    with torch.autocast("cpu", torch.bfloat16, enabled=settings.precision == BF16):
        features, logits = network.forward_with_features(batch.images)
    grams = batch.reference_grams
    rmi = representation_mutual_information(grams, [feature.float() for feature in features])
    task = functional.cross_entropy(logits.float(), batch.labels)
    return rmi, weighed_loss(rmi, task, len(grams), settings)


def weighed_loss(rmi: Tensor, task: Tensor, layers: int, settings: RmiSettings) -> Tensor:
    """Return β·(L - φ) + (1 - β)·cross-entropy, of one candidate or of each of several (HW-EvRSNAS, Eq. 3 corrected).

    Args:
        rmi: φ, of any shape.
        task: cross-entropy, of the same shape.
        layers: L, how many are compared.
        settings: with β.
    """
    return settings.beta * (layers - rmi) + (1 - settings.beta) * task


def optimizer_of(network: nn.Module, settings: RmiSettings) -> torch.optim.SGD:
    """Return what trains all parameters of a network, be it one candidate or several side by side."""
    return torch.optim.SGD(
        network.parameters(),
        lr=settings.learning_rate,
        momentum=settings.momentum,
        weight_decay=settings.weight_decay,
    )
