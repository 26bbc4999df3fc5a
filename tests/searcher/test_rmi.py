"""The RMI score on a small data set: faithful to the formula, a pure function of the score key, seeded."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch

from searcher.errors import BadInputError
from searcher.networks.blocks import initialise
from searcher.networks.nasbench201 import NasBench201Network
from searcher.networks.resnet import ResNet20
from searcher.search.scores.cka import centred_gram, representation_mutual_information
from searcher.search.scores.rmi import RmiScorer, RmiSettings, TrainingDivergedError, easiest_batch
from searcher.spaces.nasbench201 import NasBench201
from searcher.training.datasets import ImageDataset
from searcher.training.reference import Reference

SPACE = NasBench201(cells_per_stage=1)
QUICK = RmiSettings(steps=3, batch_size=8)
CELL = "|nor_conv_3x3~0|+|none~0|skip_connect~1|+|avg_pool_3x3~0|none~1|nor_conv_1x1~2|"


@pytest.fixture(scope="module")
def dataset() -> ImageDataset:
    generator = torch.Generator().manual_seed(1)
    images, labels = torch.randn(200, 3, 32, 32, generator=generator), torch.arange(200) % 10
    names = tuple(str(number) for number in range(10))
    return ImageDataset("made-up", images[:160], labels[:160], images[160:], labels[160:], names)


@pytest.fixture(scope="module")
def reference() -> Reference:
    model = ResNet20(10)
    model.initialise(torch.Generator().manual_seed(2))
    return Reference(model.eval(), 10.0, "made up", "00")


def test_the_same_seed_gives_the_same_score(dataset: ImageDataset, reference: Reference) -> None:
    architecture = SPACE.parse(CELL)
    first = RmiScorer(SPACE, reference, dataset, QUICK).score(architecture)
    torch.manual_seed(99)  # the global generator must play no part
    assert RmiScorer(SPACE, reference, dataset, QUICK).score(architecture) == first
    assert RmiScorer(SPACE, reference, dataset, replace(QUICK, seed=1)).score(architecture) != first
    assert 0 < first.rmi <= 3


def test_cells_of_one_score_key_have_one_score(dataset: ImageDataset, reference: Reference) -> None:
    twin = SPACE.parse(CELL)
    keys: dict[str, list[int]] = {}
    architectures = list(SPACE.architectures())
    for index, architecture in enumerate(architectures):
        keys.setdefault(SPACE.score_key(architecture), []).append(index)
    twins = [architectures[index] for index in keys[SPACE.score_key(twin)]]
    assert len(twins) > 1
    scorer = RmiScorer(SPACE, reference, dataset, QUICK)
    assert len({scorer.score(one) for one in twins[:3]}) == 1


def test_a_disconnected_cell_is_worth_nothing_and_not_trained(dataset: ImageDataset, reference: Reference) -> None:
    nothing = SPACE.parse("|none~0|+|none~0|none~1|+|none~0|none~1|none~2|")
    score = RmiScorer(SPACE, reference, dataset, RmiSettings(steps=10**9, batch_size=8)).score(nothing)
    assert score.rmi == 0


def test_a_training_that_diverges_is_no_score(dataset: ImageDataset, reference: Reference) -> None:
    settings = replace(QUICK, steps=40, learning_rate=1e6)
    with pytest.raises(TrainingDivergedError, match=r"diverged after \d+ steps with the learning rate 1e\+06"):
        RmiScorer(SPACE, reference, dataset, settings).score(SPACE.parse(CELL))


def test_training_follows_the_formula(dataset: ImageDataset, reference: Reference) -> None:
    """One step of plain SGD on β·(L - φ) + (1 - β)·cross-entropy, written out."""
    settings = RmiSettings(steps=1, batch_size=8, momentum=0.0, weight_decay=0.0, learning_rate=0.05)
    architecture = SPACE.representative(SPACE.parse(CELL))
    scorer = RmiScorer(SPACE, reference, dataset, settings)
    images, labels = easiest_batch(reference, dataset, 8, torch.Generator().manual_seed(settings.seed))
    network = NasBench201Network(SPACE, architecture)
    initialise(network, torch.Generator().manual_seed(scorer.weights_seed(architecture)))
    network.train()
    with torch.no_grad():
        grams = [centred_gram(feature) for feature in reference.model.features(images)]
    features, logits = network.forward_with_features(images)
    rmi = representation_mutual_information(grams, features)
    loss = 0.8 * (3 - rmi) + 0.2 * torch.nn.functional.cross_entropy(logits, labels)
    loss.backward()  # type: ignore[no-untyped-call]
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.grad is not None:
                parameter.sub_(0.05 * parameter.grad)
        features, _ = network.forward_with_features(images)
    expected = float(representation_mutual_information(grams, features))
    assert scorer.score(architecture).rmi == pytest.approx(expected, abs=1e-3)


def test_training_raises_the_score(dataset: ImageDataset, reference: Reference) -> None:
    architecture = SPACE.parse(CELL)
    barely = RmiScorer(SPACE, reference, dataset, replace(QUICK, steps=1)).score(architecture)
    longer = RmiScorer(SPACE, reference, dataset, replace(QUICK, steps=25)).score(architecture)
    assert longer.rmi > barely.rmi
    assert longer.loss < barely.loss


def test_the_easiest_images_are_kept(dataset: ImageDataset, reference: Reference) -> None:
    images, labels = easiest_batch(reference, dataset, 5, torch.Generator().manual_seed(0))
    with torch.no_grad():
        kept = torch.nn.functional.cross_entropy(reference.model(images), labels, reduction="none")
        drawn = torch.randperm(160, generator=torch.Generator().manual_seed(0))[:80]
        logits = reference.model(dataset.train_images[drawn])
        losses = torch.nn.functional.cross_entropy(logits, dataset.train_labels[drawn], reduction="none")
    assert torch.allclose(kept.sort().values, losses.sort().values[:5], atol=1e-4)


def test_a_batch_larger_than_the_data_is_refused(dataset: ImageDataset, reference: Reference) -> None:
    with pytest.raises(BadInputError, match="fewer than a batch"):
        easiest_batch(reference, dataset, 1000, torch.Generator())


def test_other_classes_are_refused(dataset: ImageDataset, reference: Reference) -> None:
    with pytest.raises(BadInputError, match="the space has 7 classes, the data set 10"):
        RmiScorer(NasBench201(classes=7), reference, dataset, QUICK)


@pytest.mark.parametrize(
    "settings",
    [
        {"steps": 0},
        {"batch_size": 1},
        {"beta": 1.5},
        {"learning_rate": 0.0},
        {"learning_rate": math.nan},
        {"momentum": 1.0},
        {"weight_decay": -1.0},
        {"seed": -1},
        {"seed": 2**63},
    ],
)
def test_settings_that_train_nothing_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(BadInputError):
        RmiSettings(**settings)
