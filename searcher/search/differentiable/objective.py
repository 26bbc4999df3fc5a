"""What a structure is trained to make small: L + λ · Reg + Σ over devices of κ · Latency."""

from __future__ import annotations

import torch
from torch import Tensor

from searcher.search.differentiable.control import Prices
from searcher.search.differentiable.costs import StructureCosts


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
    complexity = prices.complexity * costs.complexity_ratio(probabilities)
    latency = torch.dot(prices.latency, costs.latency_terms(probabilities))
    return task_loss.to("cpu", torch.float64) + complexity + latency
