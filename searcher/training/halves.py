"""A training split parted in two, one for a supernet's weights and one for its structure, and the batches of both."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from searcher.errors import BadInputError
from searcher.training.augmentation import Augmentation
from searcher.training.datasets import ImageDataset

Batch = tuple[Tensor, Tensor]


@dataclass(frozen=True, eq=False)
class Half:
    """Some of a data set's training images, named by their rows: no image is copied.

    Attributes:
        images: of the whole training split, float32, normalised, (N, 3, H, W).
        labels: of the whole training split, int64, (N,).
        rows: int64, (n,), in ascending order; which of them are of this half.
    """

    images: Tensor
    labels: Tensor
    rows: Tensor

    def __len__(self) -> int:
        """Return how many images there are."""
        return len(self.rows)


@dataclass(frozen=True, eq=False)
class Halves:
    """The two parts of a training split: every image is in exactly one of them.

    Attributes:
        training: what the weights learn from.
        validation: what the structure learns from.
    """

    training: Half
    validation: Half


@dataclass(frozen=True)
class BatchSettings:
    """What batches are made of.

    Attributes:
        size: images in each.
        shift_pixels: images move by up to this many pixels each way, their borders repeated; 0 turns it off.
        mirror: whether every other image, by chance, is mirrored; it fits photographs, and spoils digits.

    Raises:
        BadInputError: a value is out of its range.
    """

    size: int = 64
    shift_pixels: int = 2
    mirror: bool = False

    def __post_init__(self) -> None:
        for name, value, least in (("size", self.size, 1), ("shift_pixels", self.shift_pixels, 0)):
            if value < least:
                raise BadInputError(f"{name} of batches must be at least {least}, not {value}")


def split_halves(dataset: ImageDataset, seed: int, training_share: float = 0.5) -> Halves:
    """Part the training split of a data set, each class in the same proportion.

    Of an odd number of images of a class, the training half has one more. The seed and the labels alone decide, the
    same on every machine.

    Args:
        dataset: its test split is left alone.
        seed: of the choice, at least 0.
        training_share: of each class, what goes to the training half; between 0 and 1.

    Raises:
        BadInputError: the share or the seed is out of its range, or a half would have no image of a class.
    """
    if not 0 < training_share < 1:
        raise BadInputError(f"the training half's share must lie between 0 and 1, not at {training_share}")
    if seed < 0:
        raise BadInputError(f"the seed of the halves must not be negative, but is {seed}")
    labels = dataset.train_labels.numpy()
    generator = np.random.default_rng(seed)
    chosen = np.zeros(len(labels), dtype=np.bool_)
    for label in np.unique(labels):
        rows = generator.permutation(np.flatnonzero(labels == label))
        taken = int(np.floor(training_share * len(rows) + 0.5))
        if not 0 < taken < len(rows):
            raise BadInputError(
                f"the {len(rows)} images of the class {dataset.class_names[label]!r} are too few to be parted in two"
            )
        chosen[rows[:taken]] = True
    return Halves(*(_half(dataset, np.flatnonzero(which)) for which in (chosen, ~chosen)))


def batches(half: Half, settings: BatchSettings, generator: torch.Generator) -> Iterator[Batch]:
    """Give the complete batches of one pass, shuffled, shifted and mirrored, in channels-last memory.

    The incomplete batch at the end is left out; a half that is smaller than a batch is one batch.

    Args:
        half: where the images come from.
        settings: of the batches.
        generator: on the CPU; draws order, shifts and mirrors. Its state between two passes is all that a resumed
            search needs to go on with the same batches.

    Yields:
        Images (n, 3, H, W) and their labels (n,).
    """
    size = min(settings.size, len(half))
    augmentation = Augmentation(settings.shift_pixels, settings.mirror)
    order = half.rows[torch.randperm(len(half), generator=generator)]
    for first in range(0, len(order) - size + 1, size):
        rows = order[first : first + size]
        yield augmentation.apply(half.images[rows], generator), half.labels[rows]


def paired_batches(
    halves: Halves, settings: BatchSettings, generator: torch.Generator
) -> Iterator[tuple[Batch, Batch]]:
    """Give a batch of the training half with one of the validation half, once through the shorter of both passes.

    Args:
        halves: where the images come from.
        settings: of the batches.
        generator: on the CPU; shared by both passes.
    """
    # A batch of each is drawn in turn, so the order in which the generator is asked is the same in every pass.
    return zip(
        batches(halves.training, settings, generator), batches(halves.validation, settings, generator), strict=False
    )


def plain_batches(half: Half, size: int) -> Iterator[Batch]:
    """Give all images once, in the order of their rows and as they are: to calibrate batch norms or to judge.

    Args:
        half: where the images come from.
        size: images a batch, at least 1; the last one may have fewer.
    """
    for first in range(0, len(half), size):
        rows = half.rows[first : first + size]
        images = half.images[rows].contiguous(memory_format=torch.channels_last)
        yield images, half.labels[rows]


def _half(dataset: ImageDataset, rows: NDArray[np.int64]) -> Half:
    return Half(dataset.train_images, dataset.train_labels, torch.from_numpy(rows))
