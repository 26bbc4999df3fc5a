"""The one batch that candidates are trained on, and what the reference makes of it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from searcher.errors import BadInputError
from searcher.search.scores.cka import centred_gram
from searcher.search.scores.threads import one_thread
from searcher.training.datasets import ImageDataset, fingerprint
from searcher.training.reference import Reference

# RMI-NAS draws this many times the batch and keeps the images that the reference finds easiest.
_POOL_FACTOR = 16


@dataclass(frozen=True, eq=False)
class TrainingBatch:
    """A batch of images with the reference's representations of them.

    Attributes:
        images: (n, 3, H, W), in channels-last memory.
        labels: (n,).
        reference_grams: centred Gram matrices (n, n) of the reference's features, one for each layer compared.
        classes: how many there are.
        identity: of data set, reference and draw, as JSON has it.
    """

    images: Tensor
    labels: Tensor
    reference_grams: tuple[Tensor, ...]
    classes: int
    identity: dict[str, str | int]


def prepare_batch(reference: Reference, dataset: ImageDataset, batch_size: int, seed: int) -> TrainingBatch:
    """Choose the batch and compute the reference's Gram matrices, once for all candidates.

    Args:
        reference: the model to resemble; used in eval mode.
        dataset: where the batch is from (its training half).
        batch_size: n, images in the batch.
        seed: of the draw.

    Raises:
        BadInputError: the data set has fewer training images than one batch.
    """
    with one_thread(), torch.no_grad():
        images, labels = easiest_batch(reference, dataset, batch_size, torch.Generator().manual_seed(seed))
        grams = tuple(centred_gram(feature) for feature in reference.model.features(images))
    identity: dict[str, str | int] = {
        "data": fingerprint(dataset),
        "reference_sha256": reference.sha256,
        "batch_size": batch_size,
        "batch_seed": seed,
    }
    return TrainingBatch(images.contiguous(memory_format=torch.channels_last), labels, grams, dataset.classes, identity)


def easiest_batch(
    reference: Reference, dataset: ImageDataset, batch_size: int, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Draw 16 times `batch_size` training images and keep those with the reference's lowest loss (RMI-NAS).

    Returns:
        Images (batch_size, C, H, W) and labels (batch_size,).

    Raises:
        BadInputError: the data set has fewer training images than one batch.
    """
    count = len(dataset.train_labels)
    if count < batch_size:
        raise BadInputError(f"the data set {dataset.name} has {count} training images, fewer than a batch")
    drawn = torch.randperm(count, generator=generator)[: _POOL_FACTOR * batch_size]
    images, labels = dataset.train_images[drawn], dataset.train_labels[drawn]
    with torch.no_grad():
        losses = functional.cross_entropy(reference.model(images), labels, reduction="none")
    kept = torch.argsort(losses, stable=True)[:batch_size]
    return images[kept], labels[kept]
