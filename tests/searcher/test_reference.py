"""References: the published one, the cached one, training, and what is refused."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from searcher.artifacts import sha256_of
from searcher.errors import BadInputError, SearcherError
from searcher.networks.resnet import ResNet20
from searcher.training.datasets import ImageDataset, load_dataset
from searcher.training.loops import TrainingSettings, accuracy, train
from searcher.training.reference import (
    Reference,
    cached_reference,
    load_reference,
    reference_path,
    train_reference,
)

QUICK = TrainingSettings(epochs=1, batch_size=32)

Weights = dict[str, torch.Tensor]


def trained_reference(dataset: ImageDataset, cache: Path, settings: TrainingSettings, seed: int = 0) -> Reference:
    """Train where the cache has none, as a search does, without showing progress."""
    if cached_reference(dataset, cache, settings, seed) is None:
        list(train_reference(dataset, cache, settings, seed))
    reference = cached_reference(dataset, cache, settings, seed)
    assert reference is not None
    return reference


@pytest.fixture(scope="module")
def small() -> ImageDataset:
    """A few digits: enough to train on and to be wrong about."""
    data = load_dataset("digits")
    return dataclasses.replace(
        data,
        train_images=data.train_images[:96],
        train_labels=data.train_labels[:96],
        test_images=data.test_images[:32],
        test_labels=data.test_labels[:32],
    )


def test_the_published_reference_reaches_its_accuracy(data_file: Callable[[str], Path]) -> None:
    path = data_file("resnet20_cifar10.pt")
    data = load_dataset(f"cifar10:{data_file('cifar10_subset.npz')}")

    reference = load_reference(path, data)

    assert 91.5 <= reference.test_accuracy <= 91.75
    assert not reference.model.training
    assert (reference.source, reference.sha256) == (str(path), sha256_of(path))


def test_training_learns_the_digits() -> None:
    data = load_dataset("digits")
    generator = torch.Generator().manual_seed(0)
    model = ResNet20(data.classes)
    model.initialise(generator)

    (result,) = train(model, data, TrainingSettings(epochs=1, batch_size=16), generator)

    assert (result.epoch, result.epochs) == (1, 1)
    assert result.loss < 2.0
    assert accuracy(model, data.test_images, data.test_labels) > 60


@pytest.mark.slow
def test_the_default_training_reaches_97_percent_of_the_digits(tmp_path: Path) -> None:
    assert trained_reference(load_dataset("digits"), tmp_path, TrainingSettings()).test_accuracy >= 97


def test_a_trained_reference_comes_back_from_the_cache(small: ImageDataset, tmp_path: Path) -> None:
    cache = tmp_path / "new" / "cache"
    assert cached_reference(small, cache, QUICK, seed=0) is None

    trained = trained_reference(small, cache, QUICK)
    written = {path: path.stat().st_mtime_ns for path in cache.iterdir()}
    again = trained_reference(small, cache, QUICK)

    assert {path: path.stat().st_mtime_ns for path in cache.iterdir()} == written
    assert [str(path) for path in written] == [trained.source] == [again.source]
    assert again.sha256 == trained.sha256 == sha256_of(Path(trained.source))
    assert again.test_accuracy == trained.test_accuracy
    assert torch.equal(again.model(small.test_images), trained.model(small.test_images))


def test_equal_seeds_train_equal_files_and_others_do_not(small: ImageDataset, tmp_path: Path) -> None:
    first, same = (trained_reference(small, tmp_path / name, QUICK, seed=5) for name in ("one", "two"))
    other = trained_reference(small, tmp_path / "one", QUICK, seed=6)

    assert first.sha256 == same.sha256
    assert other.sha256 != first.sha256


def test_the_cache_keeps_data_settings_and_seeds_apart(small: ImageDataset, tmp_path: Path) -> None:
    fewer = dataclasses.replace(small, train_labels=small.train_labels.flip(0))
    longer = dataclasses.replace(QUICK, epochs=2)
    paths = {
        reference_path(data, tmp_path, settings, seed)
        for data in (small, fewer)
        for settings in (QUICK, longer)
        for seed in (0, 1)
    }

    assert len(paths) == 8


@pytest.mark.parametrize("damaged", [b"", b"garbage", None])
def test_a_damaged_cache_is_trained_anew(small: ImageDataset, tmp_path: Path, damaged: bytes | None) -> None:
    path = reference_path(small, tmp_path, QUICK, 0)
    if damaged is None:
        list(train_reference(small, tmp_path, QUICK, 0))
        damaged = path.read_bytes()[:-500]
    path.write_bytes(damaged)

    assert cached_reference(small, tmp_path, QUICK, 0) is None
    assert trained_reference(small, tmp_path, QUICK).sha256 == sha256_of(path)
    assert [item.name for item in tmp_path.iterdir()] == [path.name]


def test_nothing_is_cached_before_the_training_ends(small: ImageDataset, tmp_path: Path) -> None:
    results = train_reference(small, tmp_path, QUICK, 0)
    assert next(results).epoch == 1
    assert list(tmp_path.iterdir()) == []
    assert list(results) == []
    assert len(list(tmp_path.iterdir())) == 1


def test_a_cache_that_cannot_be_made_is_said_before_training(small: ImageDataset, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(BadInputError, match="cannot write the reference"):
        trained_reference(small, tmp_path / "file", QUICK)


def test_a_training_that_diverges_is_an_error_not_a_reference(small: ImageDataset, tmp_path: Path) -> None:
    broken = dataclasses.replace(small, train_images=small.train_images * float("nan"))
    with pytest.raises(SearcherError, match="training diverged in epoch 1"):
        trained_reference(broken, tmp_path, QUICK)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("wrap", [False, True])
@pytest.mark.parametrize("prefix", ["", "module."])
def test_published_layouts_of_weights_are_accepted(
    small: ImageDataset, tmp_path: Path, wrap: bool, prefix: str
) -> None:
    model = ResNet20().eval()
    state = {
        prefix + name: value
        for name, value in model.state_dict().items()
        if prefix or not name.endswith("num_batches_tracked")
    }
    torch.save({"state_dict": state, "best_prec1": 91.6} if wrap else state, tmp_path / "weights.pt")

    reference = load_reference(tmp_path / "weights.pt", small)

    assert torch.equal(reference.model(small.test_images), model(small.test_images))


def without_linear(state: Weights) -> object:
    return {name: value for name, value in state.items() if name != "linear.bias"}


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (without_linear, "lacks 'linear.bias'"),
        (lambda state: {**state, "extra": torch.zeros(1)}, "unknown 'extra'"),
        (lambda state: {**state, "conv1.weight": torch.zeros(16, 3, 5, 5)}, "'conv1.weight' is .*not"),
        (lambda state: {**state, "linear.bias": torch.zeros(100)}, "ResNet-20 of 10 classes"),
        (lambda state: {**state, "linear.bias": torch.full((10,), float("nan"))}, "not finite"),
        (lambda state: {**state, "linear.bias": torch.zeros(10, dtype=torch.int8)}, "plain floating-point"),
        (lambda state: {**state, "linear.bias": torch.zeros(10, device="meta")}, "plain floating-point"),
        (lambda state: {**state, "linear.bias": torch.zeros(10).to_sparse()}, "plain floating-point"),
        (lambda state: {**state, "linear.bias": [0.0] * 10}, "'linear.bias' is not a named tensor"),
        (lambda state: {**state, 7: torch.zeros(1)}, "7 is not a named tensor"),
        (lambda state: {"state_dict": list(state)}, "holds no state dict"),
        (lambda state: {"state_dict": state, "schema_version": 99}, "unknown schema version 99"),
        (lambda state: torch.zeros(3), "holds no state dict"),
        (lambda state: ResNet20(), "not a file of plain weights"),
    ],
)
def test_wrong_weights_are_refused(
    small: ImageDataset, tmp_path: Path, change: Callable[[Weights], object], sentence: str
) -> None:
    torch.save(change({**ResNet20().state_dict()}), tmp_path / "weights.pt")

    with pytest.raises(BadInputError, match=sentence) as caught:
        load_reference(tmp_path / "weights.pt", small)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"garbage", b"PK\x03\x04 and no more", b"\x80\x02}q\x00."])
def test_unreadable_weights_are_refused(small: ImageDataset, tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "weights.pt"
    path.write_bytes(content)
    with pytest.raises(BadInputError, match=r"weights\.pt"):
        load_reference(path, small)


def test_missing_weights_are_named(small: ImageDataset, tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match=r"cannot read the reference .*nothing\.pt: No such file"):
        load_reference(tmp_path / "nothing.pt", small)
    with pytest.raises(BadInputError, match="Is a directory"):
        load_reference(tmp_path, small)


class Command:
    """A call that unpickling without care would make."""

    def __init__(self, proof: Path) -> None:
        self.proof = proof

    def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
        return os.system, (f"touch {self.proof}",)


def test_weights_that_call_something_are_refused_and_do_not_run(small: ImageDataset, tmp_path: Path) -> None:
    torch.save({"conv1.weight": Command(tmp_path / "proof")}, tmp_path / "weights.pt")

    with pytest.raises(BadInputError, match="not a file of plain weights"):
        load_reference(tmp_path / "weights.pt", small)
    assert not (tmp_path / "proof").exists()


def test_accuracy_restores_each_modules_mode(small: ImageDataset) -> None:
    model = ResNet20()
    model.train()
    model.bn1.eval()

    whole = accuracy(model, small.test_images, small.test_labels)
    in_parts = accuracy(model, small.test_images, small.test_labels, batch_size=5)

    assert whole == in_parts
    assert model.training
    assert model.layer1.training
    assert not model.bn1.training


@pytest.mark.parametrize(
    "wrong",
    [
        {"epochs": 0},
        {"batch_size": 0},
        {"shift_pixels": -1},
        {"peak_learning_rate": float("nan")},
        {"momentum": 1.0},
        {"weight_decay": -1e-4},
    ],
)
def test_wrong_settings_are_named(wrong: dict[str, float]) -> None:
    with pytest.raises(BadInputError, match=next(iter(wrong))):
        dataclasses.replace(QUICK, **wrong)  # type: ignore[arg-type] # the point of the test
