"""The reference of a search: from a file, from the cache, or trained now."""

from __future__ import annotations

from pathlib import Path

from searcher.artifacts import cache_folder
from searcher.errors import SearcherError
from searcher.training.datasets import ImageDataset
from searcher.training.loops import TrainingSettings
from searcher.training.reference import Reference, cached_reference, load_reference, train_reference
from searcher.workflows.progress import Progress, Work

_SEED = 0


def prepare_reference(dataset: ImageDataset, weights: Path | None) -> Work[Reference]:
    """Return the reference model; the progress notes say where it is from and how accurate it is.

    Args:
        dataset: what it is for.
        weights: the user's own file, or None for a ResNet-20 trained on the data set once and cached.

    Raises:
        BadInputError: the user's file does not hold a fitting ResNet-20.
    """
    if weights is not None:
        reference = load_reference(weights, dataset)
    else:
        reference = yield from _cached_or_trained(dataset)
    images = f"{len(dataset.test_labels)} test images of {dataset.name}"
    note = f"reference accuracy {reference.test_accuracy:.2f}% on {images}"
    yield Progress("reference", 1, 1, note)
    return reference


def _cached_or_trained(dataset: ImageDataset) -> Work[Reference]:
    cache, settings = cache_folder() / "references", TrainingSettings()
    reference = cached_reference(dataset, cache, settings, _SEED)
    if reference is None:
        for epoch in train_reference(dataset, cache, settings, _SEED):
            yield Progress("train the reference", epoch.epoch, epoch.epochs)
        reference = cached_reference(dataset, cache, settings, _SEED)
    if reference is None:
        raise SearcherError(f"the reference was trained, but cannot be read again from the cache {cache}")
    return reference
