"""Data sets as normalised tensors: scikit-learn's digits, which need no download, and CIFAR-10 from disk."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.datasets import load_digits
from torch import Tensor
from torch.nn import functional

from searcher.errors import BadInputError
from searcher.training.cifar10 import read_cifar10

# The deviations are ImageNet's, as are the means: published CIFAR-10 weights were trained with them.
_CIFAR10_MEAN = (0.485, 0.456, 0.406)
_CIFAR10_DEVIATION = (0.229, 0.224, 0.225)

_SIDE = 32
_DIGITS_BRIGHTEST = 16.0
_DIGITS_TEST_SHARE = 0.2
_DIGITS_SPLIT_SEED = 0
_FINGERPRINT_IMAGES = 512


@dataclass(frozen=True, eq=False)
class ImageDataset:
    """A data set for classification, in memory.

    Attributes:
        name: `digits` or `cifar10`.
        train_images: float32, normalised, (N, 3, H, W); 32 × 32 as loaded.
        train_labels: int64, (N,), each in 0..classes - 1.
        test_images: like `train_images`.
        test_labels: like `train_labels`.
        class_names: what the labels mean.
    """

    name: str
    train_images: Tensor
    train_labels: Tensor
    test_images: Tensor
    test_labels: Tensor
    class_names: tuple[str, ...]

    @property
    def classes(self) -> int:
        """The number of classes."""
        return len(self.class_names)


def load_dataset(spec: str) -> ImageDataset:
    """Load the data set that a `--data` option names.

    Args:
        spec: `digits`, or `cifar10:PATH` with the path of an .npz file or of a folder of official batches.

    Raises:
        BadInputError: the name is unknown, or the data is missing or wrong.
    """
    name, _, place = spec.partition(":")
    if spec == "digits":
        return _digits()
    if name == "cifar10":
        if not place:
            raise BadInputError("cifar10 needs the place of its files: cifar10:PATH")
        return _cifar10(Path(place))
    raise BadInputError(f"unknown data {spec!r}: choose `digits` or `cifar10:PATH`")


def resized(dataset: ImageDataset, side: int) -> ImageDataset:
    """Return the data set with smaller images, each pixel the mean of a square of the old ones.

    Args:
        dataset: of square images.
        side: of the new images, a divisor of the old ones'.

    Raises:
        BadInputError: it is no divisor.
    """
    old = dataset.train_images.shape[-1]
    if side == old:
        return dataset
    if not 0 < side < old or old % side:
        raise BadInputError(f"images of {old} pixels a side cannot be averaged to {side}: it must divide {old}")
    factor = old // side
    return replace(
        dataset,
        train_images=functional.avg_pool2d(dataset.train_images, factor),
        test_images=functional.avg_pool2d(dataset.test_images, factor),
    )


def fingerprint(dataset: ImageDataset) -> str:
    """Return a hexadecimal SHA-256 that tells the training splits of different data sets apart.

    It covers the name, the shapes, every training label and up to 512 evenly spread training images, so that
    it stays quick; two data sets that differ in a few pixels only may share it.
    """
    stride = max(1, len(dataset.train_images) // _FINGERPRINT_IMAGES)
    digest = hashlib.sha256(repr((dataset.name, tuple(dataset.train_images.shape), dataset.class_names)).encode())
    for part in (dataset.train_labels, dataset.train_images[::stride]):
        digest.update(part.contiguous().numpy().tobytes())
    return digest.hexdigest()


def _cifar10(path: Path) -> ImageDataset:
    pixels = read_cifar10(path)
    return ImageDataset(
        name="cifar10",
        train_images=_normalised_cifar10(pixels.train_images),
        train_labels=torch.from_numpy(pixels.train_labels),
        test_images=_normalised_cifar10(pixels.test_images),
        test_labels=torch.from_numpy(pixels.test_labels),
        class_names=pixels.class_names,
    )


def _normalised_cifar10(pixels: NDArray[np.uint8]) -> Tensor:
    mean = torch.tensor(_CIFAR10_MEAN).view(1, 3, 1, 1)
    deviation = torch.tensor(_CIFAR10_DEVIATION).view(1, 3, 1, 1)
    images = torch.tensor(pixels).permute(0, 3, 1, 2).contiguous().float()
    # In place: all of CIFAR-10 takes 0.6 GB as float32, and each copy as much again.
    return images.div_(255.0).sub_(mean).div_(deviation)


def _digits() -> ImageDataset:
    bunch = load_digits()
    labels = np.asarray(bunch.target, dtype=np.int64)
    test = _test_rows(labels)
    grey = torch.tensor(bunch.images, dtype=torch.float32).unsqueeze(1) / _DIGITS_BRIGHTEST
    grey = functional.interpolate(grey, size=(_SIDE, _SIDE), mode="bilinear", align_corners=False)
    grey = (grey - grey[~test].mean()) / grey[~test].std()
    images = grey.repeat(1, 3, 1, 1)
    targets = torch.from_numpy(labels)
    return ImageDataset(
        name="digits",
        train_images=images[~test],
        train_labels=targets[~test],
        test_images=images[test],
        test_labels=targets[test],
        class_names=tuple(str(name) for name in bunch.target_names),
    )


def _test_rows(labels: NDArray[np.int64]) -> Tensor:
    """Mark a fifth of each class, the same fifth on every machine."""
    generator = np.random.default_rng(_DIGITS_SPLIT_SEED)
    chosen = np.zeros(len(labels), dtype=np.bool_)
    for label in np.unique(labels):
        rows = generator.permutation(np.flatnonzero(labels == label))
        chosen[rows[: round(_DIGITS_TEST_SHARE * len(rows))]] = True
    return torch.from_numpy(chosen)
