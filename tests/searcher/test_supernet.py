"""Supernets: under one-hot weights they are their architectures, under soft ones differentiable mixtures."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from searcher.errors import BadInputError
from searcher.networks.nasbench201 import NasBench201Network
from searcher.networks.nasbench201_supernet import live_edges
from searcher.networks.quick import PoolByConvolution
from searcher.networks.supernet import Subnet, Supernet, SupernetOptions, one_hot, recalibrate
from searcher.networks.supernets import build_supernet
from searcher.spaces.architecture import Architecture
from searcher.spaces.cell import EDGES
from searcher.spaces.nasbench201 import NasBench201
from searcher.training.loops import accuracy

SMALL = NasBench201(cells_per_stage=1, channels=4, classes=3, image_size=8)
ALL = tuple(SMALL.architectures())
# Every operation that computes something, and a node with two live edges.
FULL = SMALL.parse("|nor_conv_3x3~0|+|nor_conv_1x1~0|avg_pool_3x3~1|+|none~0|nor_conv_3x3~1|skip_connect~2|")
DISCONNECTED = SMALL.parse("|nor_conv_3x3~0|+|none~0|none~1|+|none~0|none~1|none~2|")
CELL_LAYERS = (nn.Conv2d, PoolByConvolution)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def images(count: int = 4, seed: int = 1) -> Tensor:
    return torch.randn(count, 3, 8, 8, generator=generator(seed))


def supernet(seed: int = 0, **options: object) -> Supernet:
    return build_supernet(SMALL, SupernetOptions(**options), generator(seed))  # type: ignore[arg-type]


def stirred(net: Supernet, seed: int = 2) -> Supernet:
    """Give every batch norm scales, shifts and statistics of its own."""
    random = generator(seed)
    for norm in net.modules():
        if isinstance(norm, nn.BatchNorm2d):
            for tensor in (norm.weight, norm.bias, norm.running_mean, norm.running_var):
                if tensor is not None:
                    tensor.data.copy_(0.5 + torch.rand(tensor.shape, generator=random))
    return net


def hot(architecture: Architecture) -> Tensor:
    return one_hot(architecture.genotype, 5)


def soft(seed: int = 0, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.softmax(torch.randn(6, 5, generator=generator(seed), dtype=dtype), dim=1).requires_grad_()


def network_with_weights_of(net: Supernet, architecture: Architecture) -> NasBench201Network:
    """Return the network of an architecture by itself, with copies of what the supernet holds for it."""
    network = NasBench201Network(SMALL, architecture)
    held = net.state_dict()
    copied = {}
    for name in network.state_dict():
        place = name
        if ".edges." in name:
            before, _, after = name.partition(".edges.")
            edge, _, layer = after.partition(".")
            place = f"{before}.edges.{edge}.candidates.{architecture.genotype[int(edge)]}.{layer}"
        if place in held:
            copied[name] = held[place]
    missing = network.load_state_dict(copied, strict=False).missing_keys
    # Norms that neither scale nor shift have no such entries; fresh ones scale by 1 and shift by 0.
    assert all(".edges." in name and name.endswith(("2.weight", "2.bias")) for name in missing)
    return network.train(net.training)


@pytest.mark.parametrize("affine", [True, False])
def test_one_hot_weights_are_the_network_of_the_architecture(affine: bool) -> None:
    net = stirred(supernet(affine=affine)).eval()
    random = np.random.default_rng(0)
    some = [SMALL.sample(random) for _ in range(40)]
    for architecture in (FULL, DISCONNECTED, *some):
        with torch.no_grad():
            expected = network_with_weights_of(net, architecture)(images())
            found = net(images(), hot(architecture))
        assert torch.allclose(found, expected, rtol=1e-4, atol=1e-4), SMALL.format(architecture)


def test_gradients_and_statistics_of_training_are_those_of_the_network() -> None:
    net = supernet(affine=True)
    network = network_with_weights_of(net, FULL)

    torch.autograd.backward(net(images(), hot(FULL)).square().sum())
    torch.autograd.backward(network(images()).square().sum())
    again = network_with_weights_of(net, FULL)
    for (name, one), other in zip(network.named_buffers(), again.buffers(), strict=True):
        assert torch.allclose(one.float(), other.float(), atol=1e-5), name
    conv = "stages.1.0.edges.4"
    found = net.get_parameter(f"{conv}.candidates.3.1.weight").grad
    expected = network.get_parameter(f"{conv}.1.weight").grad
    assert found is not None
    assert expected is not None
    assert torch.allclose(found, expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    ("partial", "auxiliary", "affine"), [(1, 0.0, False), (1, 0.3, True), (2, 0.0, True), (2, 0.3, False)]
)
def test_the_gradient_to_soft_weights_is_that_of_finite_differences(
    partial: int, auxiliary: float, affine: bool
) -> None:
    net = supernet(partial_channels=partial, affine=affine).double()
    net.auxiliary_skip = auxiliary

    assert torch.autograd.gradcheck(lambda weights: net(images(2).double(), weights), soft(dtype=torch.float64))


def test_the_hessian_of_soft_weights_is_that_of_finite_differences() -> None:
    net = supernet().double()
    weights = soft(dtype=torch.float64)

    def loss(mixed: Tensor) -> Tensor:
        total: Tensor = net(images(2).double(), mixed).square().sum()
        return total

    direction = torch.randn(6, 5, generator=generator(4), dtype=torch.float64)
    (gradient,) = torch.autograd.grad(loss(weights), weights, create_graph=True)
    (product,) = torch.autograd.grad(gradient, weights, direction)
    step = 1e-5
    sides = [torch.autograd.grad(loss(weights + sign * step * direction), weights)[0] for sign in (1, -1)]
    assert product.abs().max() > 0.1
    assert torch.allclose(product, (sides[0] - sides[1]) / (2 * step), rtol=1e-4, atol=1e-4)


def test_one_hot_weights_compute_what_a_runtime_would() -> None:
    net = supernet()
    computed: list[str] = []
    for name, layer in net.named_modules():
        if isinstance(layer, CELL_LAYERS) and ".edges." in name:
            layer.register_forward_hook(lambda *_, name=name: computed.append(name))
    for architecture in ALL[::500]:
        computed.clear()
        net(images(2), hot(architecture))
        executed = dict(SMALL.computation(architecture).operations)
        assert len(computed) == 3 * (sum(executed.values()) - executed["add"]), SMALL.format(architecture)


def test_entries_of_exactly_zero_have_a_gradient_of_zero_and_others_have_one() -> None:
    net = supernet()
    weights = hot(FULL).requires_grad_()
    torch.autograd.backward(net(images(), weights).square().sum())

    assert weights.grad is not None
    assert torch.equal(weights.grad != 0, hot(FULL).bool() & torch.tensor([[False, True, True, True, True]]))
    used = {name for name, parameter in net.named_parameters() if parameter.grad is not None and ".edges." in name}
    assert len(used) == 3 * 3  # three convolutions in each of three cells


def test_weights_of_no_path_at_all_have_a_gradient_of_zero() -> None:
    net = supernet()
    weights = hot(DISCONNECTED).requires_grad_()

    logits = net(images(), weights)
    (gradient,) = torch.autograd.grad(logits.square().sum(), weights)
    assert not gradient.any()
    assert torch.equal(logits[0], logits[1])


def saved_bytes(net: nn.Module, *inputs: Tensor) -> int:
    """Return the bytes of distinct storages that a forward pass keeps for the gradient, parameters left out."""
    own = {tensor.untyped_storage().data_ptr() for tensor in (*net.parameters(), *net.buffers())}
    kept: dict[int, Tensor] = {}

    def pack(tensor: Tensor) -> Tensor:
        if tensor.untyped_storage().data_ptr() not in own:
            kept[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        output = net(*inputs)
    assert output.requires_grad
    return sum(tensor.untyped_storage().nbytes() for tensor in kept.values())


def test_a_sampled_path_keeps_the_activations_of_one_network() -> None:
    net = supernet(affine=True)
    batch = images(32)
    one_path = saved_bytes(net, batch, hot(FULL).requires_grad_())

    alone = saved_bytes(network_with_weights_of(net, FULL), batch)
    mixture = saved_bytes(net, batch, soft())
    # Beside those, the weight of the skip keeps its input, and that of the pooling what it has pooled.
    feature_map = sum(32 * 4 * (4 << stage) * (8 >> stage) ** 2 for stage in range(3))
    assert alone < one_path < alone + 2 * feature_map + 4096
    skeleton = saved_bytes(net, batch, hot(DISCONNECTED))
    assert mixture - skeleton > 2 * (one_path - skeleton)


def test_edges_of_one_node_keep_its_relu_once() -> None:
    net, batch = supernet(), images(32)

    def both_convolutions_on(edges: list[int]) -> int:
        weights = torch.zeros(6, 5)
        weights[edges, 2:4] = 0.5
        weights[4:, 1] = 0.5
        return saved_bytes(net, batch, weights)

    # Six convolutions more, each with the input of its norm; but of their ReLUs only that of node 1 is new.
    feature_map = sum(32 * 4 * (4 << stage) * (8 >> stage) ** 2 for stage in range(3))
    more = both_convolutions_on([0, 1, 2, 3]) - both_convolutions_on([3])
    assert more == pytest.approx(7 * feature_map, abs=8192)


def test_the_generator_alone_decides_the_weights() -> None:
    first, same, other = (supernet(seed).state_dict() for seed in (1, 1, 2))

    assert all(torch.equal(first[name], same[name]) for name in first)
    assert not torch.equal(first["stem.0.weight"], other["stem.0.weight"])
    conv = "stages.0.0.edges.3.candidates.3.1.weight"
    assert not torch.equal(first[conv], other[conv])


def trained(net: Supernet, steps: int) -> list[Tensor]:
    optimizer = torch.optim.SGD(net.parameters(), 0.1, 0.9)
    losses = []
    for step in range(steps):
        weights = hot(ALL[1 + step]) if step % 2 else soft(step).detach()
        loss = nn.functional.cross_entropy(net(images(8, seed=step), weights), torch.arange(8) % 3)
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
        losses.append(loss.detach())
    return losses


def test_equal_trainings_are_equal_bit_for_bit() -> None:
    nets = [supernet(), supernet()]
    losses = [trained(net, 4) for net in nets]

    assert torch.equal(torch.stack(losses[0]), torch.stack(losses[1]))
    states = [net.state_dict() for net in nets]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def test_a_supernet_lives_on_from_its_state_dict() -> None:
    net, other = supernet(), supernet(seed=9)
    trained(net, 3)
    other.load_state_dict(net.state_dict())

    assert torch.equal(net(images(), soft()), other(images(), soft()))
    assert torch.equal(net.eval()(images(), hot(FULL)), other.eval()(images(), hot(FULL)))


def test_recalibrated_statistics_are_those_of_a_fresh_network_on_the_batches() -> None:
    net = supernet()
    trained(net, 3)
    calibrating = [images(8, seed) for seed in range(3)]
    network = network_with_weights_of(net, FULL)
    norms = [layer for layer in network.modules() if isinstance(layer, nn.BatchNorm2d)]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None
    with torch.no_grad():
        for batch in calibrating:
            network(batch)

    recalibrate(net, hot(FULL), iter(calibrating))
    found = network_with_weights_of(net, FULL)
    assert len(norms) > 10
    for (name, one), other in zip(network.named_buffers(), found.buffers(), strict=True):
        assert torch.allclose(one.float(), other.float(), rtol=1e-4, atol=1e-5), name
    network.eval()
    net.eval()
    assert torch.allclose(network(images()), net(images(), hot(FULL)), rtol=1e-3, atol=1e-4)


def test_recalibration_forgets_what_was_before_and_leaves_the_rest_alone() -> None:
    fresh, used = supernet(), supernet()
    recalibrate(used, hot(ALL[1]), [images(8, 5)])
    used.get_submodule("stages.0").eval()
    modes = [module.training for module in used.modules()]
    before = {name: parameter.clone() for name, parameter in used.named_parameters()}

    for net in (fresh, used):
        recalibrate(net, hot(FULL), [images(8, 6)])
    assert all(torch.equal(one, other) for one, other in zip(fresh.buffers(), used.buffers(), strict=True))
    assert [module.training for module in used.modules()] == modes
    assert all(torch.equal(before[name], parameter) for name, parameter in used.named_parameters())
    momenta = {layer.momentum for layer in used.modules() if isinstance(layer, nn.BatchNorm2d)}
    assert momenta == {0.1}


def test_recalibration_on_nothing_is_refused_and_changes_nothing() -> None:
    net = stirred(supernet())
    before = {name: value.clone() for name, value in net.state_dict().items()}

    with pytest.raises(BadInputError, match="on no images at all"):
        recalibrate(net, hot(FULL), [])
    with pytest.raises(BadInputError, match="6 positions and 5 choices"):
        recalibrate(net, hot(FULL)[:5], [images()])
    assert all(torch.equal(before[name], value) for name, value in net.state_dict().items())


def test_an_auxiliary_skip_alone_is_a_cell_of_skips() -> None:
    net = supernet().eval()
    none, skips = one_hot((0,) * 6, 5), one_hot((1,) * 6, 5)
    expected = net(images(), skips)

    net.auxiliary_skip = 1.0
    assert torch.allclose(net(images(), none), expected, atol=1e-6)
    net.auxiliary_skip = 0.25
    assert torch.allclose(net(images(), 0.75 * skips), expected, atol=1e-5)
    net.auxiliary_skip = 0.0
    assert torch.equal(net(images(), skips), expected)


def test_partial_channels_cost_less_and_pass_something_on_whatever_the_weights() -> None:
    whole, part = supernet(), supernet(partial_channels=2)
    convolutions = [
        sum(parameter.numel() for name, parameter in net.named_parameters() if ".edges." in name)
        for net in (whole, part)
    ]

    assert convolutions[0] == 4 * convolutions[1]
    assert saved_bytes(part, images(32), soft()) < 0.7 * saved_bytes(whole, images(32), soft())
    logits = part(images(), one_hot((0,) * 6, 5))
    assert not torch.equal(logits[0], logits[1])


def test_a_supernet_trains_in_channels_last_memory() -> None:
    net = supernet()
    outputs = []
    for layer in net.modules():
        if isinstance(layer, CELL_LAYERS) and not (isinstance(layer, nn.Conv2d) and layer.kernel_size == (1, 1)):
            layer.register_forward_hook(lambda _layer, _inputs, output: outputs.append(output))
    net(images(), soft())
    assert len(outputs) > 30
    assert all(output.is_contiguous(memory_format=torch.channels_last) for output in outputs)


def test_bf16_activations_give_about_the_same_logits_and_gradients() -> None:
    net = supernet()
    weights, rounded = soft(), soft()

    logits = net(images(16), weights)
    with torch.autocast("cpu", torch.bfloat16):
        low = net(images(16), rounded)
    assert low.dtype == torch.bfloat16
    assert torch.allclose(low.float(), logits, atol=0.1)
    for output in (logits, low.float()):
        torch.autograd.backward(output.square().sum())
    assert weights.grad is not None
    assert rounded.grad is not None
    assert rounded.grad.dtype == torch.float32
    assert torch.nn.functional.cosine_similarity(weights.grad.flatten(), rounded.grad.flatten(), 0) > 0.95


def test_a_subnet_is_judged_as_any_network() -> None:
    net = supernet()
    recalibrate(net, hot(FULL), [images(32)])
    labels = net.eval()(images(32), hot(FULL)).argmax(dim=1)

    assert accuracy(Subnet(net, hot(FULL)), images(32), labels) == 100.0
    assert accuracy(Subnet(net, hot(FULL)), images(32), (labels + 1) % 3) == 0.0


def test_live_edges_are_those_of_paths_through_the_cell() -> None:
    routes = [((0, 3),), ((0, 1), (1, 3)), ((0, 2), (2, 3)), ((0, 1), (1, 2), (2, 3))]
    for number in range(2**6):
        passing = [bool(number >> edge & 1) for edge in range(6)]
        present = {edge for edge, passes in zip(EDGES, passing, strict=True) if passes}
        on_routes = {edge for route in routes if present.issuperset(route) for edge in route}
        assert live_edges(passing) == tuple(edge in on_routes for edge in EDGES)


@pytest.mark.parametrize("shape", [(6, 4), (5, 6), (30,)])
def test_weights_of_another_space_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(BadInputError, match=r"6 positions and 5 choices, not by \("):
        supernet()(images(), torch.ones(shape))


def test_channels_that_cannot_be_parted_are_refused() -> None:
    with pytest.raises(BadInputError, match="4 channels cannot be parted into 3 equal parts"):
        supernet(partial_channels=3)
    with pytest.raises(BadInputError, match="partial_channels must be at least 1, not 0"):
        SupernetOptions(partial_channels=0)
