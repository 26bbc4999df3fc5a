"""Training and measuring the accuracy of networks on data sets that fit in memory."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from searcher.errors import BadInputError, SearcherError
from searcher.training.datasets import ImageDataset

_WARM_UP_SHARE = 0.2


@dataclass(frozen=True)
class TrainingSettings:
    """How to train: SGD with Nesterov momentum, the learning rate rising once and falling once.

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
        for name, value, least in (
            ("epochs", self.epochs, 1),
            ("batch_size", self.batch_size, 1),
            ("shift_pixels", self.shift_pixels, 0),
        ):
            if value < least:
                raise BadInputError(f"{name} must be at least {least}, not {value}")
        if not 0 < self.peak_learning_rate < math.inf:
            raise BadInputError(f"peak_learning_rate must be positive, not {self.peak_learning_rate}")
        if not 0 < self.momentum < 1:
            raise BadInputError(f"momentum must lie between 0 and 1, not at {self.momentum}")
        if not 0 <= self.weight_decay < math.inf:
            raise BadInputError(f"weight_decay must not be negative, but is {self.weight_decay}")


@dataclass(frozen=True)
class EpochResult:
    """What one pass over the training images gave.

    Attributes:
        epoch: counted from 1.
        epochs: how many there will be.
        loss: mean cross-entropy over the epoch's steps, in nats.
        train_accuracy: share of shifted training images classified rightly while training, in percent.
    """

    epoch: int
    epochs: int
    loss: float
    train_accuracy: float


def accuracy(model: nn.Module, images: Tensor, labels: Tensor, batch_size: int = 256) -> float:
    """Return the share of images that the model classifies rightly, in percent.

    The model is in evaluation mode meanwhile; afterwards each of its modules is in the mode it was in.

    Args:
        model: maps (N, C, H, W) to logits (N, classes).
        images: normalised, (N, C, H, W), at least one.
        labels: int64, (N,).
        batch_size: images a forward pass; changes the time and the memory only.
    """
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        right = 0
        with torch.inference_mode():
            for first in range(0, len(images), batch_size):
                rows = slice(first, first + batch_size)
                right += _right(model(images[rows]), labels[rows])
    finally:
        for module, training in modes:
            module.training = training
    return 100.0 * right / len(images)


def train(
    model: nn.Module, dataset: ImageDataset, settings: TrainingSettings, generator: torch.Generator
) -> Iterator[EpochResult]:
    """Train the model in place and give the result of each epoch as it ends.

    The same weights, data, settings, seed and number of threads give the same network, bit for bit. The model
    is turned to channels-last memory, the quicker layout on CPUs, and stays in training mode.

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
    model.to(memory_format=torch.channels_last)  # type: ignore[call-overload] # torch's stubs lack it
    optimizer = torch.optim.SGD(
        model.parameters(),
        settings.peak_learning_rate,
        settings.momentum,
        weight_decay=settings.weight_decay,
        nesterov=True,
    )
    count = len(dataset.train_labels)
    batch_size = min(settings.batch_size, count)
    steps = count // batch_size
    for epoch in range(settings.epochs):
        model.train()
        loss_sum, right = 0.0, 0
        batches = _shuffled_batches(dataset, batch_size, settings.shift_pixels, generator)
        for step, (images, labels) in enumerate(batches):
            progress = (epoch * steps + step) / (settings.epochs * steps)
            rate = learning_rate(settings.peak_learning_rate, progress)
            loss, step_right = _step(model, optimizer, rate, images, labels)
            loss_sum += loss
            right += step_right
        if not math.isfinite(loss_sum):
            raise SearcherError(
                f"training diverged in epoch {epoch + 1}: lower the peak learning rate, {settings.peak_learning_rate}"
            )
        yield EpochResult(epoch + 1, settings.epochs, loss_sum / steps, 100.0 * right / (steps * batch_size))


def learning_rate(peak: float, progress: float) -> float:
    """Return the rate after the share `progress` (0 to 1) of all steps: up in a line, down in half a cosine.

    Source: the one-cycle policy (Smith and Topin 2018) with the cosine of Loshchilov and Hutter (2017).
    """
    if progress < _WARM_UP_SHARE:
        # Never zero: the first step would be wasted.
        return peak * (0.1 + 0.9 * progress / _WARM_UP_SHARE)
    return peak * 0.5 * (1.0 + math.cos(math.pi * (progress - _WARM_UP_SHARE) / (1.0 - _WARM_UP_SHARE)))


def shifted(images: Tensor, pixels: int, generator: torch.Generator) -> Tensor:
    """Return the images (N, C, H, W), each moved by up to `pixels` both ways, in channels-last memory.

    What comes in from outside repeats the border, which fits dark digits and photographs alike.
    """
    count, _, height, width = images.shape
    offsets = torch.randint(-pixels, pixels + 1, (2, count, 1), generator=generator)
    rows = (torch.arange(height) + offsets[0]).clamp_(0, height - 1)
    columns = (torch.arange(width) + offsets[1]).clamp_(0, width - 1)
    # Indexing the channels-last view gives (N, H, W, C); its permutation is the layout wanted.
    last = images.permute(0, 2, 3, 1)
    moved = last[torch.arange(count).view(-1, 1, 1), rows.unsqueeze(2), columns.unsqueeze(1)]
    return moved.permute(0, 3, 1, 2)


def _shuffled_batches(
    dataset: ImageDataset, batch_size: int, shift_pixels: int, generator: torch.Generator
) -> Iterator[tuple[Tensor, Tensor]]:
    """Give the complete batches of one epoch: shifted images and their labels."""
    count = len(dataset.train_labels)
    order = torch.randperm(count, generator=generator)
    for first in range(0, count - batch_size + 1, batch_size):
        rows = order[first : first + batch_size]
        yield shifted(dataset.train_images[rows], shift_pixels, generator), dataset.train_labels[rows]


def _step(
    model: nn.Module, optimizer: torch.optim.Optimizer, rate: float, images: Tensor, labels: Tensor
) -> tuple[float, int]:
    for group in optimizer.param_groups:
        group["lr"] = rate
    optimizer.zero_grad()
    logits = model(images)
    loss = functional.cross_entropy(logits, labels)
    torch.autograd.backward(loss)
    optimizer.step()
    return loss.item(), _right(logits, labels)


def _right(logits: Tensor, labels: Tensor) -> int:
    return int((logits.argmax(dim=1) == labels).sum().item())
