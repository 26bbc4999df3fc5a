"""What is known to go wrong in a differentiable search, made visible: skips, sharp valleys, prices without effect."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from searcher.cost_models.agreement import spearman
from searcher.search.differentiable.control import COMPLEXITY, Control
from searcher.search.differentiable.costs import StructureCosts
from searcher.search.differentiable.hypernetwork import Hypernetwork, structure_logits
from searcher.spaces.architecture import Architecture

_DECIMALS = 6  # of ratios; what differs behind them is rounding, as logits are fp32
_SHARPENED = 0.75  # RobustDARTS's bound on the mean eigenvalue then ÷ now


def skip_counts(architectures: Iterable[Architecture], skip: int) -> list[int]:
    """Return how many positions of each architecture are skip connections; `skip` is the choice's index."""
    return [architecture.genotype.count(skip) for architecture in architectures]


def collapsed(skips: Sequence[int], limit: int) -> bool:
    """Tell whether more than half of a family has more skip connections than the limit.

    DARTS+ (Liang et al. 2019, criterion 1) stops a search when its one cell has more than a number of them. In a
    family some points pay for latency, and skips are what they should buy: one cell of skips is no collapse yet.

    Args:
        skips: of cells derived all over the control, at least one.
        limit: the most that a cell may have.
    """
    return statistics.median_low(skips) > limit


def dominant_eigenvalue(
    loss: Tensor, variables: Tensor, generator: torch.Generator, iterations: int = 10, tolerance: float = 1e-3
) -> float:
    """Return the eigenvalue of largest magnitude of the Hessian of a loss, by power iteration.

    A structure that generalises badly lies where it is large (Zela et al., RobustDARTS, ICLR 2020, section 4).

    Args:
        loss: a scalar whose graph of the first derivatives can be differentiated again.
        variables: what the loss is derived with respect to, a leaf or an intermediate of its graph.
        generator: on the CPU, of the first direction.
        iterations: Hessian-vector products at most.
        tolerance: relative change of the eigenvalue at which the iteration ends.
    """
    (gradient,) = torch.autograd.grad(loss, variables, create_graph=True)
    direction = torch.randn(variables.shape, generator=generator, dtype=torch.float64).to(variables)
    direction /= direction.norm()
    eigenvalue = 0.0
    for _ in range(iterations):
        (product,) = torch.autograd.grad(gradient, variables, direction, retain_graph=True)
        before, eigenvalue = eigenvalue, float((direction * product).sum())
        length = product.norm()
        if length == 0 or abs(eigenvalue - before) <= tolerance * abs(eigenvalue):
            break
        direction = product / length
    return eigenvalue


def sharpened(eigenvalues: Sequence[float], window: int) -> bool:
    """Tell whether the mean of the last `window` dominant eigenvalues is a third above that of the window before.

    Source: RobustDARTS's early stopping, mean then ÷ mean now < 0.75 (Zela et al. 2020, section 4.3). Eigenvalues that
    are not positive are no sharp valley, and stop nothing.

    Args:
        eigenvalues: one an epoch, the newest last.
        window: epochs, at least 1.
    """
    if len(eigenvalues) < 2 * window:
        return False
    now = statistics.fmean(eigenvalues[-window:])
    then = statistics.fmean(eigenvalues[-2 * window : -window])
    return 0 < then < _SHARPENED * now


@dataclass(frozen=True)
class Monotony:
    """How the expected cost of a thing goes with its price.

    Attributes:
        costs: expected parameters over the reference's, or expected latency over the reference's, along the ladder on
            which the price rises from 0 or its lowest to its dearest.
        spearman: rank correlation of price and cost, -1 where the cost falls with every rise of the price; None where
            the cost is the same everywhere.
        rises: share of the rungs on which the cost rises with the price.
    """

    costs: tuple[float, ...]
    spearman: float | None
    rises: float


def monotony(
    control: Control, hypernetwork: Hypernetwork, costs: StructureCosts, divisions: int
) -> Mapping[str, Monotony]:
    """Tell whether what is dearer is also less: along the ladder of each price that a control changes.

    Args:
        control: whose ladders are climbed.
        hypernetwork: of the structure.
        costs: of structures, with the devices of the control.
        divisions: rungs of a ladder.
    """
    found = {}
    with torch.no_grad():
        for name, points in control.ladders(divisions).items():
            structures = [torch.softmax(structure_logits(control, hypernetwork, point), dim=-1) for point in points]
            along = [round(_ratio(name, structure, costs), _DECIMALS) for structure in structures]
            rungs = np.arange(len(along), dtype=np.float64)
            rises = float(np.mean(np.diff(along) > 0))
            found[name] = Monotony(tuple(along), spearman(rungs, np.array(along)), rises)
    return found


def mean_entropy(logits: Tensor) -> float:
    """Return the mean entropy of the choices over positions, from 0 (decided) to 1 (uniform).

    Args:
        logits: (positions, choices).
    """
    log_probabilities = torch.log_softmax(logits.detach().double(), dim=-1)
    entropies = -(log_probabilities.exp() * log_probabilities).sum(dim=-1)
    return float(entropies.mean()) / math.log(logits.shape[-1])


def _ratio(name: str, structure: Tensor, costs: StructureCosts) -> float:
    if name == COMPLEXITY:
        return float(costs.complexity_ratio(structure))
    return float(costs.latency_ratio(structure)[costs.devices.index(name)])
