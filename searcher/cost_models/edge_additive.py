"""The edge-additive model: a latency that is linear in the probability of each choice, and so has a gradient.

    expected latency(p) = base + Σ over edges e Σ over operations o of p[e, o] · price[e, o]

A differentiable search multiplies its own tensor of probabilities with the prices; nothing here needs torch. The prices
come from the prices of blocks, of a table or of any linear model that was fitted to one: an operation on an edge costs
its blocks in all cells, and its part of the adds of the node that the edge leads to.

A choice is priced without a look at the others, where `block_sum` prices what a runtime executes. On NAS-Bench-201 the
two agree (but for rounding) where every edge is live and neither pools nor ReLUs are merged or fused. Else this model
says more, if no block has a negative price:

- edges that do not reach the output, or that nothing reaches, cost what they would cost alive;
- average pools of one value are paid once each, and so are ReLUs that a runtime shares or fuses;
- a node of k edges, m of them live, pays m · (k - 1) ÷ k adds instead of m - 1.

A space whose positions do not depend on each other is priced exactly.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from searcher.cost_models.agreement import error_pct, spearman
from searcher.cost_models.cost_model import CostModel, LinearCostModel
from searcher.errors import BadInputError
from searcher.spaces.architecture import Architecture
from searcher.spaces.block import CALL_OVERHEAD
from searcher.spaces.encodings import require_encodings
from searcher.spaces.extremes import require_prices
from searcher.spaces.space import SearchSpace


@dataclass(frozen=True, eq=False)
class EdgeAdditive:
    """Prices of each choice by itself; fits `CostModel`.

    Attributes:
        space: name of the space whose choices these are.
        base_ms: what every architecture costs, the call included.
        prices_ms: (edges, operations) what an operation on an edge adds.
    """

    space: str
    base_ms: float
    prices_ms: NDArray[np.float64]

    @classmethod
    def of(cls, space: SearchSpace, block_ms: NDArray[np.float64]) -> EdgeAdditive:
        """Make the model from a price for each block.

        Args:
            space: that says which blocks a choice adds.
            block_ms: (B,) the price of one execution of each of its `all_blocks()`, in ms: `LinearCostModel.block_ms`.

        Raises:
            BadInputError: `block_ms` has another shape or holds what is not finite.
        """
        require_prices(block_ms, len(space.all_blocks()))
        counts = space.additive_counts()
        return cls(space.name, float(counts.base @ block_ms), counts.choices @ block_ms)

    def expected_ms(self, probabilities: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
        """Return the expected latency when each edge draws its operation independently.

        Args:
            probabilities: (…, edges, operations); the gradient of the result is `prices_ms`.

        Returns:
            (…) latencies in ms.

        Raises:
            BadInputError: the last two dimensions are not those of the prices.
        """
        if probabilities.shape[-2:] != self.prices_ms.shape:
            raise BadInputError(
                f"probabilities of the shape {probabilities.shape} do not fit prices of {self.prices_ms.shape}"
            )
        expected: NDArray[np.float64] = self.base_ms + (probabilities * self.prices_ms).sum(axis=(-2, -1))
        return expected

    def latency_ms(self, architecture: Architecture) -> float:
        """Return the latency of one choice on each edge, in ms.

        Raises:
            BadInputError: the architecture is not of the model's space.
        """
        if architecture.space != self.space:
            raise BadInputError(f"{architecture} is not an architecture of {self.space}.")
        return float(self.latencies_ms(np.array([architecture.genotype]))[0])

    def latencies_ms(self, genotypes: NDArray[np.integer[Any]]) -> NDArray[np.float64]:
        """Return (n,) latencies in ms, of (n, edges) integer encodings.

        Raises:
            BadInputError: these are no encodings of the model's space.
        """
        edges, operations = self.prices_ms.shape
        require_encodings(genotypes, edges, operations, self.space)
        latencies: NDArray[np.float64] = self.base_ms + self.prices_ms[np.arange(edges), genotypes].sum(axis=1)
        return latencies


@dataclass(frozen=True)
class Gap:
    """How far one model is from another over connected architectures.

    Attributes:
        architectures: how many were looked at.
        median_pct: median of 100 · (edge-additive - block sum) ÷ block sum.
        worst_pct: that of the architecture that is farthest off.
        worst: its text.
        spearman: rank correlation of the two; None where either says the same of all.
    """

    architectures: int
    median_pct: float
    worst_pct: float
    worst: str
    spearman: float | None


def gap(
    space: SearchSpace, edge_additive: CostModel, cost_model: LinearCostModel, genotypes: NDArray[np.integer[Any]]
) -> Gap:
    """Report how far the edge-additive model is from the one whose prices it has.

    Disconnected architectures are left out: they execute nothing, and no search wants them.

    Args:
        space: of both.
        edge_additive: what is judged.
        cost_model: what it is held against.
        genotypes: (n, genes) integer encodings of all architectures, or of a sample.

    Raises:
        BadInputError: these are no encodings of the space, none is connected, or the model that is held against
            predicts a latency that is not positive.
    """
    others = [index for index, block in enumerate(space.all_blocks()) if block != CALL_OVERHEAD]
    connected = genotypes[space.block_counts(genotypes)[:, others].any(axis=1)]
    if not len(connected):
        raise BadInputError("none of the architectures is connected: there is nothing to compare")
    additive_ms, exact_ms = edge_additive.latencies_ms(connected), cost_model.latencies_ms(connected)
    errors = error_pct(additive_ms, exact_ms)
    farthest = int(np.abs(errors).argmax())
    worst = Architecture(space.name, tuple(int(gene) for gene in connected[farthest]))
    return Gap(
        architectures=len(connected),
        median_pct=float(np.median(errors)),
        worst_pct=float(errors[farthest]),
        worst=space.format(worst),
        spearman=spearman(additive_ms, exact_ms),
    )
