"""The networks from outside: the parameters of the papers, seeds, and values of an ordinary size."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

from searcher.networks.classic import mobilenet_v2, resnet18


@pytest.mark.parametrize(
    ("build", "parameters"),
    [(mobilenet_v2, 3_504_872), (lambda: mobilenet_v2(width=0.5), 1_968_680), (resnet18, 11_689_512)],
)
def test_parameters_are_those_of_the_published_networks(build: Callable[[], nn.Module], parameters: int) -> None:
    assert sum(one.numel() for one in build().parameters()) == parameters


@pytest.mark.parametrize("build", [mobilenet_v2, resnet18])
def test_one_seed_is_one_network_whose_values_keep_their_size(build: Callable[..., nn.Module]) -> None:
    images = torch.randn((1, 3, 64, 64), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        first, same, other = (build(classes=10, seed=seed)(images) for seed in (0, 0, 1))
    assert first.shape == (1, 10)
    assert torch.equal(first, same)
    assert not torch.equal(first, other)
    assert 0.01 < float(first.std()) < 100
