"""What an epoch of a differentiable search showed."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class EpochReport:
    """One epoch, in plain numbers and texts.

    Attributes:
        epoch: counted from 1.
        epochs: how many there will be.
        warm_up: whether the structure was frozen.
        learning_rate: of the weights.
        temperature: of the Gumbel-Softmax; None in the warm-up.
        auxiliary_skip: weight of the auxiliary skip connections.
        weight_loss: mean cross-entropy of the weight steps, in nats.
        training_accuracy: share of the training half's images that the drawn mixtures classified rightly, in percent.
        validation_loss: mean cross-entropy of the structure steps, in nats; None in the warm-up.
        objective: mean objective of the structure steps; None in the warm-up.
        entropy: of the structure at the centre of the control, from 0 (decided) to 1 (uniform).
        distinct: how many different architectures the control's grid gives.
        skips: median number of skip connections of the grid's architectures.
        monotony: rank correlation of each price with the expected cost of what it prices, -1 at best.
        eigenvalue: dominant one of the structure's Hessian; None where it is not asked for.
        stopped: why a guard ended the search here; None where it goes on.
    """

    epoch: int
    epochs: int
    warm_up: bool
    learning_rate: float
    temperature: float | None
    auxiliary_skip: float
    weight_loss: float
    training_accuracy: float
    validation_loss: float | None
    objective: float | None
    entropy: float
    distinct: int
    skips: int
    monotony: Mapping[str, float | None]
    eigenvalue: float | None
    stopped: str | None


class Sums:
    """What the steps of an epoch add up to; tensors stay where they are, so that no step waits for a device."""

    def __init__(self) -> None:
        self._weights: list[Tensor] = []
        self._right: list[Tensor] = []
        self._tasks: list[Tensor] = []
        self._objectives: list[Tensor] = []
        self._images = 0

    def add_weights(self, loss: Tensor, right: Tensor, images: int) -> None:
        """Add a weight step: its loss, and how many of its images were classified rightly."""
        self._weights.append(loss)
        self._right.append(right)
        self._images += images

    def add_structure(self, task: Tensor, objective: Tensor) -> None:
        """Add a structure step: the task's loss and the whole objective."""
        self._tasks.append(task)
        self._objectives.append(objective)

    @property
    def weight_loss(self) -> float:
        """Mean cross-entropy of the weight steps."""
        return float(torch.stack(self._weights).double().mean())

    @property
    def training_accuracy(self) -> float:
        """Share of images classified rightly, in percent."""
        return 100.0 * int(torch.stack(self._right).sum()) / self._images

    @property
    def validation_loss(self) -> float | None:
        """Mean cross-entropy of the structure steps; None where there were none."""
        return _mean(self._tasks)

    @property
    def objective(self) -> float | None:
        """Mean objective of the structure steps; None where there were none."""
        return _mean(self._objectives)

    @property
    def finite(self) -> bool:
        """Whether all losses were."""
        return all(math.isfinite(mean) for mean in (self.weight_loss, self.objective or 0.0))


def _mean(values: list[Tensor]) -> float | None:
    return float(torch.stack(values).double().mean()) if values else None
