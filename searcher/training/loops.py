"""Training and measuring the accuracy of networks on data sets that fit in memory."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from searcher.errors import SearcherError
from searcher.training.augmentation import Augmentation
from searcher.training.datasets import ImageDataset
from searcher.training.recipe import BF16, CPU, Recipe, learning_rate

# Of references: their files are known by their settings, of which this never was one.
_REFERENCE_WARM_UP_SHARE = 0.2


@dataclass(frozen=True)
class TrainingSettings:
    """How a reference is trained: the learning rate rises in the first fifth of the steps and then falls.

    Attributes:
        epochs: passes over the training images.
        batch_size: images a step; the incomplete batch at the end of an epoch is left out.
        peak_learning_rate: reached after the first fifth of the steps.
        momentum: of SGD.
        weight_decay: of SGD, on all parameters.
        shift_pixels: images move by up to this many pixels each way, their borders repeated; 0 turns it off.

    Raises:
        BadInputError: a value is out of its range.
    """

    epochs: int = 8
    batch_size: int = 64
    peak_learning_rate: float = 0.1
    momentum: float = 0.9
    weight_decay: float = 5e-4
    shift_pixels: int = 2

    def __post_init__(self) -> None:
        # Its own checks are all that there are.
        self.recipe()

    def recipe(self) -> Recipe:
        """Return all of how a reference is trained."""
        return Recipe(
            epochs=self.epochs,
            batch_size=self.batch_size,
            peak_learning_rate=self.peak_learning_rate,
            momentum=self.momentum,
            weight_decay=self.weight_decay,
            warm_up_share=_REFERENCE_WARM_UP_SHARE,
            augmentation=Augmentation(shift_pixels=self.shift_pixels),
        )


@dataclass(frozen=True)
class EpochResult:
    """What one pass over the training images gave.

    Attributes:
        epoch: counted from 1.
        epochs: how many there will be.
        loss: mean loss over the epoch's steps, in nats: cross-entropy, of smoothed labels where they are.
        train_accuracy: share of varied training images classified rightly while training, in percent.
        learning_rate: of the last step.
    """

    epoch: int
    epochs: int
    loss: float
    train_accuracy: float
    learning_rate: float


def accuracy(model: nn.Module, images: Tensor, labels: Tensor, batch_size: int = 256, device: str = CPU) -> float:
    """Return the share of images that the model classifies rightly, in percent.

    The model is in evaluation mode meanwhile; afterwards each of its modules is in the mode it was in.

    Args:
        model: maps (N, C, H, W) to logits (N, classes).
        images: normalised, (N, C, H, W), at least one.
        labels: int64, (N,).
        batch_size: images a forward pass; changes the time and the memory only.
        device: where the model is; images and labels are brought there.
    """
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        right = 0
        with torch.inference_mode():
            for first in range(0, len(images), batch_size):
                rows = slice(first, first + batch_size)
                right += int(_right(model(images[rows].to(device)), labels[rows].to(device)).item())
    finally:
        for module, training in modes:
            module.training = training
    return 100.0 * right / len(images)


def train(
    model: nn.Module, dataset: ImageDataset, settings: TrainingSettings, generator: torch.Generator
) -> Iterator[EpochResult]:
    """Train a reference in place and give the result of each epoch as it ends; see `Training`.

    Args:
        model: maps (N, 3, 32, 32) to logits (N, classes).
        dataset: only its training split is used.
        settings: how long and how fast.
        generator: on the CPU; draws the order of the images and their shifts.

    Yields:
        One result an epoch.

    Raises:
        SearcherError: the loss is no longer finite.
    """
    training = Training(model, dataset, settings.recipe(), generator)
    while not training.is_done:
        yield training.run_epoch()


class Training:
    """A training, epoch by epoch, that can be put aside after any of them.

    The same weights, data, recipe, seed and number of threads give the same network, bit for bit, and so does one that
    goes on from a state. The model is turned to channels-last memory, the quicker layout on CPUs and on graphics cards
    alike, and stays in training mode.

    Attributes:
        epoch: how many are done.
    """

    def __init__(
        self, model: nn.Module, dataset: ImageDataset, recipe: Recipe, generator: torch.Generator, device: str = CPU
    ) -> None:
        """Begin with the model's weights.

        Args:
            model: maps (N, 3, H, W) to logits (N, classes); trained in place.
            dataset: only its training split is used.
            recipe: how to train.
            generator: on the CPU; draws the order of the images and how they are varied.
            device: where to compute, as torch names it.
        """
        model.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload] # torch's stubs lack it
        self._model = model
        self._dataset = dataset
        self._recipe = recipe
        self._generator = generator
        self._device = torch.device(device)
        self._batch_size = min(recipe.batch_size, len(dataset.train_labels))
        self._steps = len(dataset.train_labels) // self._batch_size
        self._optimizer = torch.optim.SGD(
            model.parameters(),
            recipe.peak_learning_rate,
            recipe.momentum,
            weight_decay=recipe.weight_decay,
            nesterov=True,
        )
        self.epoch = 0

    @property
    def is_done(self) -> bool:
        """Whether all epochs are done."""
        return self.epoch >= self._recipe.epochs

    def run_epoch(self) -> EpochResult:
        """Train for one pass over the images.

        Raises:
            SearcherError: the loss is no longer finite.
        """
        self._model.train()
        recipe, rate = self._recipe, 0.0
        loss_sum = torch.zeros((), dtype=torch.float64, device=self._device)
        right = torch.zeros((), dtype=torch.int64, device=self._device)
        for step, (images, labels) in enumerate(self._shuffled_batches()):
            progress = (self.epoch * self._steps + step) / (recipe.epochs * self._steps)
            rate = learning_rate(recipe.peak_learning_rate, progress, recipe.warm_up_share)
            loss, step_right = self._step(rate, images.to(self._device), labels.to(self._device))
            # Summed there: to ask a graphics card for each would let it wait for the next step.
            loss_sum += loss
            right += step_right
        if not math.isfinite(loss_sum.item()):
            raise SearcherError(
                f"training diverged in epoch {self.epoch + 1}: "
                f"lower the peak learning rate, {recipe.peak_learning_rate}"
            )
        self.epoch += 1
        images_seen = self._steps * self._batch_size
        return EpochResult(
            self.epoch, recipe.epochs, loss_sum.item() / self._steps, 100.0 * int(right.item()) / images_seen, rate
        )

    def state(self) -> dict[str, Any]:
        """Return all that the rest of the training depends on: plain numbers and tensors, not copied."""
        return {
            "epoch": self.epoch,
            "model": self._model.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "generator": self._generator.get_state(),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from a state of a training of the same model, data and recipe.

        Raises:
            LookupError, RuntimeError, TypeError, ValueError: it is no state of such a training.
        """
        self._model.load_state_dict(state["model"])
        self._optimizer.load_state_dict(state["optimizer"])
        self._generator.set_state(state["generator"])
        self.epoch = int(state["epoch"])

    def _shuffled_batches(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Give the complete batches of one epoch: varied images and their labels."""
        data, size = self._dataset, self._batch_size
        order = torch.randperm(len(data.train_labels), generator=self._generator)
        for first in range(0, self._steps * size, size):
            rows = order[first : first + size]
            yield self._recipe.augmentation.apply(data.train_images[rows], self._generator), data.train_labels[rows]

    def _step(self, rate: float, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Train on one batch; return the loss and how many were classified rightly before."""
        recipe = self._recipe
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        self._optimizer.zero_grad()
        with torch.autocast(self._device.type, torch.bfloat16, enabled=recipe.precision == BF16):
            logits = self._model(images)
        loss = functional.cross_entropy(logits.float(), labels, label_smoothing=recipe.label_smoothing)
        torch.autograd.backward(loss)
        if recipe.clip_norm is not None:
            nn.utils.clip_grad_norm_(self._model.parameters(), recipe.clip_norm)
        self._optimizer.step()
        return loss.detach(), _right(logits.detach(), labels)


def _right(logits: Tensor, labels: Tensor) -> Tensor:
    return (logits.argmax(dim=1) == labels).sum()
