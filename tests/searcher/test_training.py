"""Trainings: the schedule, what images go through, and a training that was put aside."""

from __future__ import annotations

import dataclasses
import io

import pytest
import torch
from torch import nn

from searcher.errors import BadInputError
from searcher.training.augmentation import Augmentation, cut_out, mirrored, shifted
from searcher.training.datasets import ImageDataset, load_dataset
from searcher.training.loops import Training
from searcher.training.recipe import BF16, Recipe, learning_rate, usual_recipe
from searcher.training.tensor_files import parse_tensors

RECIPE = Recipe(
    epochs=4,
    batch_size=32,
    label_smoothing=0.1,
    clip_norm=5.0,
    augmentation=Augmentation(shift_pixels=2, mirror=True, cutout_pixels=8),
)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def small() -> ImageDataset:
    """A few digits: three batches of 32 and a rest."""
    data = load_dataset("digits")
    return dataclasses.replace(data, train_images=data.train_images[:100], train_labels=data.train_labels[:100])


def network(seed: int = 1) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(
            nn.Conv2d(3, 8, 3, stride=2), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 15 * 15, 10)
        )


def weights(model: nn.Module) -> list[torch.Tensor]:
    return [value.clone() for value in model.state_dict().values()]


def test_the_learning_rate_rises_once_and_falls_to_zero() -> None:
    rates = [learning_rate(0.5, step / 100, 0.2) for step in range(101)]

    assert rates[:21] == sorted(rates[:21])
    assert rates[20] == max(rates) == 0.5
    assert rates[20:] == sorted(rates[20:], reverse=True)
    assert rates[0] > 0
    assert rates[100] == pytest.approx(0)


def test_without_a_warm_up_the_rate_is_half_a_cosine() -> None:
    assert [learning_rate(0.2, progress, 0.0) for progress in (0.0, 1 / 3, 0.5, 1.0)] == pytest.approx(
        [0.2, 0.15, 0.1, 0]
    )


def test_shifts_move_whole_images_and_repeat_the_border() -> None:
    image = torch.arange(25.0).view(1, 1, 5, 5)
    moved = shifted(image.repeat(200, 2, 1, 1), 1, generator())
    places = torch.arange(5)
    expected = {
        image[0, 0][(places + down).clamp(0, 4)][:, (places + right).clamp(0, 4)].numpy().tobytes()
        for down in (-1, 0, 1)
        for right in (-1, 0, 1)
    }

    assert {one[0].contiguous().numpy().tobytes() for one in moved} == expected
    assert torch.equal(moved[:, 0], moved[:, 1])
    assert torch.equal(shifted(image, 0, generator()), image)


def test_about_half_of_the_images_are_mirrored_whole() -> None:
    images = torch.rand(400, 3, 4, 5, generator=generator())
    turned = mirrored(images, generator(1))
    is_same = (turned == images).flatten(1).all(1)
    is_mirrored = (turned == images.flip(3)).flatten(1).all(1)

    assert bool((is_same ^ is_mirrored).all())
    assert 160 < int(is_mirrored.sum()) < 240


def test_cutout_clears_one_square_which_the_border_may_cut() -> None:
    cut = cut_out(torch.ones(500, 2, 12, 10), 4, generator())
    gone = cut == 0

    assert torch.equal(gone[:, 0], gone[:, 1])
    heights, widths = gone[:, 0].any(2).sum(1), gone[:, 0].any(1).sum(1)
    # A square's side, less what lies outside: the rows and the columns that are touched are touched together.
    assert torch.equal(gone[:, 0].flatten(1).sum(1), heights * widths)
    assert {*heights.tolist()} == {*widths.tolist()} == {2, 3, 4}
    assert bool(((gone[:, 0].float().mean(0)) > 0).all())


def test_an_augmentation_keeps_the_layout_and_does_nothing_unasked() -> None:
    images = torch.rand(8, 3, 32, 32, generator=generator())

    assert torch.equal(Augmentation().apply(images, generator()), images)
    assert RECIPE.augmentation.apply(images, generator()).is_contiguous(memory_format=torch.channels_last)


def test_a_training_put_aside_goes_on_bit_for_bit(small: ImageDataset) -> None:
    whole = Training(network(), small, RECIPE, generator(7))
    results = [whole.run_epoch() for _ in range(4)]

    first = Training(network(), small, RECIPE, generator(7))
    first.run_epoch()
    memory = io.BytesIO()
    torch.save(first.state(), memory)
    state = parse_tensors(memory.getvalue())
    assert isinstance(state, dict)
    second = Training(model := network(2), small, RECIPE, generator(8))
    second.restore(state)

    assert [second.run_epoch() for _ in range(3)] == results[1:]
    assert second.is_done
    last = whole.state()["model"].values()
    assert all(torch.equal(one, other) for one, other in zip(weights(model), last, strict=True))


@pytest.mark.parametrize(
    "change",
    [
        {"label_smoothing": 0.0},
        {"clip_norm": 1e-3},
        {"warm_up_share": 0.5},
        {"precision": BF16},
        {"augmentation": Augmentation(shift_pixels=2, mirror=True)},
    ],
)
def test_each_part_of_the_recipe_changes_the_training(small: ImageDataset, change: dict[str, object]) -> None:
    def trained(recipe: Recipe) -> list[torch.Tensor]:
        Training(model := network(), small, recipe, generator(7)).run_epoch()
        return weights(model)

    usual, other = trained(RECIPE), trained(dataclasses.replace(RECIPE, **change))  # type: ignore[arg-type] # any field
    assert not all(torch.equal(one, changed) for one, changed in zip(usual, other, strict=True))


def test_clipped_gradients_move_no_further_than_their_bound(small: ImageDataset) -> None:
    recipe = Recipe(epochs=1, batch_size=100, weight_decay=0.0, clip_norm=0.01)
    model = network()
    before = [parameter.detach().clone() for parameter in model.parameters()]
    Training(model, small, recipe, generator()).run_epoch()
    moved = torch.cat([(now.detach() - old).flatten() for now, old in zip(model.parameters(), before, strict=True)])

    # One step of Nesterov's momentum from rest: (1 + momentum) times the rate times the gradient.
    assert moved.norm().item() == pytest.approx(1.9 * 0.1 * 0.01, rel=1e-3)


def test_digits_are_never_mirrored_and_photographs_are() -> None:
    assert not usual_recipe("digits").augmentation.mirror
    assert usual_recipe("cifar10").augmentation.mirror
    with pytest.raises(BadInputError, match="no usual training for the data 'svhn'"):
        usual_recipe("svhn")


@pytest.mark.parametrize(
    "wrong",
    [
        {"warm_up_share": 1.0},
        {"label_smoothing": -0.1},
        {"clip_norm": 0.0},
        {"precision": "fp64"},
        {"peak_learning_rate": float("inf")},
    ],
)
def test_wrong_recipes_are_named(wrong: dict[str, object]) -> None:
    with pytest.raises(BadInputError, match=next(iter(wrong))):
        Recipe(**wrong)  # type: ignore[arg-type] # the point of the test


def test_a_square_of_negative_size_is_refused() -> None:
    with pytest.raises(BadInputError, match="cutout_pixels must be at least 0, not -1"):
        Augmentation(cutout_pixels=-1)
