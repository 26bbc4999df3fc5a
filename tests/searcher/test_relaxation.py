import pytest
import torch

from searcher.search.differentiable.relaxation import ALL_PATHS, perturbed, sample_weights
from searcher.search.differentiable.schedule import auxiliary_skip, learning_rate, temperature
from searcher.search.differentiable.settings import DartsSettings
from searcher.search.differentiable.simplex import gumbel_noise


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def noisy_logits(dtype: torch.dtype = torch.float32) -> torch.Tensor:
    source = generator()
    logits = torch.randn(40, 5, generator=source, dtype=torch.float64).to(dtype)
    return logits + gumbel_noise(logits, source)


def test_one_path_is_exactly_one_hot_with_the_gradient_of_the_soft_sample() -> None:
    logits = noisy_logits().requires_grad_()
    direction = torch.randn(40, 5, generator=generator(1))
    hard, soft = sample_weights(logits, 0.7, paths=1), sample_weights(logits, 0.7, ALL_PATHS)
    assert set(hard.detach().flatten().tolist()) == {0.0, 1.0}
    assert torch.equal(hard.sum(dim=1), torch.ones(40))
    assert torch.equal(hard.argmax(dim=1), logits.argmax(dim=1))
    gradients = [torch.autograd.grad((weights * direction).sum(), logits)[0] for weights in (hard, soft)]
    torch.testing.assert_close(*gradients)
    assert gradients[0].abs().max() > 0.1


@pytest.mark.parametrize("paths", [2, 4])
def test_some_paths_are_the_likeliest_and_the_others_exactly_nothing(paths: int) -> None:
    logits = noisy_logits().requires_grad_()
    weights = sample_weights(logits, 0.7, paths)
    assert ((weights != 0).sum(dim=1) == paths).all()
    torch.testing.assert_close(weights.sum(dim=1), torch.ones(40))
    assert (weights.detach().topk(paths).indices == logits.detach().topk(paths).indices).all()
    (gradient,) = torch.autograd.grad((weights * weights).sum(), logits)
    assert gradient.isfinite().all()
    assert torch.equal(gradient != 0, weights != 0)


def test_all_paths_are_a_softmax_that_hardens_as_it_cools() -> None:
    logits = noisy_logits(torch.float64)
    torch.testing.assert_close(sample_weights(logits, 0.5, ALL_PATHS), torch.softmax(2 * logits, dim=1))
    assert torch.equal(sample_weights(logits, 0.5, 5), sample_weights(logits, 0.5, ALL_PATHS))
    largest = [sample_weights(logits, at, ALL_PATHS).amax(dim=1).mean().item() for at in (2.0, 1.0, 0.2)]
    assert largest == sorted(largest)


def test_samples_are_distributed_as_the_softmax_of_their_logits() -> None:
    logits = torch.log(torch.tensor([0.1, 0.2, 0.7])).expand(6000, 3)
    drawn = sample_weights(logits + gumbel_noise(logits, generator()), 1.0, paths=1)
    torch.testing.assert_close(drawn.mean(dim=0), torch.tensor([0.1, 0.2, 0.7]), atol=0.02, rtol=0)


def test_perturbed_weights_stay_weights_near_by() -> None:
    weights = sample_weights(noisy_logits(), 1.0, ALL_PATHS)
    moved = perturbed(weights, 0.05, generator())
    assert (moved >= 0).all()
    torch.testing.assert_close(moved.sum(dim=1), torch.ones(40))
    assert 0.005 < (moved - weights).abs().max() < 0.2
    assert torch.equal(moved, perturbed(weights, 0.05, generator()))


def test_a_position_whose_weights_all_fell_keeps_them() -> None:
    even = torch.full((300, 2), 0.5)
    moved = perturbed(even, 5.0, generator())
    assert moved.isfinite().all()
    assert (moved == 0.5).all(dim=1).any()


def test_schedules_run_from_their_first_to_their_last_epoch() -> None:
    settings = DartsSettings(epochs=11, warm_up_epochs=1, auxiliary_skip=0.8, temperature_from=1.0, temperature_to=0.5)
    assert [temperature(settings, epoch) for epoch in (0, 1, 10)] == pytest.approx([1, 1, 0.5])
    assert [auxiliary_skip(settings, epoch) for epoch in (0, 5, 10)] == pytest.approx([0.8, 0.4, 0])
    rates = [learning_rate(settings, epoch) for epoch in range(11)]
    assert rates[0] == settings.learning_rate
    assert rates == sorted(rates, reverse=True)
    assert settings.least_learning_rate < rates[-1] < 0.1 * rates[0]
    assert temperature(DartsSettings(epochs=1, warm_up_epochs=0, temperature_from=1.0), 0) == 1
