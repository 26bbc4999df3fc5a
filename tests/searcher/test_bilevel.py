"""Steps of the bilevel search, against derivatives that are known."""

import pytest
import torch
from torch import Tensor

from searcher.errors import BadInputError
from searcher.networks.supernet import SupernetOptions
from searcher.networks.supernets import build_supernet
from searcher.search.differentiable.bilevel import (
    Learners,
    draw_structure,
    second_order_gradient,
    structure_step,
    task_loss,
    weight_step,
)
from searcher.search.differentiable.hypernetwork import build_hypernetwork
from searcher.search.differentiable.paths import TrainingPaths
from searcher.search.differentiable.settings import DartsSettings
from searcher.search.differentiable.simplex import gumbel_noise
from searcher.training.halves import Batch, BatchSettings, paired_batches
from tests.searcher.darts_parts import CONTROL, COSTS, SMALL, halves

SETTINGS = DartsSettings(batch_size=16, structure_learning_rate=0.1)


pytestmark = pytest.mark.usefixtures("one_thread")


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def learners(settings: DartsSettings = SETTINGS) -> Learners:
    supernet = build_supernet(SMALL, SupernetOptions(), generator())
    return Learners.of(supernet, build_hypernetwork(CONTROL, 6, 5, generator()), settings)


def pair_of_batches() -> tuple[Batch, Batch]:
    return next(paired_batches(halves(), BatchSettings(16, 0), generator()))


def values(parameters: object) -> list[Tensor]:
    return [parameter.detach().clone() for parameter in parameters]  # type: ignore[attr-defined]


def quadratic(size: int, seed: int) -> tuple[Tensor, Tensor]:
    """A positive definite matrix and a coupling of weights and structure."""
    source = generator(seed)
    root = torch.randn(size, size, generator=source, dtype=torch.float64)
    return root @ root.T / size, torch.randn(size, 3, generator=source, dtype=torch.float64)


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_the_second_order_is_the_exact_gradient_through_a_step_on_a_quadratic_problem(momentum: float) -> None:
    matrix, coupling = quadratic(4, 1)
    other, mixed = quadratic(4, 2)
    source = generator(3)
    weights = torch.randn(4, generator=source, dtype=torch.float64, requires_grad=True)
    structure = torch.randn(3, generator=source, dtype=torch.float64, requires_grad=True)
    drift = momentum * torch.randn(4, generator=source, dtype=torch.float64)
    rate, before = 0.3, weights.detach().clone()

    def training(at: Tensor) -> Tensor:
        return at @ matrix @ at / 2 + at @ coupling @ structure

    def validation(at: Tensor) -> Tensor:
        return at @ other @ at / 2 + at @ mixed @ structure + structure.square().sum()

    stepped = weights - rate * (matrix @ weights + coupling @ structure + drift)
    (exact,) = torch.autograd.grad(validation(stepped), structure)
    (found,) = second_order_gradient(
        [weights], [structure], [drift], rate, lambda: training(weights), lambda: validation(weights)
    )
    torch.testing.assert_close(found, exact, rtol=1e-9, atol=1e-9)
    (first_order,) = torch.autograd.grad(validation(weights), structure)
    assert (exact - first_order).norm() > 0.1  # so that the test can tell them apart
    assert torch.equal(weights, before)


def test_the_second_order_leaves_the_supernet_as_it_was_and_moves_the_structure() -> None:
    settings = DartsSettings(batch_size=16, learning_rate=0.025, structure_learning_rate=0.1, second_order=True)
    second, first = learners(settings), learners()
    pair = pair_of_batches()
    for one in (second, first):  # gives momentum to go on with
        weight_step(one, pair[0], TrainingPaths(SMALL, 1.0).draw(generator(2)), settings)
    weights = values(second.supernet.parameters())
    draw = draw_structure(CONTROL, second.hypernetwork, 1.0, 0, generator(1))
    losses = structure_step(second, CONTROL, COSTS, draw, pair, settings)
    assert all(torch.equal(*both) for both in zip(weights, second.supernet.parameters(), strict=True))
    structure_step(first, CONTROL, COSTS, draw, pair, SETTINGS)
    tables = second.hypernetwork.tables, first.hypernetwork.tables
    assert all(table.grad is not None for table in tables)
    difference = (tables[0].grad - tables[1].grad).norm()  # type: ignore[operator]
    assert 0 < difference < 2 * tables[1].grad.norm()  # type: ignore[union-attr]
    assert losses[0].isfinite()


def test_a_structure_step_follows_the_gradient_of_the_objective_at_its_point() -> None:
    both = learners()
    pair = pair_of_batches()
    draw = draw_structure(CONTROL, both.hypernetwork, 0.8, 0, generator(1))
    before = both.hypernetwork.tables.detach().clone()
    weights = values(both.supernet.parameters())
    task, total = structure_step(both, CONTROL, COSTS, draw, pair, SETTINGS)
    mixture = draw.weights(both.hypernetwork(draw.point).detach())
    assert task.item() > 1
    prices = CONTROL.prices(draw.point)
    structure = torch.softmax(torch.tensordot(both.hypernetwork.weights(draw.point).float(), before, dims=1), dim=1)
    extra = prices.complexity * COSTS.complexity_ratio(structure) + prices.latency @ COSTS.latency_ratio(structure)
    assert total.item() == pytest.approx(task.item() + extra.item(), rel=1e-6)
    gradient = both.hypernetwork.tables.grad
    assert gradient is not None
    moved = both.hypernetwork.tables - before
    assert (moved * gradient).sum() < 0
    # A structure step leaves the weights, and no gradient for the next weight step.
    assert all(torch.equal(*pairs) for pairs in zip(weights, both.supernet.parameters(), strict=True))
    assert all(parameter.grad is None for parameter in both.supernet.parameters())
    assert mixture.shape == (6, 5)


def test_the_gradient_of_a_structure_step_is_that_of_finite_differences() -> None:
    both = learners()
    both.supernet.double()
    both.hypernetwork.double()
    (images, labels), (other, targets) = pair_of_batches()
    pair = ((images.double(), labels), (other.double(), targets))
    draw = draw_structure(CONTROL, both.hypernetwork, 1.0, 0, generator(1))
    tables = both.hypernetwork.tables
    before = tables.detach().clone()
    direction = torch.randn(before.shape, generator=generator(5)).double()
    totals = []
    for step in (1e-3, -1e-3, 0.0):
        with torch.no_grad():
            tables.copy_(before + step * direction)
        totals.append(structure_step(both, CONTROL, COSTS, draw, pair, SETTINGS)[1].item())
    assert tables.grad is not None
    slope = (totals[0] - totals[1]) / 2e-3
    # The task's loss is computed in fp32 at its end, the costs in float64.
    assert (tables.grad * direction).sum().item() == pytest.approx(slope, rel=0.02, abs=1e-2)


def test_a_weight_step_trains_the_drawn_path_alone() -> None:
    both = learners()
    path = torch.zeros(6, 5)
    path[:, 1] = 1  # skips
    path[0] = torch.eye(5)[3]  # a 3×3 convolution on the first edge
    before = {name: value.detach().clone() for name, value in both.supernet.named_parameters()}
    loss, right = weight_step(both, pair_of_batches()[0], path, SETTINGS)
    changed = {name for name, now in both.supernet.named_parameters() if not torch.equal(now, before[name])}
    in_cells = {name for name in changed if "edges" in name}
    assert in_cells
    assert all("edges.0.candidates.3." in name for name in in_cells)
    assert any(name.startswith("head") for name in changed)
    assert 0 <= right.item() <= 16
    assert loss.item() > 1


def test_weight_steps_learn() -> None:
    both, batch = learners(), pair_of_batches()[0]
    mixture = torch.full((6, 5), 0.2)
    losses = [weight_step(both, batch, mixture, SETTINGS)[0].item() for _ in range(8)]
    assert losses[-1] < 0.9 * losses[0]
    assert task_loss(both.supernet, batch, mixture, "fp32")[0].item() < losses[0]


def test_bf16_losses_are_near_those_of_fp32() -> None:
    both, batch = learners(), pair_of_batches()[0]
    mixture = torch.full((6, 5), 0.2)
    exact, rounded = (task_loss(both.supernet, batch, mixture, precision)[0] for precision in ("fp32", "bf16"))
    assert rounded.dtype == torch.float32
    assert rounded.item() == pytest.approx(exact.item(), rel=0.05)
    assert rounded.item() != exact.item()


def test_draws_come_from_the_generator_alone() -> None:
    hypernetwork = learners().hypernetwork
    first, second = (draw_structure(CONTROL, hypernetwork, 1.0, 1, generator(4)) for _ in range(2))
    assert torch.equal(first.point, second.point)
    assert torch.equal(first.noise, second.noise)
    assert first.noise.shape == gumbel_noise(torch.zeros(6, 5), generator()).shape


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"epochs": 3, "warm_up_epochs": 3}, "leave none"),
        ({"batch_size": 1}, "batch_size must be at least 2"),
        ({"learning_rate": 0.0}, "learning_rate must be a positive number"),
        ({"least_learning_rate": 1.0}, "above the first"),
        ({"momentum": 1.0}, "momentum"),
        ({"uniform_share": 1.5}, "uniform_share"),
        ({"structure_betas": (0.5, 1.0)}, "betas"),
        ({"perturbation": 0.1}, "weight_paths must be 0"),
        ({"structure_samples": 1}, "nothing to be held against"),
        ({"structure_samples": 4, "second_order": True}, "second order"),
        ({"precision": "fp8"}, "fp8"),
        ({"temperature_to": float("nan")}, "temperature_to"),
        ({"weight_decay": -1.0}, "weight_decay must not be negative"),
        ({"seed": 2**63}, "a seed lies between"),
        ({"skip_limit": -1}, "skip_limit"),
    ],
)
def test_settings_with_which_nothing_is_found_are_refused(wrong: dict[str, object], words: str) -> None:
    with pytest.raises(BadInputError, match=words):
        DartsSettings(**wrong)  # type: ignore[arg-type]
