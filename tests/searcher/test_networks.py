"""Torch modules: they compute what the space says, and hold the parameters that it counts."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from torch import Tensor, nn

from searcher.errors import BadInputError, SearcherError
from searcher.networks.blocks import build_block, initialise
from searcher.networks.nasbench201 import NasBench201Network
from searcher.spaces.architecture import Architecture
from searcher.spaces.block import CALL_OVERHEAD, BlockSpec
from searcher.spaces.cell import EDGES
from searcher.spaces.nasbench201 import NasBench201

SPACE = NasBench201()
SMALL = NasBench201(cells_per_stage=1, channels=4, classes=3, image_size=8)
ALL = tuple(SPACE.architectures())
DISCONNECTED = SPACE.parse("|nor_conv_3x3~0|+|none~0|none~1|+|none~0|none~1|none~2|")


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def some_cells(count: int, seed: int) -> list[Architecture]:
    random = np.random.default_rng(seed)
    return [SPACE.sample(random) for _ in range(count)]


def network_of(space: NasBench201, architecture: Architecture, seed: int = 0) -> NasBench201Network:
    """Return a network in eval mode whose batch norms do something, each of them something else."""
    network = NasBench201Network(space, architecture)
    random = generator(seed)
    initialise(network, random)
    for layer in network.modules():
        if isinstance(layer, nn.BatchNorm2d):
            for tensor in (layer.weight.data, layer.bias.data, layer.running_mean, layer.running_var):
                assert tensor is not None
                tensor.copy_(0.5 + torch.rand(tensor.shape, generator=random))
    return network.eval()


def naive_cell(network: NasBench201Network, names: tuple[str, ...], stage: int, inputs: Tensor) -> Tensor:
    """Compute a cell edge by edge, as the paper words it: each node is the sum of all its edges."""
    cell: Any = network.stages[stage][0]  # type: ignore[index]
    nodes = [inputs] + [torch.zeros_like(inputs) for _ in range(3)]
    for edge, ((source, target), name) in enumerate(zip(EDGES, names, strict=True)):
        if name == "skip_connect":
            nodes[target] = nodes[target] + nodes[source]
        elif name != "none":
            nodes[target] = nodes[target] + cell.edges[edge](nodes[source])
    return nodes[3]


def naive_network(network: NasBench201Network, names: tuple[str, ...], images: Tensor) -> Tensor:
    features = network.stem(images)
    for stage in range(3):
        features = naive_cell(network, names, stage, features)
        if stage < 2:
            features = network.reductions[stage](features)
    logits: Tensor = network.head(features)
    return logits


def computes_on_a_zero(names: tuple[str, ...]) -> bool:
    live = {0}
    for (source, target), name in zip(EDGES, names, strict=True):
        if name != "none" and source in live:
            live.add(target)
        elif name not in ("none", "skip_connect"):
            return True
    return False


def test_a_network_is_its_cell_computed_naively() -> None:
    images = torch.randn(2, 3, 8, 8, generator=generator(1))
    compared = 0
    for architecture in some_cells(150, seed=2):
        names = SMALL.operations(architecture)
        if SMALL.is_connected(architecture) and not computes_on_a_zero(names):
            network = network_of(SMALL, architecture)
            with torch.no_grad():
                expected = naive_network(network, names, images)
                assert torch.allclose(network(images), expected, rtol=1e-4, atol=1e-4), names
            compared += 1
    assert compared > 100


def test_an_operation_on_a_zero_is_zero() -> None:
    # The batch norm of the convolution on the dead node 1 would add a constant.
    dead = SMALL.parse("|none~0|+|none~0|nor_conv_3x3~1|+|skip_connect~0|none~1|skip_connect~2|")
    copies = SMALL.parse("|none~0|+|none~0|none~1|+|skip_connect~0|none~1|none~2|")
    images = torch.randn(1, 3, 8, 8, generator=generator(1))
    network, other = network_of(SMALL, dead), network_of(SMALL, copies)
    missing = other.load_state_dict(network.state_dict(), strict=False).missing_keys
    assert not missing
    assert torch.equal(network(images), other(images))


def test_parameters_are_those_that_the_space_counts() -> None:
    for architecture in some_cells(50, seed=3):
        with torch.device("meta"):
            network = NasBench201Network(SPACE, architecture)
        assert sum(tensor.numel() for tensor in network.parameters()) == SPACE.parameters(architecture)


def count_macs(module: nn.Module, *inputs: Tensor) -> int:
    total = 0

    def hook(layer: nn.Module, _inputs: tuple[Tensor, ...], output: Tensor) -> None:
        nonlocal total
        if isinstance(layer, nn.Conv2d):
            total += layer.weight.numel() * output.shape[-1] * output.shape[-2]
        elif isinstance(layer, nn.Linear):
            total += layer.weight.numel()

    handles = [layer.register_forward_hook(hook) for layer in module.modules()]
    module(*inputs)
    for handle in handles:
        handle.remove()
    return total


def test_macs_are_those_that_a_network_without_dead_edges_executes() -> None:
    space = NasBench201(cells_per_stage=2)
    counted = 0
    for architecture in some_cells(60, seed=4):
        convolutions = [name for name in space.operations(architecture) if name.startswith("nor_conv")]
        executed = dict(space.computation(architecture).operations)
        if executed["nor_conv_1x1"] + executed["nor_conv_3x3"] == len(convolutions) > 0:
            network = NasBench201Network(space, architecture).eval()
            assert count_macs(network, torch.zeros(1, 3, 32, 32)) == space.macs(architecture)
            counted += 1
    assert counted > 20


def test_the_executed_blocks_are_those_of_the_space() -> None:
    architecture = SPACE.parse(
        "|avg_pool_3x3~0|+|avg_pool_3x3~0|nor_conv_1x1~1|+|avg_pool_3x3~0|nor_conv_3x3~1|none~2|"
    )
    network = network_of(SMALL, architecture)
    pools = []
    for layer in network.modules():
        if isinstance(layer, nn.AvgPool2d) and layer.kernel_size == 3:
            layer.register_forward_hook(lambda *_: pools.append(1))
    network(torch.zeros(1, 3, 8, 8))
    blocks = SMALL.blocks(architecture)
    assert len(pools) == sum(count for spec, count in blocks.items() if spec.operation == "avg_pool") == 3


def expected_shape(spec: BlockSpec) -> tuple[int, ...]:
    batch, _, height, width = spec.input_shapes[0]
    if spec.operation == "head":
        return (batch, spec.output_channels)
    return (batch, spec.output_channels, height // spec.stride, width // spec.stride)


@pytest.mark.parametrize("spec", SPACE.all_blocks(), ids=lambda spec: spec.key)
def test_a_block_takes_and_gives_the_shapes_of_its_specification(spec: BlockSpec) -> None:
    block = build_block(spec).eval()
    output = block(*(torch.zeros(shape) for shape in spec.input_shapes))
    assert tuple(output.shape) == expected_shape(spec)


def test_pooling_does_not_count_the_padding() -> None:
    block = build_block(SMALL.cell_block("avg_pool_3x3", 0))
    assert torch.equal(block(torch.ones(1, 4, 8, 8)), torch.ones(1, 4, 8, 8))


def test_an_activation_is_fused_after_the_block() -> None:
    spec = BlockSpec("conv_bn", ((1, 3, 8, 8),), 4, kernel=3, stride=2, padding=1, activation="relu")
    output = build_block(spec)(torch.randn(1, 3, 8, 8, generator=generator(0)))
    assert output.shape == (1, 4, 4, 4)
    assert output.min() == 0


@pytest.mark.parametrize(
    "spec",
    [
        BlockSpec("dream", ((1, 1, 1, 1),), 1),
        BlockSpec("add", ((1, 1, 1, 1), (1, 1, 1, 1)), 1, activation="relu"),
        BlockSpec("conv_bn", ((1, 1, 1, 1),), 1, activation="dream"),
        BlockSpec("identity", ((1, 1, 1, 1),), 1, dtype="int8"),
    ],
)
def test_a_block_that_cannot_be_built_is_refused(spec: BlockSpec) -> None:
    with pytest.raises(BadInputError):
        build_block(spec)


def test_the_call_overhead_computes_nothing() -> None:
    inputs = torch.ones(1, 1, 1, 1)
    assert torch.equal(build_block(CALL_OVERHEAD)(inputs), inputs)


def test_features_are_the_ends_of_the_stages() -> None:
    network = network_of(SMALL, ALL[0])
    images = torch.randn(2, 3, 8, 8, generator=generator(1))
    features, logits = network.forward_with_features(images)
    assert [tuple(feature.shape) for feature in features] == [(2, 4, 8, 8), (2, 8, 4, 4), (2, 16, 2, 2)]
    assert features[-1].min() >= 0
    assert torch.equal(logits, network(images))
    assert all(torch.equal(one, other) for one, other in zip(features, network.features(images), strict=True))


def test_every_live_weight_gets_a_gradient() -> None:
    full = SMALL.parse("|nor_conv_3x3~0|+|nor_conv_1x1~0|avg_pool_3x3~1|+|none~0|nor_conv_3x3~1|skip_connect~2|")
    network = NasBench201Network(SMALL, full)
    torch.autograd.backward(network(torch.randn(2, 3, 8, 8)).sum())
    assert all(weight.grad is not None for weight in network.parameters())


def test_one_seed_gives_one_network() -> None:
    before = torch.random.get_rng_state()
    networks = [NasBench201Network(SMALL, ALL[1]) for _ in range(3)]
    torch.random.set_rng_state(before)
    for network, seed in zip(networks, (5, 5, 6), strict=True):
        network(torch.randn(2, 3, 8, 8, generator=generator(seed)))  # moves the running statistics
        initialise(network, generator(seed))
    assert torch.equal(torch.random.get_rng_state(), before)
    one, same, other = (network.state_dict() for network in networks)
    counters = {name for name in one if name.endswith("num_batches_tracked")}
    assert all(int(one[name]) == 0 for name in counters)
    assert all(torch.equal(one[name], same[name]) for name in one)
    drawn = [name for name in one if one[name].dim() != 1 and name not in counters] + ["head.linear.bias"]
    assert all(not torch.equal(one[name], other[name]) for name in drawn)


def test_weights_are_drawn_as_documented() -> None:
    module = nn.Sequential(nn.Conv2d(64, 128, 3), nn.BatchNorm2d(128), nn.Linear(100, 100))
    initialise(module, generator(0))
    conv, norm, linear = module
    assert isinstance(conv, nn.Conv2d)
    assert conv.weight.std().item() == pytest.approx((2 / (128 * 9)) ** 0.5, rel=0.02)
    assert conv.bias is not None
    assert not conv.bias.any()
    assert isinstance(norm, nn.BatchNorm2d)
    assert torch.equal(norm.weight, torch.ones(128))
    assert not norm.bias.any()
    assert isinstance(linear, nn.Linear)
    assert 0.099 < linear.weight.abs().max().item() <= 0.1


def test_a_layer_without_a_rule_is_refused() -> None:
    with pytest.raises(SearcherError, match="PReLU"):
        initialise(nn.Sequential(nn.PReLU()), generator(0))


def test_an_architecture_of_another_space_has_no_network() -> None:
    with pytest.raises(BadInputError):
        NasBench201Network(SMALL, Architecture("darts", (0,) * 6))


def test_a_disconnected_cell_gives_zeros_and_trains() -> None:
    network = NasBench201Network(SMALL, DISCONNECTED)
    features, logits = network.forward_with_features(torch.randn(2, 3, 8, 8))
    assert not features[0].any()
    torch.autograd.backward(logits.sum())
    images = torch.randn(2, 3, 8, 8)
    network.eval()
    assert torch.equal(network(images[:1]), network(images[1:]))


@pytest.mark.parametrize("architecture", [DISCONNECTED, ALL[1]], ids=["disconnected", "connected"])
def test_a_network_exports_and_keeps_its_input(architecture: Architecture, tmp_path: Path) -> None:
    network = network_of(SMALL, architecture)
    images = torch.randn(1, 3, 8, 8, generator=generator(1))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter that old runtimes need is deprecated
        torch.onnx.export(
            network, (images,), str(tmp_path / "network.onnx"), dynamo=False, opset_version=13, input_names=["images"]
        )
    session = onnxruntime.InferenceSession(tmp_path / "network.onnx", providers=["CPUExecutionProvider"])
    (output,) = session.run(None, {"images": images.numpy()})
    assert np.allclose(output, network(images).detach().numpy(), atol=1e-4)
