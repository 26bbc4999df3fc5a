"""Candidates computed and trained together: as each by itself, whatever the mixture, and whoever overflows."""

from __future__ import annotations

import math
import os
from dataclasses import replace
from itertools import islice

import numpy as np
import pytest
import torch
from torch import Tensor

from searcher.errors import BadInputError, SearcherError
from searcher.networks.group_plan import plan_cells
from searcher.networks.grouped import GroupedBatchNorm, GroupedConvolution, GroupedNetwork, apart, side_by_side
from searcher.networks.quick import quick_network
from searcher.networks.resnet import ResNet20
from searcher.search.scores import trained_together
from searcher.search.scores.batch import TrainingBatch, prepare_batch
from searcher.search.scores.batch_training import BF16, RmiSettings, Trajectory
from searcher.search.scores.deterministic import deterministic
from searcher.search.scores.group_training import GroupTraining
from searcher.search.scores.trained_on_batch import TrainedOnBatch
from searcher.search.scores.trained_together import Together, TrainedTogether, measurer_on
from searcher.spaces.architecture import Architecture
from searcher.spaces.computation import ADD, INPUT
from searcher.spaces.nasbench201 import NasBench201
from searcher.training.reference import Reference
from tests.searcher.measurers import made_up_dataset

SMALL = NasBench201(cells_per_stage=1, channels=4, image_size=8)
QUICK = RmiSettings(steps=3, batch_size=6)
ON_CPU = Together("cpu", group=3)
# Sums of sums, a pool that two edges share, an input added to itself, and a chain of three convolutions.
CELLS = (
    "|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|+|skip_connect~0|nor_conv_3x3~1|nor_conv_1x1~2|",
    "|avg_pool_3x3~0|+|avg_pool_3x3~0|skip_connect~1|+|nor_conv_1x1~0|avg_pool_3x3~1|nor_conv_3x3~2|",
    "|skip_connect~0|+|skip_connect~0|none~1|+|none~0|none~1|skip_connect~2|",
    "|nor_conv_1x1~0|+|none~0|nor_conv_3x3~1|+|none~0|none~1|nor_conv_1x1~2|",
    "|skip_connect~0|+|none~0|none~1|+|skip_connect~0|none~1|none~2|",
    "|none~0|+|nor_conv_1x1~0|avg_pool_3x3~1|+|nor_conv_1x1~0|nor_conv_3x3~1|none~2|",
)
BROKEN = "|none~0|+|none~0|nor_conv_3x3~1|+|none~0|nor_conv_3x3~1|nor_conv_3x3~2|"


@pytest.fixture(scope="module")
def batch() -> TrainingBatch:
    return batch_of(8)


pytestmark = pytest.mark.usefixtures("one_thread")


def batch_of(size: int) -> TrainingBatch:
    model = ResNet20(10)
    model.initialise(torch.Generator().manual_seed(2))
    return prepare_batch(Reference(model.eval(), 10.0, "made up", "00"), made_up_dataset(size), 6, seed=0)


def parsed(texts: tuple[str, ...] = CELLS, space: NasBench201 = SMALL) -> list[Architecture]:
    return [space.representative(space.parse(text)) for text in texts]


def drawn(count: int, seed: int) -> list[Architecture]:
    generator = np.random.default_rng(seed)
    cells = (SMALL.representative(SMALL.sample(generator)) for _ in range(10 * count))
    return [cell for cell in cells if SMALL.is_connected(cell)][:count]


def near(one: Trajectory, other: Trajectory, tolerance: float) -> None:
    assert len(one.rmi) == len(other.rmi)
    assert one.rmi == pytest.approx(other.rmi, abs=tolerance)
    assert one.loss == pytest.approx(other.loss, abs=tolerance)


def test_a_plan_computes_each_living_value_once_and_operands_first() -> None:
    cells = [SMALL.operations(SMALL.parse(text)) for text in CELLS]
    plan = plan_cells(cells)
    known = set(plan.inputs)
    for operation, places in plan.steps:
        for candidate, value in places:
            assert value.operation == operation != INPUT
            assert (candidate, value) not in known
            assert all((candidate, operand) in known for operand in value.operands)
            known |= {(candidate, value)} if operation == ADD else set()
        known |= set(places)
    assert set(plan.outputs) <= known
    for candidate, text in enumerate(CELLS):
        counts = dict(SMALL.computation(SMALL.parse(text)).operations)
        found = [value.operation for one, value in known if one == candidate]
        assert {name: found.count(name) for name in counts if name != ADD} == {
            name: count for name, count in counts.items() if name != ADD
        }


def test_a_plan_is_as_long_as_its_deepest_cell_however_many_there_are() -> None:
    cells = [SMALL.operations(cell) for cell in islice(SMALL.architectures(), 400) if SMALL.is_connected(cell)]
    # Of a depth of none to three: a sum, and three operations at each depth but none.
    assert len(plan_cells(cells).steps) <= 4 + 3 * 3
    with pytest.raises(ValueError, match="a disconnected cell"):
        plan_cells([SMALL.operations(SMALL.parse(BROKEN))])


def test_first_weights_are_those_of_the_networks_one_by_one() -> None:
    cells = parsed()
    deep = replace(SMALL, cells_per_stage=2)
    network = GroupedNetwork(deep, cells, seed=5)
    plan = plan_cells([SMALL.operations(cell) for cell in cells])
    singles = [quick_network(deep, cell, 5).state_dict() for cell in cells]
    stacked = network.state_dict()
    for stage, index in ((0, 0), (1, 1), (2, 0)):
        convolutions = [places for operation, places in plan.steps if operation.startswith("nor_conv")]
        for number, places in enumerate(convolutions):
            wanted = torch.cat([singles[g][f"stages.{stage}.{index}.edges.{v.edge}.1.weight"] for g, v in places])
            assert torch.equal(stacked[f"stages.{stage}.{index}.convolutions.{number}.convolution.weight"], wanted)
    for name, single in (
        ("stem.convolution.weight", "stem.0.weight"),
        ("stem.norm.weight", "stem.1.weight"),
        ("reductions.1.first.convolution.weight", "reductions.1.first.1.weight"),
        ("reductions.0.second.convolution.weight", "reductions.0.second.1.weight"),
        ("reductions.0.shortcut.weight", "reductions.0.shortcut.1.weight"),
        ("norm.bias", "head.norm.bias"),
    ):
        assert torch.equal(stacked[name], torch.cat([state[single] for state in singles]))
    assert torch.equal(stacked["head_weight"], torch.stack([state["head.linear.weight"] for state in singles]))
    assert torch.equal(stacked["head_bias"], torch.stack([state["head.linear.bias"] for state in singles]))


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_one_pass_together_is_each_ones_own(layout: torch.memory_format, batch: TrainingBatch) -> None:
    cells = parsed()
    network = GroupedNetwork(SMALL, cells, seed=0).to(memory_format=layout)  # type: ignore[call-overload]
    features, logits = network(batch.images.contiguous(memory_format=layout))
    assert logits.shape == (len(cells), 6, 10)
    for number, cell in enumerate(cells):
        own, own_logits = quick_network(SMALL, cell, 0).forward_with_features(batch.images)
        assert torch.allclose(logits[number], own_logits, atol=1e-4)
        for together, alone in zip(features, own, strict=True):
            assert together[number].shape == alone.shape
            assert torch.allclose(together[number], alone, atol=1e-4)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_joining_and_parting_are_each_others_inverse(layout: torch.memory_format) -> None:
    joined = torch.arange(2 * 12 * 3 * 3).reshape(2, 12, 3, 3).contiguous(memory_format=layout)
    parts = apart(joined, 3)
    assert torch.equal(parts[1], joined[:, 4:8])
    again = side_by_side([parts[2], parts[0], parts[1]])
    assert again.is_contiguous(memory_format=layout)
    assert torch.equal(again, torch.cat([joined[:, 8:], joined[:, :8]], dim=1))


@pytest.mark.parametrize(("seed", "count", "group"), [(0, 7, 4), (1, 5, 20), (2, 2, 1)])
def test_trained_together_is_trained_one_by_one(seed: int, count: int, group: int, batch: TrainingBatch) -> None:
    cells = drawn(count, seed)
    together = TrainedTogether(SMALL, batch, QUICK, Together("cpu", group)).trajectories(cells)
    for one, other in zip(together, TrainedOnBatch(SMALL, batch, QUICK, 1).trajectories(cells), strict=True):
        near(one, other, 1e-4)
        assert one.steps == QUICK.steps
        assert one.rmi[0] != one.rmi[-1]


@pytest.mark.parametrize("channels_last", [False, True])
def test_at_the_width_of_the_benchmark_too(channels_last: bool) -> None:
    space = NasBench201(cells_per_stage=1, image_size=16)
    images = batch_of(16)
    cells = parsed(CELLS[:3], space)
    settings = replace(QUICK, momentum=0.0, beta=0.5)
    together = TrainedTogether(space, images, settings, Together("cpu", channels_last=channels_last))
    for one, other in zip(
        together.trajectories(cells), TrainedOnBatch(space, images, settings, 1).trajectories(cells), strict=True
    ):
        near(one, other, 1e-4)


def test_equal_calls_and_orders_and_cells_have_equal_answers(batch: TrainingBatch) -> None:
    cells = parsed()
    measurer = TrainedTogether(SMALL, batch, QUICK, ON_CPU)
    first = measurer.measure(cells)
    assert measurer.measure(cells) == first
    assert measurer.measure(cells[::-1]) == first[::-1]
    assert measurer.measure([cells[0], *cells]) == [first[0], *first]
    assert measurer.measure([]) == []
    assert all(set(answer.values) == set(measurer.names) for answer in first)
    alone = [measurer.measure([cell])[0] for cell in cells]
    for one, other in zip(first, alone, strict=True):
        assert one.values == pytest.approx(dict(other.values), abs=1e-3)


def test_bf16_stays_near_fp32(batch: TrainingBatch) -> None:
    cells = parsed()
    exact = TrainedTogether(SMALL, batch, QUICK, ON_CPU).trajectories(cells)
    rounded = TrainedTogether(SMALL, batch, replace(QUICK, precision=BF16), ON_CPU).trajectories(cells)
    assert rounded != exact
    for one, other in zip(rounded, exact, strict=True):
        # Before the first step alone: a training makes much of what rounding does.
        assert one.rmi[0] == pytest.approx(other.rmi[0], abs=0.05)
        assert one.finite


def test_who_overflows_leaves_the_others_alone(batch: TrainingBatch) -> None:
    """One candidate's weights are infinite from the second step on: its trajectory ends, the others' are as before."""
    cells = parsed()
    quiet = GroupTraining(GroupedNetwork(SMALL, cells, 0), batch, QUICK).train()
    network = GroupedNetwork(SMALL, cells, 0)
    with torch.no_grad():
        network.stem.convolution.weight[4:8] = math.inf  # those of the second candidate
    disturbed = GroupTraining(network, batch, QUICK).train()
    assert not disturbed[1].finite
    assert disturbed[1].steps == 0
    assert [one for index, one in enumerate(disturbed) if index != 1] == [
        one for index, one in enumerate(quiet) if index != 1
    ]


def test_groups_keep_what_is_not_a_number_to_themselves() -> None:
    """Forward and backward of the layers that all candidates go through, with NaN in one group's input and weights."""
    convolution = GroupedConvolution([torch.nn.Conv2d(4, 4, 3, padding=1, bias=False) for _ in range(3)])
    norm = GroupedBatchNorm([torch.nn.BatchNorm2d(4) for _ in range(3)])
    inputs = torch.randn(2, 12, 5, 5, generator=torch.Generator().manual_seed(0))
    inputs[:, 4:8] = math.nan
    inputs.requires_grad_()
    result: Tensor = norm(convolution(inputs))
    torch.autograd.backward(result.square().mean(dim=(0, 2, 3))[[0, 3, 8, 11]].sum() + 0 * result[:, 4:8].sum())
    for values in (result, inputs.grad):
        assert values is not None
        assert values[:, 4:8].isnan().all()
        assert values[:, :4].isfinite().all()
        assert values[:, 8:].isfinite().all()
    for parameter in (convolution.weight, norm.weight):
        assert parameter.grad is not None
        assert parameter.grad[4:8].isnan().any()
        assert parameter.grad[:4].isfinite().all()
        assert parameter.grad[8:].isfinite().all()


def test_who_diverged_in_company_is_trained_again_alone(batch: TrainingBatch, monkeypatch: pytest.MonkeyPatch) -> None:
    cells = parsed()[:3]
    measurer = TrainedTogether(SMALL, batch, QUICK, ON_CPU)
    wanted = measurer.trajectories(cells)
    sizes = []

    class Leaky(GroupTraining):
        """A library whose groups are not kept apart: in company, nothing is finite."""

        def train(self, capture: bool = False) -> list[Trajectory]:
            went = super().train(capture)
            sizes.append(len(went))
            return went if len(went) == 1 else [Trajectory((math.nan,), (math.nan,))] * len(went)

    monkeypatch.setattr(trained_together, "GroupTraining", Leaky)
    for one, other in zip(measurer.trajectories(cells), wanted, strict=True):
        near(one, other, 1e-4)
    assert sizes == [3, 1, 1, 1]


def test_a_training_that_diverges_has_a_problem(batch: TrainingBatch) -> None:
    measurer = TrainedTogether(SMALL, batch, replace(QUICK, steps=12, learning_rate=1e9), ON_CPU)
    found = measurer.measure(parsed()[:2])
    assert all("with the learning rate 1e+09" in (one.problem or "") for one in found)
    assert not any(one.values for one in found)


def test_undone_steps_leave_nothing_behind(batch: TrainingBatch) -> None:
    """What a capture does first must not be seen in the training."""
    cells = parsed()
    plain = GroupTraining(GroupedNetwork(SMALL, cells, 0), batch, QUICK).train()
    warmed = GroupTraining(GroupedNetwork(SMALL, cells, 0), batch, QUICK)
    warmed.warm_up()
    assert warmed.train() == plain


def test_torchs_settings_are_as_before_afterwards(batch: TrainingBatch, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    before = torch.get_float32_matmul_precision(), torch.backends.cudnn.deterministic
    with deterministic():
        assert torch.are_deterministic_algorithms_enabled()
        assert torch.backends.cudnn.deterministic
        assert torch.get_float32_matmul_precision() == "highest"
        assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"
    assert not torch.are_deterministic_algorithms_enabled()
    assert (torch.get_float32_matmul_precision(), torch.backends.cudnn.deterministic) == before
    assert "CUBLAS_WORKSPACE_CONFIG" not in os.environ


def test_the_identity_tells_group_layout_and_device(batch: TrainingBatch) -> None:
    told = [
        TrainedTogether(SMALL, batch, QUICK, together).identity
        for together in (ON_CPU, Together("cpu", 4), Together("cpu", 3, channels_last=False))
    ]
    assert told[0]["device"] == "cpu"
    assert told[0]["torch"] == torch.__version__
    assert len({str(one) for one in told}) == 3
    assert told[0] == TrainedTogether(SMALL, batch, QUICK, replace(ON_CPU, capture=False)).identity
    assert told[0] != TrainedOnBatch(SMALL, batch, QUICK, 1).identity


def test_a_memory_that_is_too_small_is_one_sentence(batch: TrainingBatch, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(training: GroupTraining, capture: bool = False) -> list[Trajectory]:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(GroupTraining, "train", full)
    with pytest.raises(SearcherError, match="the memory of cpu does not hold 3 candidates: train fewer together"):
        TrainedTogether(SMALL, batch, QUICK, ON_CPU).measure(parsed()[:3])


@pytest.mark.parametrize(
    ("device", "reason"),
    [("gpu", "torch knows no device 'gpu'"), ("meta", "not on 'meta'"), ("cuda:99", "no device 'cuda:99' here")],
)
def test_devices_that_are_not_there_are_refused(device: str, reason: str, batch: TrainingBatch) -> None:
    with pytest.raises(BadInputError, match=reason):
        measurer_on(device, SMALL, batch, QUICK, 1)


def test_other_wrong_use_is_refused(batch: TrainingBatch) -> None:
    with pytest.raises(BadInputError, match="0 at a time"):
        Together("cpu", group=0)
    with pytest.raises(BadInputError, match="the space has 7 classes, the data set 10"):
        TrainedTogether(replace(SMALL, classes=7), batch, QUICK, ON_CPU)
    for cells in ([], [SMALL.parse(BROKEN)]):
        with pytest.raises(BadInputError, match="Only connected architectures"):
            GroupedNetwork(SMALL, cells, 0)


def test_a_cpu_trains_one_network_a_thread(batch: TrainingBatch) -> None:
    assert isinstance(measurer_on("cpu", SMALL, batch, QUICK, 2), TrainedOnBatch)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU that torch can compute on")
@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("precision", ["fp32", BF16])
def test_a_gpu_gives_the_same_again_captured_or_not(precision: str, channels_last: bool, batch: TrainingBatch) -> None:
    cells, settings = parsed(), replace(QUICK, precision=precision)
    captured, plain = (
        TrainedTogether(SMALL, batch, settings, Together("cuda", 20, channels_last, capture)).trajectories(cells)
        for capture in (True, False)
    )
    again = TrainedTogether(SMALL, batch, settings, Together("cuda", 20, channels_last)).trajectories(cells)
    assert captured == plain == again
    for one, other in zip(captured, TrainedOnBatch(SMALL, batch, settings, 1).trajectories(cells), strict=True):
        near(one, other, 1e-3 if precision == "fp32" else 0.2)
