"""A structure's gradient from whole architectures: each sample is one path, computed without a gradient.

A mixture of all choices is a network that nobody derives, and what is good in it need not be good alone. Here the
task's part of the objective is the expected loss of one-hot structures themselves,

    ∇ E[L(path)] = E[(L(path) - baseline) · ∇ log p(path)]

where each sample's baseline is the mean loss of the others on the same images, which leaves the estimate unbiased.

Source: Williams 1992 (REINFORCE); the baseline is of Kool, van Hoof and Welling, "Buy 4 REINFORCE Samples, Get a
Baseline for Free!", 2019. ProxylessNAS (Cai, Zhu and Han 2019) offers REINFORCE in the place of relaxed paths too.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from searcher.networks.supernet import one_hot
from searcher.search.differentiable.bilevel import Learners, task_loss
from searcher.search.differentiable.control import Control
from searcher.search.differentiable.costs import StructureCosts
from searcher.search.differentiable.hypernetwork import Hypernetwork, structure_logits
from searcher.search.differentiable.objective import expected_objective
from searcher.search.differentiable.settings import DartsSettings
from searcher.search.differentiable.simplex import gumbel_noise
from searcher.training.halves import Batch


@dataclass(frozen=True, eq=False)
class PathDraws:
    """Some architectures at one point of control.

    Attributes:
        point: (dimension,).
        noises: (samples, positions, choices) Gumbel variables; with the logits they choose.
        points: (n, dimension) at which prices are looked at, the point and others.
    """

    point: Tensor
    noises: Tensor
    points: Tensor


def draw_paths(
    control: Control, hypernetwork: Hypernetwork, samples: int, generator: torch.Generator, price_points: int = 1
) -> PathDraws:
    """Draw a point, the noise of so many samples there, and the other points of so many that prices are looked at."""
    point = control.draw(generator)
    like = hypernetwork.tables.detach()[0].expand(samples, -1, -1)
    noises = gumbel_noise(like, generator)
    others = [control.draw(generator) for _ in range(price_points - 1)]
    return PathDraws(point, noises, torch.stack([point, *others]))


def sampled_structure_step(
    learners: Learners,
    control: Control,
    costs: StructureCosts,
    draws: PathDraws,
    batch: Batch,
    settings: DartsSettings,
) -> tuple[Tensor, Tensor]:
    """Train the hypernetwork by the losses of sampled architectures on one batch of the validation half.

    Returns:
        The mean loss of the samples and the whole objective, both before the step.
    """
    logits = structure_logits(control, learners.hypernetwork, draws.point)
    chosen = (logits.detach() + draws.noises).argmax(dim=-1)
    with torch.no_grad():
        losses = torch.stack(
            [
                task_loss(learners.supernet, batch, one_hot(path, logits.shape[-1]), settings.precision)[0]
                for path in chosen.tolist()
            ]
        ).cpu()
    log_probabilities = torch.log_softmax(logits, dim=-1).expand(len(chosen), -1, -1)
    of_paths = log_probabilities.gather(-1, chosen[..., None]).sum(dim=(1, 2))
    task = losses.mean()
    surrogate = leave_one_out(losses, of_paths)
    # The surrogate's value means nothing: only its gradient is added.
    loss = task + (surrogate - surrogate.detach())
    total = expected_objective(loss, draws.points, control, learners.hypernetwork, costs)
    learners.structure_optimizer.zero_grad()
    torch.autograd.backward(total)
    learners.structure_optimizer.step()
    return task, total.detach()


def leave_one_out(losses: Tensor, log_probabilities: Tensor) -> Tensor:
    """Return what has the gradient of the expected loss: the mean of (loss - mean of the others) · log probability.

    Args:
        losses: (…, samples) of independent samples, at least two.
        log_probabilities: (…, samples) of the same, with a gradient.

    Returns:
        (…).
    """
    samples = losses.shape[-1]
    others = (losses.sum(dim=-1, keepdim=True) - losses) / (samples - 1)
    return ((losses - others) * log_probabilities).mean(dim=-1)
