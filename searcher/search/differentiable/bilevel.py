"""The two steps of a bilevel search: weights learn from the training half, the structure from the validation half.

Source: Liu, Simonyan and Yang, "DARTS: Differentiable Architecture Search", ICLR 2019, section 2.3 and algorithm 1.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from searcher.networks.supernet import Supernet
from searcher.search.differentiable.control import Control
from searcher.search.differentiable.costs import StructureCosts
from searcher.search.differentiable.hypernetwork import Hypernetwork, structure_logits
from searcher.search.differentiable.objective import expected_objective
from searcher.search.differentiable.relaxation import sample_weights
from searcher.search.differentiable.settings import BF16, DartsSettings
from searcher.search.differentiable.simplex import gumbel_noise
from searcher.training.halves import Batch

_DIFFERENCE_NORM = 0.01  # of the step along which a Hessian-vector product is a finite difference


@dataclass(frozen=True, eq=False)
class Learners:
    """What is learned, and what learns it.

    Attributes:
        supernet: with the weights.
        hypernetwork: with the structure, on the CPU.
        weight_optimizer: SGD of the supernet.
        structure_optimizer: Adam of the hypernetwork.
    """

    supernet: Supernet
    hypernetwork: Hypernetwork
    weight_optimizer: torch.optim.SGD
    structure_optimizer: torch.optim.Adam

    @classmethod
    def of(cls, supernet: Supernet, hypernetwork: Hypernetwork, settings: DartsSettings) -> Learners:
        """Give a supernet and a hypernetwork fresh optimisers."""
        weights = torch.optim.SGD(
            supernet.parameters(),
            lr=settings.learning_rate,
            momentum=settings.momentum,
            weight_decay=settings.weight_decay,
        )
        structure = torch.optim.Adam(
            hypernetwork.parameters(),
            lr=settings.structure_learning_rate,
            betas=settings.structure_betas,
            weight_decay=settings.structure_decay,
        )
        return cls(supernet, hypernetwork, weights, structure)


@dataclass(frozen=True, eq=False)
class StructureDraw:
    """One sampled structure: a point of control, and the noise that makes a sample of its logits.

    Attributes:
        point: (dimension,).
        noise: (positions, choices) Gumbel variables.
        temperature: of the relaxation.
        paths: choices a position that are computed; 0 is all.
        points: (n, dimension) at which prices are looked at, the point and others.
    """

    point: Tensor
    noise: Tensor
    temperature: float
    paths: int
    points: Tensor

    def weights(self, logits: Tensor) -> Tensor:
        """Return the weights of a mixture, (positions, choices), from the logits at the point."""
        return sample_weights(logits + self.noise, self.temperature, self.paths)


def draw_structure(
    control: Control,
    hypernetwork: Hypernetwork,
    temperature: float,
    paths: int,
    generator: torch.Generator,
    price_points: int = 1,
) -> StructureDraw:
    """Draw a point, the noise, and the other points of so many that prices are looked at.

    The structure at the points is not computed yet.
    """
    point = control.draw(generator)
    noise = gumbel_noise(hypernetwork.tables[0], generator)
    others = [control.draw(generator) for _ in range(price_points - 1)]
    return StructureDraw(point, noise, temperature, paths, torch.stack([point, *others]))


def task_loss(supernet: Supernet, batch: Batch, weights: Tensor, precision: str) -> tuple[Tensor, Tensor]:
    """Return the cross-entropy in fp32 and the number of images classified rightly, both scalars.

    Args:
        supernet: in training mode; batch and weights are brought to its device.
        batch: images and labels.
        weights: of the mixture, (positions, choices).
        precision: of activations, fp32 or bf16.
    """
    device = next(supernet.parameters()).device
    images, labels = (part.to(device, non_blocking=True) for part in batch)
    with torch.autocast(device.type, torch.bfloat16, enabled=precision == BF16):
        logits = supernet(images, weights.to(device))
    loss = functional.cross_entropy(logits.float(), labels)
    return loss, (logits.detach().argmax(dim=1) == labels).sum()


def weight_step(learners: Learners, batch: Batch, weights: Tensor, settings: DartsSettings) -> tuple[Tensor, Tensor]:
    """Train the supernet on one batch under the given mixture; return the loss before, and how many were right."""
    learners.weight_optimizer.zero_grad()
    loss, right = task_loss(learners.supernet, batch, weights.detach(), settings.precision)
    torch.autograd.backward(loss)
    torch.nn.utils.clip_grad_norm_(learners.supernet.parameters(), settings.gradient_norm)
    learners.weight_optimizer.step()
    return loss.detach(), right


def structure_step(
    learners: Learners,
    control: Control,
    costs: StructureCosts,
    draw: StructureDraw,
    batches: tuple[Batch, Batch],
    settings: DartsSettings,
) -> tuple[Tensor, Tensor]:
    """Train the hypernetwork on one batch at one point of control.

    Args:
        learners: of the search; the supernet's weights are afterwards as they were.
        control: that gives the point its meaning.
        costs: of structures.
        draw: the sampled structure.
        batches: of the training half, which only the second order reads, and of the validation half.
        settings: of the search.

    Returns:
        The task's loss on the validation batch and the whole objective, both before the step.
    """
    training, validation = batches
    losses: list[Tensor] = []

    def loss_on(batch: Batch) -> Tensor:
        weights = draw.weights(structure_logits(control, learners.hypernetwork, draw.point))
        return task_loss(learners.supernet, batch, weights, settings.precision)[0]

    def validation_objective() -> Tensor:
        task = loss_on(validation)
        total = expected_objective(task, draw.points, control, learners.hypernetwork, costs)
        losses.extend((task.detach(), total.detach()))
        return total

    structure = list(learners.hypernetwork.parameters())
    if settings.second_order:
        parameters = list(learners.supernet.parameters())
        drifts = [_drift(learners.weight_optimizer, parameter) for parameter in parameters]
        rate = learners.weight_optimizer.param_groups[0]["lr"]
        gradients = second_order_gradient(
            parameters, structure, drifts, rate, lambda: loss_on(training), validation_objective
        )
    else:
        gradients = _gradients(validation_objective(), structure)
    for parameter, gradient in zip(structure, gradients, strict=True):
        parameter.grad = gradient
    learners.structure_optimizer.step()
    return losses[0], losses[1]


def second_order_gradient(
    parameters: Sequence[Tensor],
    structure: Sequence[Tensor],
    drifts: Sequence[Tensor],
    rate: float,
    training_loss: Callable[[], Tensor],
    validation_loss: Callable[[], Tensor],
) -> list[Tensor]:
    """Return the structure's gradient through one step of the weights (DARTS, Eqs. 7 and 8).

    With w' = w - rate · (∇w L_train(w, a) + drift) it is

        ∇a L_val(w', a) - rate · ∇²a,w L_train(w, a) · ∇w' L_val(w', a)

    where the product with the mixed derivatives is a finite difference between two points on both sides of w.

    Args:
        parameters: w; changed meanwhile and afterwards as they were, bit for bit.
        structure: a.
        drifts: what the optimiser adds to each parameter's gradient: momentum and weight decay.
        rate: ξ, of the weights' step.
        training_loss: computes L_train(w, a) from the present values.
        validation_loss: computes L_val(w, a) from the present values; is called once.
    """
    before = [parameter.detach().clone() for parameter in parameters]
    steps = [step + drift for step, drift in zip(_gradients(training_loss(), parameters), drifts, strict=True)]
    try:
        _set(parameters, before, steps, -rate)
        both = _gradients(validation_loss(), [*structure, *parameters])
        direct, vectors = both[: len(structure)], both[len(structure) :]
        norm = torch.stack([vector.norm() for vector in vectors]).norm()
        if norm == 0:
            return direct
        reach = float(_DIFFERENCE_NORM / norm)
        sides = []
        for sign in (1, -1):
            _set(parameters, before, vectors, sign * reach)
            sides.append(_gradients(training_loss(), structure))
    finally:
        _set(parameters, before, before, 0.0)
    above, below = sides
    products = [(high - low) / (2 * reach) for high, low in zip(above, below, strict=True)]
    return [gradient - rate * product for gradient, product in zip(direct, products, strict=True)]


def _gradients(loss: Tensor, variables: Sequence[Tensor]) -> list[Tensor]:
    """Return the gradients; 0 where the loss does not depend on a variable, such as a path that was not computed."""
    found = torch.autograd.grad(loss, list(variables), allow_unused=True)
    return [
        torch.zeros_like(variable) if gradient is None else gradient
        for variable, gradient in zip(variables, found, strict=True)
    ]


def _set(parameters: Sequence[Tensor], before: Sequence[Tensor], directions: Sequence[Tensor], length: float) -> None:
    with torch.no_grad():
        for parameter, start, direction in zip(parameters, before, directions, strict=True):
            parameter.copy_(start if length == 0 else start + length * direction)


def _drift(optimizer: torch.optim.SGD, parameter: Tensor) -> Tensor:
    """Return what SGD adds to a parameter's gradient in its next step."""
    group = optimizer.param_groups[0]
    buffer = optimizer.state[parameter].get("momentum_buffer")
    decay: Tensor = group["weight_decay"] * parameter.detach()
    return decay if buffer is None else decay + group["momentum"] * buffer
