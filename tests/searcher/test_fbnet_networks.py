"""Torch modules of FBNet: they compute what the blocks say, and hold the parameters that the space counts."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from searcher.errors import BadInputError
from searcher.export.recipe import set_weights
from searcher.networks.blocks import build_block
from searcher.networks.fbnet import FBNetNetwork
from searcher.networks.mobile import ChannelShuffle
from searcher.networks.network import build_network
from searcher.spaces.architecture import Architecture
from searcher.spaces.block import BlockSpec
from searcher.spaces.counts import block_macs, block_parameters
from searcher.spaces.fbnet import FBNet
from searcher.spaces.fbnet_layers import CHOICES, LAYERS
from searcher.spaces.nasbench201 import NasBench201

SPACE, TINY = FBNet(), FBNet(image_size=8, classes=3)
MBCONV = BlockSpec("mbconv", ((1, 8, 6, 6),), 8, 3, 1, 1, activation="relu", hidden_channels=24)
VARIANTS = (
    MBCONV,
    replace(MBCONV, stride=2),
    replace(MBCONV, output_channels=12),
    replace(MBCONV, kernel=5, padding=2, groups=2),
    replace(MBCONV, hidden_channels=8, groups=4, stride=2, output_channels=12),
)


def images_of(spec: BlockSpec, count: int = 2) -> Tensor:
    return torch.randn(count, *spec.input_shapes[0][1:], generator=torch.Generator().manual_seed(1))


def naive_mbconv(module: nn.Module, spec: BlockSpec, inputs: Tensor) -> Tensor:
    """Compute an inverted residual from the module's numbers alone, group by group and channel by channel."""
    layers = list(module.modules())
    convolutions = [layer for layer in layers if isinstance(layer, nn.Conv2d)]
    norms = [layer for layer in layers if isinstance(layer, nn.BatchNorm2d)]

    def pointwise(place: int, values: Tensor) -> Tensor:
        parts = zip(values.chunk(spec.groups, dim=1), convolutions[place].weight.chunk(spec.groups), strict=True)
        convolved = torch.cat([torch.einsum("nchw,oc->nohw", part, weight[:, :, 0, 0]) for part, weight in parts], 1)
        normalised: Tensor = norms[place](convolved)
        return normalised

    expanded = functional.relu(pointwise(0, inputs))
    size = expanded.shape[1] // spec.groups
    dealt = [expanded[:, group * size + i] for i in range(size) for group in range(spec.groups)]
    weight = convolutions[1].weight
    filtered = torch.cat(
        [
            functional.conv2d(channel[:, None], weight[i : i + 1], stride=spec.stride, padding=spec.padding)
            for i, channel in enumerate(dealt)
        ],
        1,
    )
    result = pointwise(2, functional.relu(norms[1](filtered)))
    return result + inputs if result.shape == inputs.shape else result


@pytest.mark.parametrize("spec", VARIANTS, ids=lambda spec: spec.key)
def test_an_inverted_residual_is_computed_naively_the_same(spec: BlockSpec) -> None:
    module, images = set_weights(build_block(spec)), images_of(spec)
    with torch.no_grad():
        assert torch.allclose(module(images), naive_mbconv(module, spec, images), atol=1e-5)


def test_channels_are_dealt_out_in_turn() -> None:
    channels = torch.arange(6.0).reshape(1, 6, 1, 1)
    assert ChannelShuffle(2)(channels).flatten().tolist() == [0, 3, 1, 4, 2, 5]
    assert ChannelShuffle(3)(channels).flatten().tolist() == [0, 2, 4, 1, 3, 5]


def test_the_head_is_a_convolution_a_mean_and_a_linear_layer() -> None:
    spec = BlockSpec("mobile_head", ((1, 8, 4, 4),), 3, activation="relu", hidden_channels=16)
    module, images = set_weights(build_block(spec)), images_of(spec)
    convolution, norm, linear = (
        next(layer for layer in module.modules() if isinstance(layer, kind))
        for kind in (nn.Conv2d, nn.BatchNorm2d, nn.Linear)
    )
    with torch.no_grad():
        expected = linear(functional.relu(norm(convolution(images))).mean(dim=(2, 3)))
        assert expected.shape == (2, 3)
        assert torch.allclose(module(images), expected, atol=1e-6)


def count_macs(module: nn.Module, images: Tensor) -> int:
    total = 0

    def hook(layer: nn.Module, _inputs: tuple[Tensor, ...], output: Tensor) -> None:
        nonlocal total
        if isinstance(layer, nn.Conv2d):
            total += layer.weight.numel() * output.shape[-1] * output.shape[-2]
        elif isinstance(layer, nn.Linear):
            total += layer.weight.numel()

    for layer in module.modules():
        layer.register_forward_hook(hook)
    module(images)
    return total


def parameters_of(module: nn.Module) -> int:
    return sum(tensor.numel() for tensor in module.parameters())


@pytest.mark.parametrize("space", [SPACE, TINY, FBNet(image_size=128, classes=1000)])
def test_blocks_count_what_their_modules_hold_and_do(space: FBNet) -> None:
    for spec in space.all_blocks():
        module = build_block(spec)
        assert parameters_of(module) == block_parameters(spec)
        assert count_macs(module.eval(), torch.zeros(spec.input_shapes[0])) == block_macs(spec)


@pytest.mark.parametrize("space", [SPACE, FBNet(image_size=224, classes=1000)])
def test_networks_hold_and_do_what_their_space_counts(space: FBNet) -> None:
    generator = np.random.default_rng(0)
    for architecture in [space.sample(generator) for _ in range(4)]:
        network = build_network(space, architecture).eval()
        assert parameters_of(network) == space.parameters(architecture)
        assert count_macs(network, torch.zeros(space.image_shape)) == space.macs(architecture)
        blocks = space.blocks(architecture).items()
        assert space.parameters(architecture) == sum(count * block_parameters(spec) for spec, count in blocks)
        assert space.macs(architecture) == sum(count * block_macs(spec) for spec, count in blocks)


def test_a_network_is_its_blocks_one_after_the_other() -> None:
    architecture = TINY.sample(np.random.default_rng(3))
    network = FBNetNetwork(TINY, architecture)
    set_weights(network)
    images = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    layers = network.layers
    with torch.no_grad():
        seen = network.activations(images)
        value = network.stem(images)
        for place, layer in enumerate(layers):
            assert tuple(value.shape[1:]) == TINY.layers[place].input_shape[1:]
            assert torch.equal(seen[place + 1], value)
            value = layer(value)
        assert torch.equal(network(images), network.head(value))
    assert network(images).shape == (2, 3)
    skipped = [isinstance(layer, nn.Identity) for layer in layers]
    assert skipped == [spec is None for spec in TINY.layer_blocks(architecture)]


def test_every_weight_gets_a_gradient() -> None:
    for choice in ("k5_e1_g2", "skip"):
        network = FBNetNetwork(TINY, Architecture("fbnet", (CHOICES.index(choice),) * LAYERS))
        torch.autograd.backward(network(torch.randn(4, 3, 8, 8)).sum())
        assert all(weight.grad is not None for weight in network.parameters())


@pytest.mark.parametrize(
    "spec",
    [
        replace(MBCONV, activation=None),
        replace(MBCONV, activation="dream"),
        replace(MBCONV, hidden_channels=None),
        replace(MBCONV, groups=3),
        BlockSpec("conv_bn", ((1, 1, 1, 1),), 1, hidden_channels=4),
        BlockSpec("mobile_head", ((1, 8, 4, 4),), 3, activation="relu"),
    ],
    ids=lambda spec: spec.key,
)
def test_a_block_that_cannot_be_built_is_refused(spec: BlockSpec) -> None:
    with pytest.raises(BadInputError):
        build_block(spec)


def test_an_architecture_gets_its_own_spaces_network_only() -> None:
    cell = NasBench201().sample(np.random.default_rng(0))
    with pytest.raises(BadInputError):
        build_network(SPACE, cell)
    with pytest.raises(BadInputError):
        build_network(NasBench201(), SPACE.sample(np.random.default_rng(0)))
