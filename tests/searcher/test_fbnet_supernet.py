"""FBNet's supernet: under one-hot weights it is the chain, and only the chosen layers are computed."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from searcher.errors import BadInputError
from searcher.networks.fbnet import FBNetNetwork
from searcher.networks.supernet import Supernet, SupernetOptions, one_hot
from searcher.networks.supernets import build_supernet
from searcher.spaces.fbnet import FBNet

SPACE = FBNet(image_size=16, classes=3)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def supernet() -> Supernet:
    return build_supernet(SPACE, SupernetOptions(affine=True), torch.Generator().manual_seed(0))


def images() -> Tensor:
    return torch.randn(4, 3, 16, 16, generator=torch.Generator().manual_seed(1))


def test_one_hot_weights_are_the_chain(supernet: Supernet) -> None:
    supernet.eval()
    held = supernet.state_dict()
    random = np.random.default_rng(0)
    for architecture in [SPACE.sample(random) for _ in range(4)]:
        network = FBNetNetwork(SPACE, architecture).eval()
        copied = {}
        for name in network.state_dict():
            layer, _, rest = name.removeprefix("layers.").partition(".")
            chosen = name.startswith("layers.")
            place = f"layers.{layer}.candidates.{architecture.genotype[int(layer)]}.{rest}" if chosen else name
            copied[name] = held[place]
        network.load_state_dict(copied)
        with torch.no_grad():
            found = supernet(images(), one_hot(architecture.genotype, 9))
            assert torch.allclose(found, network(images()), rtol=1e-3, atol=1e-4), SPACE.format(architecture)


def test_only_choices_with_a_weight_are_computed_and_learn(supernet: Supernet) -> None:
    supernet.train()
    weights = torch.zeros(22, 9)
    weights[:, 0] = 0.5
    weights[3, 8] = 0.5
    weights.requires_grad_()
    supernet.zero_grad()
    torch.autograd.backward(supernet(images(), weights).pow(3).sum())

    assert weights.grad is not None
    assert not weights.grad[weights.detach() == 0].any()
    # Where one choice is all of a layer, the next norm hides its weight; where two are mixed, nothing does.
    assert bool((weights.grad[3, [0, 8]] != 0).all())
    learning = {
        name.split(".candidates.")[1].split(".")[0]
        for name, parameter in supernet.named_parameters()
        if ".candidates." in name and parameter.grad is not None
    }
    assert learning == {"0"}  # the skip of layer 3 keeps the shape, and has no weights


def test_a_layer_of_no_choice_gives_zeros(supernet: Supernet) -> None:
    weights = one_hot((0,) * 22, 9)
    weights[10] = 0

    supernet.eval()
    logits = supernet(images(), weights)
    assert torch.equal(logits[0], logits[1])


def test_norms_of_the_choices_are_plain_by_default_and_the_skeleton_scales() -> None:
    supernet = build_supernet(SPACE, SupernetOptions(), torch.Generator().manual_seed(0))

    norms = {name: layer for name, layer in supernet.named_modules() if isinstance(layer, nn.BatchNorm2d)}
    assert len(norms) > 500
    assert all(layer.affine == (".candidates." not in name) for name, layer in norms.items())


def test_a_part_of_the_channels_is_refused() -> None:
    with pytest.raises(BadInputError, match="partial_channels must be 1"):
        build_supernet(SPACE, SupernetOptions(partial_channels=2), torch.Generator().manual_seed(0))
