"""What a structure is trained to make small: L + λ · Reg + Σ over devices of κ · Latency."""

from __future__ import annotations

import torch
from torch import Tensor

from searcher.search.differentiable.control import Control, Prices
from searcher.search.differentiable.costs import StructureCosts
from searcher.search.differentiable.hypernetwork import Hypernetwork, structure_logits


def objective(task_loss: Tensor, probabilities: Tensor, prices: Prices, costs: StructureCosts) -> Tensor:
    """Return the objective of "Neural architecture search with target hardware control" (Firsov 2024, section 1.1).

    Latency and parameters are those that are expected when each position draws its choice by the probabilities. They
    need no sample, which would only add noise to a gradient that is known.

    Args:
        task_loss: a scalar, of one sampled structure on validation images.
        probabilities: softmax of the structure's logits, (positions, choices).
        prices: λ, and κ of each device.
        costs: of structures.

    Returns:
        A scalar in float64 on the CPU.
    """
    return task_loss.to("cpu", torch.float64) + priced(probabilities, prices, costs)


def priced(probabilities: Tensor, prices: Prices, costs: StructureCosts) -> Tensor:
    """Return λ · Reg + Σ over devices of κ · Latency of (…, positions, choices) probabilities, (…) in float64."""
    complexity = prices.complexity * costs.complexity_ratio(probabilities)
    return complexity + (prices.latency * costs.latency_terms(probabilities)).sum(dim=-1)


def expected_objective(
    task_loss: Tensor, points: Tensor, control: Control, hypernetwork: Hypernetwork, costs: StructureCosts
) -> Tensor:
    """Return the objective whose expectation over points of control is taken over a few at once where that is cheap.

    The task's loss takes a pass through the supernet and is that of one point. What the prices add is known without a
    pass, so that its mean over more points only takes noise from the gradient.

    Args:
        task_loss: a scalar, at one of the points.
        points: of control, (n, dimension), at least one.
        control: that gives them their meaning.
        hypernetwork: of the structure.
        costs: of structures.

    Returns:
        A scalar in float64 on the CPU.
    """
    structures = torch.softmax(structure_logits(control, hypernetwork, points), dim=-1)
    return task_loss.to("cpu", torch.float64) + priced(structures, control.prices(points), costs).mean()
