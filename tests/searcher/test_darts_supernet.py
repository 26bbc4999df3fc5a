"""The supernet of the DARTS space: under one-hot weights it computes what the derived network does."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from searcher.errors import BadInputError
from searcher.networks.darts import DartsNetwork
from searcher.networks.mixed_edge import MixedEdge
from searcher.networks.separable import FactorisedReduction
from searcher.networks.supernet import Supernet, SupernetOptions, one_hot, recalibrate
from searcher.networks.supernets import build_supernet
from searcher.spaces.architecture import Architecture
from searcher.spaces.darts import DartsSpace
from searcher.spaces.darts_cell import EDGES, OPERATIONS

SPACE = DartsSpace(cells=6, channels=4, classes=3, image_size=8)
POOLS = [OPERATIONS.index("max_pool_3x3"), OPERATIONS.index("avg_pool_3x3")]
REDUCTIONS = (2, 4)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def supernet(**options: object) -> Supernet:
    return build_supernet(SPACE, SupernetOptions(**options), torch.Generator().manual_seed(0))  # type: ignore[arg-type]


def images() -> Tensor:
    return torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(1))


def hot(architecture: Architecture) -> Tensor:
    return one_hot(architecture.genotype, len(OPERATIONS))


def without_pools(seed: int) -> Architecture:
    """An architecture whose pools are separable convolutions: its supernet has no more norms than its network."""
    genes = SPACE.sample(np.random.default_rng(seed)).genotype
    return Architecture("darts", tuple(4 if gene in POOLS else gene for gene in genes))


def with_weights_of(net: Supernet, architecture: Architecture) -> DartsNetwork:
    """Return the derived network with copies of what the supernet holds for it."""
    network, held = DartsNetwork(SPACE, architecture), net.state_dict()
    places = {
        (cell, index): edge * len(OPERATIONS) + gene
        for cell in range(SPACE.cells)
        for index, (edge, gene) in enumerate(
            (edge, gene)
            for edge, gene in enumerate(architecture.genotype[14 * (cell in REDUCTIONS) :][: len(EDGES)])
            if gene
        )
    }
    copied = {}
    for name in network.state_dict():
        found = re.fullmatch(r"cells\.(\d+)\.operations\.(\d+)\.(.+)", name)
        place = name
        if found is not None:
            edge, gene = divmod(places[int(found[1]), int(found[2])], len(OPERATIONS))
            place = f"cells.{found[1]}.edges.{edge}.candidates.{gene}.{found[3]}"
        copied[name] = held[place]
    network.load_state_dict(copied)
    return network.train(net.training)


def test_one_hot_weights_are_the_derived_network() -> None:
    net = supernet(affine=True)
    for seed in range(3):
        architecture = without_pools(seed)
        network = with_weights_of(net, architecture)
        with torch.no_grad():
            expected = network(images())
            assert torch.allclose(net(images(), hot(architecture)), expected, rtol=1e-3, atol=1e-4)
        # The statistics of the pass are in both alike, which shows that the same norms were passed.
        again = with_weights_of(net, architecture)
        for (name, one), other in zip(network.named_buffers(), again.buffers(), strict=True):
            assert torch.allclose(one.float(), other.float(), atol=1e-4), name


def test_pools_are_computed_too_and_normalised_as_darts_does_in_its_search() -> None:
    architecture = SPACE.sample(np.random.default_rng(0))
    assert {*POOLS} <= {*architecture.genotype}
    net, seen = supernet(), Counter[str]()
    for name, module in net.named_modules():
        if re.fullmatch(r"cells\.\d+\.edges\.\d+\.candidates\.\d+", name):
            module.register_forward_hook(lambda *_, name=name: seen.update([name]))
        if isinstance(module, nn.BatchNorm2d):
            module.register_forward_hook(lambda *_, name=name: seen.update([name]))
    net(images(), hot(architecture))
    normalised = {name for name in seen if re.search(r"candidates\.[12]\.1$", name)}
    expected = {
        f"cells.{cell}.edges.{edge}.candidates.{gene}.1"
        for cell in range(SPACE.cells)
        for edge, gene in enumerate(architecture.genotype[14 * (cell in REDUCTIONS) :][: len(EDGES)])
        if gene in POOLS
    }
    assert normalised == expected


def test_only_operations_with_a_weight_learn() -> None:
    net = supernet()
    weights = torch.zeros(28, 8)
    weights[:, 3], weights[5, 4], weights[20, 6] = 0.5, 0.25, 0.25
    weights.requires_grad_()
    torch.autograd.backward(net(images(), weights).pow(3).sum())
    assert weights.grad is not None
    assert not weights.grad[weights.detach() == 0].any()
    assert bool((weights.grad[[5, 20], [4, 6]] != 0).all())
    learning = {
        tuple(int(number) for number in re.findall(r"\d+", name)[:3])
        for name, parameter in net.named_parameters()
        if ".candidates." in name and parameter.grad is not None
    }
    normal = {(cell, 5, 4) for cell in range(6) if cell not in REDUCTIONS}
    # Edge 6 of the reduction cells is from input 1, where a skip is a factorised reduction.
    of_inputs = {edge for edge, (source, _) in enumerate(EDGES) if source < 2}
    reductions = {(cell, edge, 3) for cell in REDUCTIONS for edge in of_inputs}
    assert learning == normal | reductions | {(cell, 6, 6) for cell in REDUCTIONS}


def test_gradients_of_the_weights_are_those_of_differences() -> None:
    net = supernet().double().eval()
    random = torch.Generator().manual_seed(3)
    weights = torch.softmax(torch.randn(28, 8, generator=random, dtype=torch.float64), dim=1).requires_grad_()
    batch = images().double()
    torch.autograd.backward(net(batch, weights).square().sum())
    assert weights.grad is not None
    direction = torch.randn(28, 8, generator=random, dtype=torch.float64)
    step = 1e-5
    with torch.no_grad():
        ends = [net(batch, weights + sign * step * direction).square().sum() for sign in (1, -1)]
    expected = (ends[0] - ends[1]) / (2 * step)
    assert torch.allclose((weights.grad * direction).sum(), expected, rtol=1e-3)


def test_nodes_without_an_edge_are_zero_and_weights_keep_a_gradient() -> None:
    net = supernet().eval()
    weights = one_hot((0,) * 28, 8).requires_grad_()
    logits = net(images(), weights)
    assert torch.equal(logits[0], logits[1])
    torch.autograd.backward(logits.sum())
    assert weights.grad is not None
    assert not weights.grad.any()


def test_a_part_of_the_channels_is_mixed_and_the_others_pass_by() -> None:
    net = supernet(partial_channels=2)
    for cell, of_cell in enumerate(net.get_submodule("cells").children()):
        for edge, (source, _) in enumerate(EDGES):
            mixed = of_cell.get_submodule(f"edges.{edge}")
            assert isinstance(mixed, MixedEdge)
            assert (mixed.bypass is not None) == (cell in REDUCTIONS and source < 2)
    widths = {
        convolution.in_channels
        for name, convolution in net.named_modules()
        if isinstance(convolution, nn.Conv2d) and re.match(r"cells\.0\.edges\.\d+\.candidates", name)
    }
    assert widths == {2}
    weights = torch.softmax(torch.randn(28, 8, generator=torch.Generator().manual_seed(3)), dim=1)
    assert net(images(), weights).shape == (4, 3)
    # Nothing mixed, the other channels still lead from the images to the logits.
    logits = net.eval()(images(), one_hot((0,) * 28, 8))
    assert not torch.allclose(logits[0], logits[1])
    with pytest.raises(BadInputError, match="4 channels cannot be parted into 3"):
        supernet(partial_channels=3)


def test_an_auxiliary_skip_stands_beside_every_edge() -> None:
    net = supernet().eval()
    for cell in range(SPACE.cells):
        for edge, (source, _) in enumerate(EDGES):
            auxiliary = net.get_submodule(f"cells.{cell}.edges.{edge}.auxiliary")
            halves = cell in REDUCTIONS and source < 2
            assert isinstance(auxiliary, FactorisedReduction if halves else nn.Identity)
    nothing = one_hot((0,) * 28, 8)
    without = net(images(), nothing)
    net.auxiliary_skip = 0.5
    assert not torch.allclose(net(images(), nothing), without)


def test_norms_neither_scale_nor_shift_unless_asked() -> None:
    norms = {name: norm for name, norm in supernet().named_modules() if isinstance(norm, nn.BatchNorm2d)}
    assert [name for name, norm in norms.items() if norm.affine] == ["stem.1"]
    affine = [norm for norm in supernet(affine=True).modules() if isinstance(norm, nn.BatchNorm2d)]
    assert all(norm.affine for norm in affine)


def test_recalibration_gives_one_architecture_its_own_statistics() -> None:
    net = supernet(affine=True)
    architecture = without_pools(1)
    batch = torch.randn(128, 3, 8, 8, generator=torch.Generator().manual_seed(5))
    with torch.no_grad():
        net(images(), torch.full((28, 8), 1 / 8))
        recalibrate(net, hot(architecture), [batch])
        trained = net(batch, hot(architecture))
        evaluated = net.eval()(batch, hot(architecture))
    # One batch is its own statistics, but for what the variance of a sample is divided by.
    assert torch.allclose(evaluated, trained, atol=0.1)
