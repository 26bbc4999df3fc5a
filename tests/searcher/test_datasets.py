"""Data sets: shapes, normalisation, the fixed split, and the sentences for what cannot be loaded."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from searcher.errors import BadInputError
from searcher.training.datasets import fingerprint, load_dataset, resized


def test_digits_are_normalised_images_with_a_fixed_balanced_split() -> None:
    data = load_dataset("digits")
    again = load_dataset("digits")

    assert (data.name, data.classes, data.class_names[3]) == ("digits", 10, "3")
    assert data.train_images.shape == (1438, 3, 32, 32)
    assert data.test_images.shape == (359, 3, 32, 32)
    assert data.train_images.dtype == torch.float32
    assert data.train_labels.dtype == torch.int64
    assert data.train_images.mean().item() == pytest.approx(0, abs=1e-4)
    assert data.train_images.std().item() == pytest.approx(1, abs=1e-4)
    assert torch.bincount(data.test_labels).tolist() == [36, 36, 35, 37, 36, 36, 36, 36, 35, 36]
    assert torch.equal(data.train_images[:, 0], data.train_images[:, 2])
    assert torch.equal(data.test_images, again.test_images)
    assert torch.equal(data.train_labels, again.train_labels)


def test_no_digit_is_in_both_splits() -> None:
    data = load_dataset("digits")
    train = {image.numpy().tobytes() for image in data.train_images}

    assert not train & {image.numpy().tobytes() for image in data.test_images}


def test_cifar10_is_normalised_with_the_published_constants(data_file: Callable[[str], Path]) -> None:
    path = data_file("cifar10_subset.npz")
    data = load_dataset(f"cifar10:{path}")

    assert (data.name, data.classes, data.class_names[0]) == ("cifar10", 10, "airplane")
    assert data.train_images.shape == (5085, 3, 32, 32)
    assert data.test_images.shape == (1017, 3, 32, 32)
    assert data.train_labels.dtype == torch.int64
    with np.load(path, allow_pickle=False) as stored:
        pixel = stored["test_images"][5, 4, 3]
    expected = (pixel / 255 - np.array([0.485, 0.456, 0.406])) / np.array([0.229, 0.224, 0.225])
    assert data.test_images[5, :, 4, 3].numpy() == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize(
    ("spec", "sentence"),
    [
        ("mnist", "unknown data 'mnist': choose `digits` or `cifar10:PATH`"),
        ("", "unknown data ''"),
        ("digits:8", "unknown data 'digits:8'"),
        ("CIFAR10:x", "unknown data"),
        ("cifar10", "cifar10:PATH"),
        ("cifar10:", "cifar10:PATH"),
        ("cifar10:/no/such/file.npz", "there is no CIFAR-10 data at /no/such/file.npz"),
        ("cifar10:nul\0byte", "there is no CIFAR-10 data"),
    ],
)
def test_what_cannot_be_loaded_is_said_in_one_sentence(spec: str, sentence: str) -> None:
    with pytest.raises(BadInputError, match=sentence) as caught:
        load_dataset(spec)
    assert "\n" not in str(caught.value)


def test_the_fingerprint_tells_training_splits_apart() -> None:
    data = load_dataset("digits")
    labels = data.train_labels.clone()
    labels[700] = (labels[700] + 1) % 10
    variants = [
        dataclasses.replace(data, name="other"),
        dataclasses.replace(data, train_labels=labels),
        dataclasses.replace(data, train_images=data.train_images + 1),
        dataclasses.replace(data, train_images=data.train_images[:100], train_labels=data.train_labels[:100]),
    ]

    assert fingerprint(data) == fingerprint(load_dataset("digits"))
    assert len({fingerprint(variant) for variant in (data, *variants)}) == 5


def test_a_smaller_image_has_the_means_of_the_larger_one() -> None:
    dataset = load_dataset("digits")
    small = resized(dataset, 16)
    assert small.train_images.shape == (*dataset.train_images.shape[:2], 16, 16)
    assert small.test_images.shape[-2:] == (16, 16)
    assert small.train_images[5, 1, 3, 4].item() == pytest.approx(dataset.train_images[5, 1, 6:8, 8:10].mean().item())
    assert torch.equal(small.train_labels, dataset.train_labels)
    assert resized(dataset, 32) is dataset
    for side in (0, 12, 64):
        with pytest.raises(BadInputError, match="cannot be averaged"):
            resized(dataset, side)
