"""Zero-cost proxies against their definitions written out, and against true accuracy."""

from __future__ import annotations

import csv
import gzip
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from searcher.cost_models.agreement import kendall_tau
from searcher.errors import BadInputError
from searcher.networks.blocks import initialise
from searcher.networks.nasbench201 import NasBench201Network
from searcher.search.scores.zero_cost import ZeroCost, ZeroCostSettings, naswot, synflow
from searcher.spaces.nasbench201 import NasBench201
from searcher.training.datasets import load_dataset
from tests.searcher.measurers import made_up_dataset

SMALL = NasBench201(cells_per_stage=1, channels=4, image_size=8)
CELL = "|nor_conv_3x3~0|+|none~0|skip_connect~1|+|avg_pool_3x3~0|none~1|nor_conv_1x1~2|"
DEAD = "|none~0|+|none~0|none~1|+|none~0|none~1|none~2|"


pytestmark = pytest.mark.usefixtures("one_thread")


def network(text: str, space: NasBench201 = SMALL, seed: int = 0) -> NasBench201Network:
    made = NasBench201Network(space, space.parse(text))
    initialise(made, torch.Generator().manual_seed(seed))
    return made


def layers_of(module: nn.Module) -> list[nn.Conv2d | nn.Linear]:
    return [layer for layer in module.modules() if isinstance(layer, nn.Conv2d | nn.Linear)]


def test_synflow_is_what_its_paper_defines() -> None:
    """Without batch norms: eval mode with a variance of 1 - ε leaves them out as well, to the last digits."""
    plain = network(CELL).double().eval()
    for layer in plain.modules():
        if isinstance(layer, nn.BatchNorm2d):
            assert layer.running_var is not None
            layer.running_var.fill_(1 - layer.eps)
    for parameter in plain.parameters():
        parameter.data.abs_()
    total = plain(torch.ones(SMALL.image_shape, dtype=torch.float64)).sum()
    total.backward()
    flows = [(one.weight * one.weight.grad).sum().detach() for one in layers_of(plain) if one.weight.grad is not None]
    expected = math.log(torch.stack(flows).sum().item())
    assert synflow(network(CELL), SMALL.image_shape) == pytest.approx(expected, rel=1e-9)


def test_synflow_does_not_overflow() -> None:
    full = "|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|+|nor_conv_3x3~0|nor_conv_3x3~1|nor_conv_3x3~2|"
    plain, large = network(full), network(full)
    for layer in layers_of(large):
        layer.weight.data.mul_(1e30)
    # The flow is nearly all on the longest road: the stem, three convolutions in each cell, two in each reduction, the
    # head.
    difference = synflow(large, SMALL.image_shape) - synflow(plain, SMALL.image_shape)
    assert synflow(large, SMALL.image_shape) > math.log(torch.finfo(torch.float64).max)
    assert difference == pytest.approx(15 * math.log(1e30), rel=1e-3)


def test_scaling_the_weights_of_the_stem_scales_the_flow() -> None:
    before, after = network(CELL), network(CELL)
    layers_of(after)[0].weight.data.mul_(-3)
    difference = synflow(after, SMALL.image_shape) - synflow(before, SMALL.image_shape)
    assert difference == pytest.approx(math.log(3), rel=1e-6)


def test_naswot_is_what_its_paper_defines() -> None:
    """Hamming distances of whole codes, unit by unit; the code of a network is that of all its ReLUs' inputs."""
    images = made_up_dataset(8).train_images[:5]
    watched = network(CELL)
    codes: list[torch.Tensor] = []
    for module in watched.modules():
        if isinstance(module, nn.ReLU):
            module.register_forward_hook(lambda _module, _inputs, output: codes.append(output.flatten(1) > 0))
    codes.append(watched.train().features(images)[-1].flatten(1) > 0)
    code = torch.cat(codes, dim=1)
    kernel = [[code.shape[1] - int((one != other).sum()) for other in code] for one in code]
    _, expected = np.linalg.slogdet(np.array(kernel, np.float64))
    assert naswot(network(CELL), images) == pytest.approx(float(expected), rel=1e-12)


def test_images_that_no_relu_tells_apart_have_no_number() -> None:
    images = made_up_dataset(8).train_images[:1].repeat(3, 1, 1, 1)
    assert naswot(network(CELL), images) == -math.inf


def test_a_network_stays_as_it_was() -> None:
    looked_at = network(CELL)
    before = {name: value.clone() for name, value in looked_at.state_dict().items()}
    synflow(looked_at, SMALL.image_shape)
    naswot(looked_at, made_up_dataset(8).train_images[:4])
    after = looked_at.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(value, after[name]) for name, value in before.items())
    assert all(parameter.grad is None for parameter in looked_at.parameters())


def test_a_disconnected_cell_has_a_problem_and_no_number() -> None:
    (answer,) = ZeroCost(SMALL, made_up_dataset(8), ZeroCostSettings(4)).measure([SMALL.parse(DEAD)])
    assert answer.values == {}
    assert answer.problem == "its synflow is not a finite number"


def test_the_global_generator_plays_no_part() -> None:
    cell = [SMALL.parse(CELL)]
    first = ZeroCost(SMALL, made_up_dataset(8), ZeroCostSettings(4)).measure(cell)
    torch.manual_seed(99)
    assert ZeroCost(SMALL, made_up_dataset(8), ZeroCostSettings(4)).measure(cell) == first
    assert ZeroCost(SMALL, made_up_dataset(8), ZeroCostSettings(4, seed=5)).measure(cell) != first


@pytest.mark.parametrize("wrong", [{"batch_size": 1}, {"seed": -1}, {"seed": 2**63}])
def test_settings_out_of_range_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(BadInputError):
        ZeroCostSettings(**wrong)


def test_data_that_does_not_fit_is_refused() -> None:
    with pytest.raises(BadInputError, match="has 160 training images, fewer than a batch of 161"):
        ZeroCost(SMALL, made_up_dataset(8), ZeroCostSettings(161))
    with pytest.raises(BadInputError, match=r"images of \(3, 32, 32\), not of \(3, 8, 8\)"):
        ZeroCost(SMALL, made_up_dataset(32), ZeroCostSettings())


def test_proxies_go_with_true_accuracy(data_file: Callable[[str], Path]) -> None:
    """Published correlations of both are near 0.6; twenty cells leave room for chance."""
    with gzip.open(data_file("nasbench201_accuracy.csv.gz"), "rt") as file:
        accuracies = {row["architecture"]: float(row["cifar10_test_200"]) for row in csv.DictReader(file)}
    space, generator = NasBench201(cells_per_stage=1), np.random.default_rng(3)
    cells = [one for one in (space.sample(generator) for _ in range(24)) if space.is_connected(one)][:20]
    dataset = load_dataset(f"cifar10:{data_file('cifar10_subset.npz')}")
    answers = ZeroCost(space, dataset, ZeroCostSettings(batch_size=16)).measure(cells)
    truth = np.array([accuracies[space.format(one)] for one in cells])
    for name in ("synflow", "naswot"):
        tau = kendall_tau(np.array([answer.values[name] for answer in answers]), truth)
        assert tau is not None
        assert tau > 0.3
