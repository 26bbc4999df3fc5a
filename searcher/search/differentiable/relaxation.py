"""From logits to the weights of a mixture: relaxed one-hot samples of choices."""

from __future__ import annotations

import torch
from torch import Tensor

ALL_PATHS = 0


def sample_weights(noisy_logits: Tensor, temperature: float, paths: int) -> Tensor:
    """Return the weights of a mixture, softmax(noisy logits ÷ temperature) at each position.

    With Gumbel noise in the logits this is the Gumbel-Softmax (Jang, Gu and Poole 2017; Maddison, Mnih and Teh 2017).

    Args:
        noisy_logits: (positions, choices) logits with the noise of the draw, if any; results are differentiable with
            respect to them.
        temperature: positive; towards 0 weights become one-hot.
        paths: `ALL_PATHS` (0) mixes all choices; 1 gives exactly one-hot weights with the gradient of the soft ones
            (straight-through); n > 1 mixes the n largest alone, the others are exactly 0, as ProxylessNAS (Cai, Zhu
            and Han 2019) does with two.

    Returns:
        (positions, choices), of sum 1 at each position.
    """
    choices = noisy_logits.shape[-1]
    if 1 < paths < choices:
        chosen = _largest(noisy_logits, paths)
        return torch.softmax(noisy_logits.masked_fill(~chosen, -torch.inf) / temperature, dim=-1)
    soft = torch.softmax(noisy_logits / temperature, dim=-1)
    if paths != 1:
        return soft
    # Added last, the difference is exactly 0 everywhere; (hard - soft) + soft would be rounded.
    return _largest(noisy_logits, 1).to(soft) + (soft - soft.detach())


def perturbed(weights: Tensor, radius: float, generator: torch.Generator) -> Tensor:
    """Add uniform noise to the weights of a mixture and make them weights again (SDARTS-RS, Chen and Hsieh 2020).

    Args:
        weights: (positions, choices).
        radius: the noise lies between -radius and radius.
        generator: on the CPU.
    """
    noise = torch.empty(weights.shape, dtype=torch.float64).uniform_(-radius, radius, generator=generator)
    moved = (weights + noise.to(weights)).clamp_min(0)
    # Where all fell to 0, which takes a radius above 1 ÷ choices, the position keeps its weights.
    kept = moved.sum(dim=-1, keepdim=True) == 0
    moved = torch.where(kept, weights, moved)
    return moved / moved.sum(dim=-1, keepdim=True)


def _largest(logits: Tensor, count: int) -> Tensor:
    """Mark exactly `count` choices a position; of equal ones any."""
    places = logits.topk(count, dim=-1).indices
    return torch.zeros_like(logits, dtype=torch.bool).scatter_(-1, places, True)
