"""The reference of a search: from a file, from the cache, or trained now, shorter where time is short."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch

from searcher.artifacts import cache_folder
from searcher.errors import SearcherError
from searcher.networks.resnet import ResNet20
from searcher.training.datasets import ImageDataset
from searcher.training.loops import TrainingSettings, train
from searcher.training.reference import Reference, cached_reference, load_reference, train_reference
from searcher.workflows.progress import Progress, Work

_SEED = 0
_PROBE_BATCHES = 4


def prepare_reference(dataset: ImageDataset, weights: Path | None, seconds: float | None = None) -> Work[Reference]:
    """Return the reference model; the progress notes say where it is from and how accurate it is.

    Args:
        dataset: what it is for.
        weights: the user's own file, or None for a ResNet-20 trained on the data set once and cached.
        seconds: time for the training; None trains as long as the defaults say.

    Raises:
        BadInputError: the user's file does not hold a fitting ResNet-20.
    """
    if weights is not None:
        reference = load_reference(weights, dataset)
    else:
        reference = yield from _cached_or_trained(dataset, seconds)
    images = f"{len(dataset.test_labels)} test images of {dataset.name}"
    note = f"reference accuracy {reference.test_accuracy:.2f}% on {images}"
    yield Progress("reference", 1, 1, note)
    return reference


def _cached_or_trained(dataset: ImageDataset, seconds: float | None) -> Work[Reference]:
    cache, settings = cache_folder() / "references", TrainingSettings()
    reference = cached_reference(dataset, cache, settings, _SEED)
    if reference is None:
        if seconds is not None:
            settings = affordable_settings(dataset, settings, seconds)
        for epoch in train_reference(dataset, cache, settings, _SEED):
            yield Progress("train the reference", epoch.epoch, epoch.epochs)
        reference = cached_reference(dataset, cache, settings, _SEED)
    if reference is None:
        raise SearcherError(f"the reference was trained, but cannot be read again from the cache {cache}")
    return reference


def affordable_settings(
    dataset: ImageDataset,
    settings: TrainingSettings,
    seconds: float,
    clock_s: Callable[[], float] = time.perf_counter,
) -> TrainingSettings:
    """Return the settings with as many epochs, at least one and at most theirs, as fit into the time.

    Two epochs of a few batches are trained to see how fast this machine is; the second is timed.
    """
    probe_images = min(len(dataset.train_labels), _PROBE_BATCHES * settings.batch_size)
    few = replace(
        dataset, train_images=dataset.train_images[:probe_images], train_labels=dataset.train_labels[:probe_images]
    )
    model = ResNet20(dataset.classes)
    epochs = train(model, few, replace(settings, epochs=2), torch.Generator().manual_seed(_SEED))
    next(epochs)
    start = clock_s()
    next(epochs)
    epoch_s = (clock_s() - start) * len(dataset.train_labels) / probe_images
    return replace(settings, epochs=max(1, min(settings.epochs, int(seconds / max(epoch_s, 1e-9)))))
