"""A part of the training split held back, to see during a training how well it goes on images that it never saw."""

from __future__ import annotations

import math
from dataclasses import replace

import torch

from searcher.errors import BadInputError
from searcher.training.datasets import ImageDataset


def hold_out(dataset: ImageDataset, share: float, generator: torch.Generator) -> ImageDataset:
    """Return the data set without a part of its training split, which stands in place of the test split.

    Args:
        dataset: whose test split is left alone, for the end.
        share: of the training images to hold back, rounded; they are drawn without regard to their classes.
        generator: draws which.

    Raises:
        BadInputError: the share is not between 0 and 1, or leaves one of both parts without an image.
    """
    count = len(dataset.train_labels)
    held = images_held(count, share)
    order = torch.randperm(count, generator=generator)
    kept, back = order[held:].sort().values, order[:held].sort().values
    return replace(
        dataset,
        train_images=dataset.train_images[kept],
        train_labels=dataset.train_labels[kept],
        test_images=dataset.train_images[back],
        test_labels=dataset.train_labels[back],
    )


def images_held(count: int, share: float) -> int:
    """Return how many of so many training images a share holds back.

    Raises:
        BadInputError: as `hold_out`.
    """
    held = round(share * count) if math.isfinite(share) else 0
    if not 0 < held < count:
        raise BadInputError(f"a validation share of {share:g} of {count} training images leaves nothing to one part")
    return held
