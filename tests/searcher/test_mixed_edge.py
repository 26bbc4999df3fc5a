"""Mixed edges: what is summed, what is not computed, what several edges share, and partial channels."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from searcher.errors import BadInputError
from searcher.networks.mixed_edge import MixedEdge, Mixture, Source, Zero, mixtures_of, total

CHANNELS = 4


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def images(channels: int = CHANNELS) -> Tensor:
    return torch.randn(3, channels, 6, 6, generator=generator())


def conv(channels: int = CHANNELS, affine: bool = True) -> nn.Sequential:
    norm = nn.BatchNorm2d(channels, affine=affine)
    for tensor in (norm.weight, norm.bias):
        if tensor is not None:
            nn.init.uniform_(tensor, 0.5, 1.5, generator=generator(3))
    return nn.Sequential(nn.ReLU(), nn.Conv2d(channels, channels, 3, padding=1, bias=False), norm)


def mixture(*weights: float, wanted: bool = True) -> Mixture:
    return mixtures_of(torch.tensor([weights], requires_grad=wanted))[0]


def count_calls(module: nn.Module) -> list[int]:
    calls: list[int] = []
    module.register_forward_hook(lambda *_: calls.append(1))
    return calls


@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("channels_last", [True, False])
def test_an_edge_is_the_weighted_sum_of_its_choices(affine: bool, training: bool, channels_last: bool) -> None:
    block = conv(affine=affine)
    inputs = images().contiguous(memory_format=torch.channels_last if channels_last else torch.contiguous_format)
    with torch.no_grad():
        block(images(CHANNELS) + 1)  # the running statistics are no longer those of a fresh norm
    edge = MixedEdge([Zero(), nn.Identity(), block, nn.AvgPool2d(3, 1, 1)]).train(training)
    weights = torch.tensor([[0.4, 0.3, 0.2, 0.1]], requires_grad=True)
    expected_weights = weights.detach().clone().requires_grad_()

    found = edge(inputs, mixtures_of(weights)[0])
    plain = (
        expected_weights[0, 1] * inputs
        + expected_weights[0, 2] * block(inputs)
        + expected_weights[0, 3] * functional.avg_pool2d(inputs, 3, 1, 1)
    )
    assert torch.allclose(found, plain, atol=1e-6)
    parameters = list(block.parameters())
    found_gradients = torch.autograd.grad(found.pow(3).sum(), [weights, *parameters])
    plain_gradients = torch.autograd.grad(plain.pow(3).sum(), [expected_weights, *parameters])
    for one, other in zip(found_gradients, plain_gradients, strict=True):
        assert torch.allclose(one, other, rtol=1e-4, atol=1e-4)


def test_a_norm_that_takes_the_weight_keeps_its_statistics_as_torch_does() -> None:
    for momentum in (0.1, None):
        edges = [MixedEdge([conv()]) for _ in range(2)]
        edges[1].load_state_dict(edges[0].state_dict())
        norms = [edge.candidates[0][2] for edge in edges]  # type: ignore[index] # a Sequential
        for norm in norms:
            norm.momentum = momentum
        for seed in range(3):
            batch = torch.randn(3, CHANNELS, 6, 6, generator=generator(seed))
            edges[0](batch, mixture(0.25))
            edges[1].candidates[0](batch)
        for one, other in zip(norms[0].buffers(), norms[1].buffers(), strict=True):
            assert torch.equal(one, other)


def test_a_weight_of_exactly_zero_computes_nothing_and_has_no_gradient() -> None:
    edge = MixedEdge([Zero(), conv(), conv()])
    calls = [count_calls(candidate[1]) for candidate in list(edge.candidates)[1:]]  # type: ignore[index]
    weights = torch.tensor([[0.5, 0.0, 1e-30]], requires_grad=True)

    found = edge(images(), mixtures_of(weights)[0])
    torch.autograd.backward(found.square().sum())
    assert [len(seen) for seen in calls] == [0, 1]
    assert weights.grad is not None
    assert weights.grad[0, :2].tolist() == [0, 0]
    assert weights.grad[0, 2] != 0
    assert all(parameter.grad is None for parameter in edge.candidates[1].parameters())


def test_an_edge_of_nothing_but_none_passes_nothing_on() -> None:
    edge = MixedEdge([Zero(), nn.Identity()], auxiliary=nn.Identity())

    for nothing in (mixture(0.7, 0.0), mixture(0.0, 0.0)):
        assert not edge.passes(nothing, 0.0)
        assert edge(images(), nothing) is None
        assert edge.passes(nothing, 0.5)
        assert torch.equal(edge(images(), nothing, 0.5), 0.5 * images())
    assert edge.passes(mixture(0.0, 0.1), 0.0)


def test_a_one_that_needs_no_gradient_is_not_multiplied() -> None:
    edge, inputs = MixedEdge([Zero(), nn.Identity()]), images()

    assert edge(inputs, mixture(0.0, 1.0, wanted=False)) is inputs
    with torch.no_grad():
        assert edge(inputs, mixture(0.0, 1.0)) is inputs
    assert edge(inputs, mixture(0.0, 1.0)).requires_grad


def test_what_edges_begin_with_alike_is_computed_once() -> None:
    edges = [MixedEdge([conv(), conv(), nn.AvgPool2d(3, 1, 1), nn.MaxPool2d(3, 1, 1)]) for _ in range(2)]
    shared = [count_calls(layer) for edge in edges for layer in edge.modules() if isinstance(layer, nn.ReLU)]
    pools = [count_calls(layer) for edge in edges for layer in edge.modules() if isinstance(layer, nn.AvgPool2d)]
    weights = torch.full((1, 4), 0.25)
    source = Source(images())

    together = [edge(source, mixtures_of(weights)[0]) for edge in edges]
    assert sum(len(calls) for calls in shared) == 1
    assert sum(len(calls) for calls in pools) == 1
    alone = [edge(images(), mixtures_of(weights)[0]) for edge in edges]
    assert all(torch.equal(one, other) for one, other in zip(together, alone, strict=True))


def test_layers_that_differ_are_not_shared() -> None:
    source = Source(images())

    wide = source.through(nn.AvgPool2d(5, 1, 2))
    assert not torch.equal(source.through(nn.AvgPool2d(3, 1, 1)), wide)
    assert torch.equal(source.through(nn.AvgPool2d(3, 1, 1)), functional.avg_pool2d(images(), 3, 1, 1))
    # Torch's own description of a pooling does not tell whether it counts the padding.
    padded = source.through(nn.AvgPool2d(3, 1, 1, count_include_pad=False))
    assert torch.equal(padded, functional.avg_pool2d(images(), 3, 1, 1, count_include_pad=False))
    layers = [nn.Conv2d(CHANNELS, CHANNELS, 1) for _ in range(2)]
    assert not torch.equal(*(source.through(layer) for layer in layers))


def test_a_chain_of_layers_with_a_way_of_its_own_is_asked_as_a_whole() -> None:
    class Centred(nn.Sequential):
        def forward(self, inputs: Tensor) -> Tensor:
            return inputs - inputs.mean()

    block = Centred(*conv()).eval()
    edge = MixedEdge([block]).eval()

    assert torch.allclose(edge(images(), mixture(0.5)), 0.5 * block(images()), atol=1e-6)


@pytest.mark.parametrize("none", [True, False])
def test_partial_channels_mix_the_first_and_let_the_others_pass(none: bool) -> None:
    edge = MixedEdge([Zero(), conv(2)], partial_channels=4)
    inputs = images(8)
    weights = (1.0, 0.0) if none else (0.0, 0.5)

    assert edge.passes(mixture(*weights), 0.0)
    found = edge(inputs, mixture(*weights))
    mixed = torch.zeros_like(inputs[:, :2]) if none else 0.5 * edge.candidates[1](inputs[:, :2])
    joined = torch.cat((mixed, inputs[:, 2:]), dim=1)
    # Channel i of group g of four groups becomes channel 4i + g.
    order = [0, 2, 4, 6, 1, 3, 5, 7]
    assert torch.allclose(found, joined[:, order], atol=1e-6)
    assert found.is_contiguous(memory_format=torch.channels_last)


def test_channels_that_pass_by_shrink_as_the_mixed_ones_do() -> None:
    halving = nn.Sequential(nn.Conv2d(2, 2, 3, 2, 1, bias=False), nn.BatchNorm2d(2))
    edge = MixedEdge([halving], partial_channels=2, bypass=nn.MaxPool2d(2))

    found = edge(images(4), mixture(1.0))
    assert found.shape == (3, 4, 3, 3)
    assert torch.equal(found[:, 1::2], functional.max_pool2d(images(4)[:, 2:], 2))


def test_no_part_of_the_channels_is_refused() -> None:
    with pytest.raises(BadInputError, match="1/0 of the channels cannot be mixed"):
        MixedEdge([Zero()], partial_channels=0)


def test_a_sum_leaves_its_terms_alone() -> None:
    terms = [torch.full((2,), value) for value in (1.0, 2.0, 4.0, 8.0)]

    assert total([]) is None
    assert total([None, None]) is None
    assert total([None, terms[1]]) is terms[1]
    assert total([terms[0], None, *terms[1:]]).tolist() == [15.0, 15.0]  # type: ignore[union-attr]
    assert [term.tolist() for term in terms] == [[1.0] * 2, [2.0] * 2, [4.0] * 2, [8.0] * 2]
    mixed = total([terms[0].bfloat16(), terms[0].bfloat16(), terms[1]])
    assert mixed is not None
    assert mixed.dtype == torch.float32
