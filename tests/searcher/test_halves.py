"""Halves of a training split: who is in which, and what batches are made of them."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from searcher.errors import BadInputError
from searcher.training.datasets import ImageDataset, load_dataset
from searcher.training.halves import (
    BatchSettings,
    Half,
    batches,
    paired_batches,
    plain_batches,
    split_halves,
)

AS_THEY_ARE = BatchSettings(size=64, shift_pixels=0)


@pytest.fixture(scope="module")
def digits() -> ImageDataset:
    return load_dataset("digits")


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def numbered(count: int) -> Half:
    """Images of which every pixel is the image's number, and so is its label."""
    numbers = torch.arange(count)
    return Half(numbers.float().view(-1, 1, 1, 1).expand(count, 3, 4, 4).contiguous(), numbers, numbers)


def test_every_image_is_in_exactly_one_half_and_classes_are_halved(digits: ImageDataset) -> None:
    halves = split_halves(digits, seed=3)

    both = torch.cat((halves.training.rows, halves.validation.rows))
    assert torch.equal(both.sort().values, torch.arange(len(digits.train_labels)))
    counts = [torch.bincount(digits.train_labels[half.rows]) for half in (halves.training, halves.validation)]
    assert all(difference in (0, 1) for difference in (counts[0] - counts[1]).tolist())
    assert halves.training.images.data_ptr() == digits.train_images.data_ptr()


def test_the_seed_alone_decides(digits: ImageDataset) -> None:
    first, same, other = (split_halves(digits, seed).training.rows for seed in (1, 1, 2))

    assert torch.equal(first, same)
    assert not torch.equal(first, other)
    # The same on every machine: a change here parts the data of every search anew.
    assert first[:8].tolist() == [1, 3, 9, 11, 14, 15, 16, 17]


def test_the_share_is_kept_in_each_class(digits: ImageDataset) -> None:
    rows = split_halves(digits, seed=0, training_share=0.8).training.rows

    shares = torch.bincount(digits.train_labels[rows]) / torch.bincount(digits.train_labels)
    assert shares.tolist() == pytest.approx([0.8] * 10, abs=0.005)


@pytest.mark.parametrize(
    ("seed", "share", "sentence"),
    [
        (0, 0.0, "share must lie between 0 and 1, not at 0.0"),
        (0, 1.0, "share must lie between 0 and 1, not at 1.0"),
        (0, float("nan"), "share must lie between 0 and 1, not at nan"),
        (-1, 0.5, "must not be negative, but is -1"),
        (0, 0.001, "images of the class '0' are too few to be parted in two"),
    ],
)
def test_what_cannot_be_parted_is_refused(digits: ImageDataset, seed: int, share: float, sentence: str) -> None:
    with pytest.raises(BadInputError, match=sentence):
        split_halves(digits, seed, share)


def test_cifar10_is_halved_by_class(data_file: Callable[[str], Path]) -> None:
    dataset = load_dataset(f"cifar10:{data_file('cifar10_subset.npz')}")
    halves = split_halves(dataset, seed=0)

    assert len(halves.training) + len(halves.validation) == 5085
    counts = [torch.bincount(dataset.train_labels[half.rows]) for half in (halves.training, halves.validation)]
    assert (counts[0] - counts[1]).abs().max() <= 1


def test_a_pass_takes_each_image_at_most_once_with_its_own_label() -> None:
    half = numbered(21)
    seen = list(batches(half, BatchSettings(size=5, shift_pixels=0), generator()))

    assert [len(labels) for _, labels in seen] == [5] * 4
    labels = torch.cat([labels for _, labels in seen])
    assert len(set(labels.tolist())) == 20
    assert torch.equal(torch.cat([images for images, _ in seen])[:, 0, 0, 0], labels.float())
    assert labels.tolist() != sorted(labels.tolist())


def test_a_half_smaller_than_a_batch_is_one_batch() -> None:
    ((images, labels),) = batches(numbered(5), AS_THEY_ARE, generator())

    assert len(images) == 5
    assert set(labels.tolist()) == set(range(5))


def test_the_state_of_the_generator_is_all_that_a_pass_depends_on(digits: ImageDataset) -> None:
    half = split_halves(digits, seed=0).training
    settings, random = BatchSettings(size=200, shift_pixels=2, mirror=True), generator()
    list(batches(half, settings, random))
    state = random.get_state()
    second = [images for images, _ in batches(half, settings, random)]
    resumed = torch.Generator()
    resumed.set_state(state)

    again = [images for images, _ in batches(half, settings, resumed)]
    assert len(second) == len(half) // 200 > 1
    assert all(torch.equal(one, other) for one, other in zip(second, again, strict=True))


def test_images_are_moved_and_mirrored_where_that_is_asked_for(digits: ImageDataset) -> None:
    half = split_halves(digits, seed=0).training

    def first(settings: BatchSettings) -> tuple[Tensor, Tensor]:
        return next(batches(half, settings, generator()))

    plain, labels = first(AS_THEY_ARE)
    assert plain.is_contiguous(memory_format=torch.channels_last)
    assert all(any(torch.equal(image, stored) for stored in half.images[half.rows]) for image in plain)
    moved, same_labels = first(BatchSettings(size=64, shift_pixels=3))
    assert torch.equal(labels, same_labels)
    assert not torch.equal(plain, moved)
    turned, _ = first(BatchSettings(size=64, shift_pixels=0, mirror=True))
    flipped = [torch.equal(one, other.flip(2)) for one, other in zip(turned, plain, strict=True)]
    kept = [torch.equal(one, other) for one, other in zip(turned, plain, strict=True)]
    assert [one != other for one, other in zip(flipped, kept, strict=True)] == [True] * 64
    assert 16 < sum(flipped) < 48
    assert turned.is_contiguous(memory_format=torch.channels_last)


def test_pairs_are_of_both_halves_until_the_shorter_one_ends(digits: ImageDataset) -> None:
    halves = split_halves(digits, seed=0, training_share=0.6)
    pairs = list(paired_batches(halves, BatchSettings(size=100, shift_pixels=0), generator()))

    assert len(pairs) == len(halves.validation) // 100 < len(halves.training) // 100
    stored = {image.numpy().tobytes() for image in halves.training.images[halves.training.rows]}
    for (weights_images, _), (structure_images, _) in itertools.islice(pairs, 2):
        assert all(image.contiguous().numpy().tobytes() in stored for image in weights_images)
        assert not any(image.contiguous().numpy().tobytes() in stored for image in structure_images)


def test_plain_batches_are_all_images_in_their_order(digits: ImageDataset) -> None:
    half = split_halves(digits, seed=0).validation
    images, labels = (torch.cat(parts) for parts in zip(*plain_batches(half, 300), strict=True))

    assert torch.equal(images, digits.train_images[half.rows])
    assert torch.equal(labels, digits.train_labels[half.rows])


@pytest.mark.parametrize(("values", "sentence"), [({"size": 0}, "size"), ({"shift_pixels": -1}, "shift_pixels")])
def test_impossible_batches_are_refused(values: dict[str, int], sentence: str) -> None:
    with pytest.raises(BadInputError, match=f"{sentence} of batches must be at least"):
        BatchSettings(**values)  # type: ignore[arg-type] # mirror is not among them
