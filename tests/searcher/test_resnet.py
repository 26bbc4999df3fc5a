"""ResNet-20: its shapes, the names of its weights and that its parts agree."""

from __future__ import annotations

import pytest
import torch

from searcher.networks.resnet import BasicBlock, ResNet20


def test_features_are_the_outputs_of_the_three_stages() -> None:
    network = ResNet20().eval()
    images = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))

    features, logits = network.forward_with_features(images)

    assert [tuple(feature.shape) for feature in features] == [(2, 16, 32, 32), (2, 32, 16, 16), (2, 64, 8, 8)]
    assert all(bool((feature >= 0).all()) for feature in features)
    assert torch.equal(logits, network(images))
    assert all(torch.equal(one, other) for one, other in zip(features, network.features(images), strict=True))
    assert torch.equal(logits, network.linear(features[2].mean(dim=(2, 3))))


def test_weights_carry_the_published_names_and_numbers() -> None:
    network = ResNet20(classes=7)
    names = {name.rpartition(".")[0] for name in network.state_dict()}
    blocks = {f"layer{stage}.{block}" for stage in (1, 2, 3) for block in (0, 1, 2)}
    parts = {f"{block}.{part}" for block in blocks for part in ("conv1", "bn1", "conv2", "bn2")}

    assert names == {"conv1", "bn1", "linear"} | parts
    assert network.linear.out_features == 7
    # 0.27 million, as He et al. (2016) give in table 6.
    assert sum(parameter.numel() for parameter in ResNet20().parameters()) == 269_722


def test_the_shortcut_keeps_every_second_pixel_between_new_zero_channels() -> None:
    block = BasicBlock(16, 32, stride=2).eval()
    torch.nn.init.zeros_(block.conv2.weight)
    images = torch.rand(1, 16, 8, 8, generator=torch.Generator().manual_seed(0))

    output = block(images)

    assert torch.equal(output[:, 8:24], images[:, :, ::2, ::2])
    assert not output[:, :8].any()
    assert not output[:, 24:].any()


@pytest.mark.parametrize("classes", [2, 10])
def test_equal_seeds_give_equal_networks(classes: int) -> None:
    networks = [ResNet20(classes) for _ in range(3)]
    for network, seed in zip(networks, (3, 3, 4), strict=True):
        network.initialise(torch.Generator().manual_seed(seed))
    first, same, other = ({**network.state_dict()} for network in networks)

    assert all(torch.equal(first[name], same[name]) for name in first)
    assert not torch.equal(first["conv1.weight"], other["conv1.weight"])
