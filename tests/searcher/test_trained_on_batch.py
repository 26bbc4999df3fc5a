"""Short trainings on one batch: faithful to the formula, a pure function of the score key, however many at once."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch

from searcher.errors import BadInputError
from searcher.networks.quick import PoolByConvolution, quick_network
from searcher.networks.resnet import ResNet20
from searcher.search.scores.batch import TrainingBatch, easiest_batch, prepare_batch
from searcher.search.scores.batch_training import BF16, RmiSettings, Training, Trajectory
from searcher.search.scores.cka import representation_mutual_information
from searcher.search.scores.trained_on_batch import TrainedOnBatch, quickest_precision
from searcher.spaces.architecture import Architecture
from searcher.spaces.nasbench201 import NasBench201
from searcher.training.datasets import ImageDataset
from searcher.training.reference import Reference
from tests.searcher.measurers import made_up_dataset

SPACE = NasBench201(cells_per_stage=1)
QUICK = RmiSettings(steps=3, batch_size=8)
CELL = "|nor_conv_3x3~0|+|none~0|skip_connect~1|+|avg_pool_3x3~0|none~1|nor_conv_1x1~2|"
OTHERS = (
    "|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|+|skip_connect~0|nor_conv_3x3~1|nor_conv_1x1~2|",
    "|avg_pool_3x3~0|+|nor_conv_1x1~0|skip_connect~1|+|none~0|avg_pool_3x3~1|nor_conv_3x3~2|",
    "|skip_connect~0|+|none~0|none~1|+|nor_conv_1x1~0|none~1|none~2|",
)


@pytest.fixture(scope="module")
def dataset() -> ImageDataset:
    return made_up_dataset(32)


@pytest.fixture(scope="module")
def reference() -> Reference:
    model = ResNet20(10)
    model.initialise(torch.Generator().manual_seed(2))
    return Reference(model.eval(), 10.0, "made up", "00")


@pytest.fixture(scope="module")
def batch(dataset: ImageDataset, reference: Reference) -> TrainingBatch:
    return prepare_batch(reference, dataset, 8, seed=0)


pytestmark = pytest.mark.usefixtures("one_thread")


def trajectory(batch: TrainingBatch, settings: RmiSettings, text: str = CELL) -> Trajectory:
    return next(TrainedOnBatch(SPACE, batch, settings, 1).trajectories([SPACE.parse(text)]))


def test_the_same_seed_gives_the_same_training(batch: TrainingBatch) -> None:
    first = trajectory(batch, QUICK)
    torch.manual_seed(99)  # the global generator must play no part
    assert trajectory(batch, QUICK) == first
    assert trajectory(batch, replace(QUICK, seed=1)) != first
    assert len(first.rmi) == len(first.loss) == QUICK.steps + 1 == first.steps + 1
    assert all(0 < one <= 3 for one in first.rmi)


def test_threads_and_company_change_nothing(batch: TrainingBatch) -> None:
    cells = [SPACE.parse(text) for text in (CELL, *OTHERS)]
    together = TrainedOnBatch(SPACE, batch, QUICK, 3).measure(cells)
    alone = [TrainedOnBatch(SPACE, batch, QUICK, 1).measure([cell])[0] for cell in cells]
    assert together == alone
    assert len({one.values["rmi"] for one in together}) == len(cells)
    assert torch.get_num_threads() == 1


def test_values_are_of_the_last_step(batch: TrainingBatch) -> None:
    went = trajectory(batch, QUICK)
    (found,) = TrainedOnBatch(SPACE, batch, QUICK, 1).measure([SPACE.parse(CELL)])
    assert found.values == {"rmi": went.rmi[-1], "loss": went.loss[-1]}


def test_a_training_that_goes_on_is_the_longer_one(batch: TrainingBatch) -> None:
    cells = [SPACE.representative(SPACE.parse(text)) for text in (CELL, *OTHERS)]
    begun: dict[Architecture, Training] = {}
    low, high = (TrainedOnBatch(SPACE, batch, replace(QUICK, steps=steps), 2, begun) for steps in (1, 3))
    assert low.measure(cells) == TrainedOnBatch(SPACE, batch, replace(QUICK, steps=1), 1).measure(cells)
    begun_networks = set(map(id, begun.values()))
    assert high.measure(cells[:2]) == TrainedOnBatch(SPACE, batch, QUICK, 1).measure(cells[:2])
    assert set(map(id, begun.values())) == begun_networks  # none was begun anew
    assert sorted(training.steps for training in begun.values()) == [1, 1, 3, 3]
    low.measure(cells[3:])
    assert [training.steps for training in begun.values()] == [1]  # nobody goes on with those of another generation


def test_cells_that_compute_the_same_have_one_score(batch: TrainingBatch) -> None:
    plain = SPACE.parse("|nor_conv_3x3~0|+|none~0|none~1|+|skip_connect~0|skip_connect~1|none~2|")
    of_zeros = SPACE.parse("|nor_conv_3x3~0|+|none~0|none~1|+|skip_connect~0|skip_connect~1|nor_conv_1x1~2|")
    assert SPACE.score_key(plain) != SPACE.score_key(of_zeros)
    one, other = TrainedOnBatch(SPACE, batch, QUICK, 1).measure([plain, of_zeros])
    assert one == other


def test_a_training_that_diverges_has_a_problem(batch: TrainingBatch) -> None:
    settings = replace(QUICK, steps=40, learning_rate=1e6)
    (found,) = TrainedOnBatch(SPACE, batch, settings, 1).measure([SPACE.parse(CELL)])
    assert not found.values
    assert found.problem is not None
    assert "diverged after" in found.problem
    assert found.problem.endswith("with the learning rate 1e+06")


def test_training_follows_the_formula(batch: TrainingBatch) -> None:
    """One step of plain SGD on β·(L - φ) + (1 - β)·cross-entropy, written out."""
    settings = RmiSettings(steps=1, batch_size=8, momentum=0.0, weight_decay=0.0, learning_rate=0.05)
    network = quick_network(SPACE, SPACE.representative(SPACE.parse(CELL)), settings.seed)
    features, logits = network.forward_with_features(batch.images)
    rmi = representation_mutual_information(batch.reference_grams, features)
    loss = 0.8 * (3 - rmi) + 0.2 * torch.nn.functional.cross_entropy(logits, batch.labels)
    torch.autograd.backward(loss)
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.grad is not None:
                parameter.sub_(0.05 * parameter.grad)
        features, _ = network.forward_with_features(batch.images)
    after = float(representation_mutual_information(batch.reference_grams, features))
    went = trajectory(batch, settings)
    assert went.loss[0] == pytest.approx(loss.item(), abs=1e-5)
    assert went.rmi[0] == pytest.approx(rmi.item(), abs=1e-5)
    assert went.rmi[1] == pytest.approx(after, abs=1e-3)


def test_training_raises_the_score(batch: TrainingBatch) -> None:
    went = trajectory(batch, replace(QUICK, steps=25))
    assert went.rmi[-1] > went.rmi[1]
    assert went.loss[-1] < went.loss[1]


def test_bf16_stays_near_fp32(batch: TrainingBatch) -> None:
    exact, rounded = trajectory(batch, QUICK), trajectory(batch, replace(QUICK, precision=BF16))
    assert rounded.rmi != exact.rmi
    assert rounded.rmi == pytest.approx(exact.rmi, abs=0.1)
    assert quickest_precision() in ("fp32", BF16)


def test_quick_networks_compute_what_plain_ones_do(batch: TrainingBatch) -> None:
    """A pool as a convolution is the pool of torch, border and gradient included."""
    pool, plain = PoolByConvolution(4, 8), torch.nn.AvgPool2d(3, 1, 1, count_include_pad=False)
    inputs = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    one, other = inputs.clone().requires_grad_(), inputs.clone().requires_grad_()
    assert torch.allclose(pool(one), plain(other), atol=1e-6)
    pool(one).square().sum().backward()
    plain(other).square().sum().backward()
    assert one.grad is not None
    assert other.grad is not None
    assert torch.allclose(one.grad, other.grad, atol=1e-5)
    network = quick_network(SPACE, SPACE.parse(OTHERS[1]), 0)
    assert sum(isinstance(module, PoolByConvolution) for module in network.modules()) >= 3
    assert not any(isinstance(module, torch.nn.AvgPool2d) and module.stride == 1 for module in network.modules())


def test_equal_operations_begin_with_equal_weights() -> None:
    one, other = (quick_network(SPACE, SPACE.parse(text), 5).state_dict() for text in OTHERS[:2])
    shared = [name for name in one.keys() & other.keys() if one[name].shape == other[name].shape]
    assert any("edges" in name for name in shared)
    assert all(torch.equal(one[name], other[name]) for name in shared)
    again = quick_network(SPACE, SPACE.parse(OTHERS[0]), 6).state_dict()
    assert not torch.equal(again["stem.0.weight"], one["stem.0.weight"])


def test_the_easiest_images_are_kept(dataset: ImageDataset, reference: Reference) -> None:
    count = len(dataset.train_labels)
    images, labels = easiest_batch(reference, dataset, 2, torch.Generator().manual_seed(0))
    with torch.no_grad():
        kept = torch.nn.functional.cross_entropy(reference.model(images), labels, reduction="none")
        drawn = torch.randperm(count, generator=torch.Generator().manual_seed(0))[:32]
        logits = reference.model(dataset.train_images[drawn])
        losses = torch.nn.functional.cross_entropy(logits, dataset.train_labels[drawn], reduction="none")
    assert torch.allclose(kept.sort().values, losses.sort().values[:2], atol=1e-4)


def test_a_batch_larger_than_the_data_is_refused(dataset: ImageDataset, reference: Reference) -> None:
    with pytest.raises(BadInputError, match="fewer than a batch"):
        prepare_batch(reference, dataset, 1000, seed=0)


def test_other_classes_are_refused(batch: TrainingBatch) -> None:
    with pytest.raises(BadInputError, match="the space has 7 classes, the data set 10"):
        TrainedOnBatch(NasBench201(classes=7), batch, QUICK, 1)


def test_no_threads_are_refused(batch: TrainingBatch) -> None:
    with pytest.raises(BadInputError, match="on 0 threads"):
        TrainedOnBatch(SPACE, batch, QUICK, 0)


def test_a_training_ends_where_it_overflows(batch: TrainingBatch) -> None:
    network = quick_network(SPACE, SPACE.parse(CELL), 0)
    with torch.no_grad():
        network.head.linear.weight.fill_(math.inf)
    went = Training(network, batch, QUICK).go_on(QUICK.steps)
    assert went.steps == 0
    assert not went.finite


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
        {"precision": "fp64"},
    ],
)
def test_settings_that_train_nothing_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(BadInputError):
        RmiSettings(**settings)
