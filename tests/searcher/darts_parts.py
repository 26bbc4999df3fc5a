"""What tests of the differentiable search share: a small supernet's space, prices, a control and halves of digits."""

from __future__ import annotations

from functools import cache

import numpy as np
import torch
from torch.nn import functional

from searcher.cost_models.edge_additive import EdgeAdditive
from searcher.search.differentiable.control import PriceSimplex
from searcher.search.differentiable.costs import StructureCosts
from searcher.spaces.nasbench201 import NasBench201
from searcher.spaces.space import SearchSpace
from searcher.training.datasets import load_dataset
from searcher.training.halves import Half, Halves

DEVICES = ("pi", "phone")
SMALL = NasBench201(cells_per_stage=1, channels=4, image_size=8)
CONTROL = PriceSimplex(DEVICES, most_complexity=0.5, most_latency=1.0)


def models(space: SearchSpace, seed: int = 0) -> dict[str, EdgeAdditive]:
    """Prices as a fit to real tables has them: of all sizes, some negative."""
    generator = np.random.default_rng(seed)
    blocks = len(space.all_blocks())
    return {name: EdgeAdditive.of(space, generator.lognormal(0, 1, blocks) - 0.1) for name in DEVICES}


COSTS = StructureCosts(SMALL, models(SMALL))


@cache
def halves(images: int = 64) -> Halves:
    """Two halves of so many digits each, of 8×8 pixels."""
    digits = load_dataset("digits")
    pixels = functional.avg_pool2d(digits.train_images[: 2 * images], 4)
    labels = digits.train_labels[: 2 * images]
    rows = torch.arange(2 * images)
    return Halves(Half(pixels, labels, rows[:images]), Half(pixels, labels, rows[images:]))
