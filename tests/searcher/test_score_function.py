"""The gradient from sampled architectures, against that of an expectation that can be enumerated."""

import itertools

import pytest
import torch

from searcher.networks.supernet import SupernetOptions
from searcher.networks.supernets import build_supernet
from searcher.search.differentiable.bilevel import Learners
from searcher.search.differentiable.hypernetwork import build_hypernetwork
from searcher.search.differentiable.score_function import (
    PathDraws,
    draw_paths,
    leave_one_out,
    sampled_structure_step,
)
from searcher.search.differentiable.settings import DartsSettings
from searcher.search.differentiable.simplex import gumbel_noise
from searcher.training.halves import BatchSettings, batches
from tests.searcher.darts_parts import CONTROL, COSTS, SMALL, halves

SETTINGS = DartsSettings(structure_samples=3, structure_learning_rate=0.1)


pytestmark = pytest.mark.usefixtures("one_thread")


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_the_mean_over_many_draws_is_the_gradient_of_the_expected_loss() -> None:
    logits = torch.randn(2, 3, generator=generator(), dtype=torch.float64).requires_grad_()
    losses = 5 + 3 * torch.randn(3, 3, generator=generator(1), dtype=torch.float64)
    first, second = torch.softmax(logits, dim=1)
    expected = sum(first[i] * second[j] * losses[i, j] for i, j in itertools.product(range(3), repeat=2))
    (exact,) = torch.autograd.grad(expected, logits)
    noise = gumbel_noise(torch.zeros(40_000, 4, 2, 3, dtype=torch.float64), generator(2))
    chosen = (logits.detach() + noise).argmax(dim=-1)
    logs = torch.log_softmax(logits, dim=1)
    log_probabilities = logs[0][chosen[..., 0]] + logs[1][chosen[..., 1]]
    surrogate = leave_one_out(losses[chosen[..., 0], chosen[..., 1]], log_probabilities).mean()
    (found,) = torch.autograd.grad(surrogate, logits)
    torch.testing.assert_close(found, exact, atol=0.036, rtol=0)
    assert exact.abs().max() > 0.2


def test_equal_losses_say_nothing() -> None:
    logs = torch.randn(4, generator=generator(), requires_grad=True)
    (gradient,) = torch.autograd.grad(leave_one_out(torch.full((4,), 2.5), logs), logs)
    assert torch.equal(gradient, torch.zeros(4))


def test_a_step_follows_sampled_architectures_and_leaves_the_weights() -> None:
    supernet = build_supernet(SMALL, SupernetOptions(), generator())
    learners = Learners.of(supernet, build_hypernetwork(CONTROL, 6, 5, generator()), SETTINGS)
    before = {name: value.clone() for name, value in supernet.named_parameters()}
    batch = next(batches(halves(16).validation, BatchSettings(8, 0), generator()))
    task_vertex = torch.tensor([1.0, 0, 0, 0], dtype=torch.float64)  # where nothing has a price
    noises = torch.zeros(3, 6, 5)
    for sample, choice in enumerate((3, 3, 0)):  # two cells of convolutions, and one of nothing
        noises[sample, :, choice] = 50
    tables = learners.hypernetwork.tables
    task, total = sampled_structure_step(
        learners, CONTROL, COSTS, PathDraws(task_vertex, noises, task_vertex[None]), batch, SETTINGS
    )
    assert task.item() == pytest.approx(total.item())
    assert all(torch.equal(before[name], value) for name, value in supernet.named_parameters())
    assert all(value.grad is None for value in supernet.parameters())
    assert tables.grad is not None
    gradient = tables.grad[-1].mean(dim=0)  # the last pivot is the task's
    assert gradient[3] == pytest.approx(-gradient[0].item(), rel=1e-4)
    assert gradient[3] != 0
    # Losses above and below the mean cancel out in what was not drawn.
    assert gradient[[1, 2, 4]].abs().max() < 1e-4 * gradient[3].abs()


def test_samples_are_drawn_at_one_point_with_noise_of_their_own() -> None:
    hypernetwork = build_hypernetwork(CONTROL, 6, 5, generator())
    draws = draw_paths(CONTROL, hypernetwork, 4, generator(3))
    assert draws.point.shape == (CONTROL.dimension,)
    assert draws.noises.shape == (4, 6, 5)
    assert not torch.equal(draws.noises[0], draws.noises[1])
    assert torch.equal(draws.noises, draw_paths(CONTROL, hypernetwork, 4, generator(3)).noises)
