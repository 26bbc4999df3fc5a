"""A latency model of FBNet's chains from whole networks alone: no table, a hundred latencies, published or measured.

    latency = base + Σ over layers of price[layer, choice there] + error

No layer's shape depends on another's choice, so that a sum over layers is all that there is to know. Layers and choices
have 198 prices, more than a hundred networks tell; what they have in common is told first, each part shrunk as far as
the sample itself advises (`grouped_ridge`): the sizes of what a choice computes (multiply-accumulates, parameters,
hidden numbers), the choice in all layers of a stage, and at last the choice in one layer.

What a prediction is off by is told as measured ÷ predicted, each network of the sample held against the fit to the
others (the jackknife): intervals are quantiles of these ratios, as conformal prediction takes them (`conformal`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from searcher.cost_models.conformal import conformal_ratio
from searcher.cost_models.cost_model import LatencyRange
from searcher.cost_models.edge_additive import EdgeAdditive
from searcher.cost_models.grouped_ridge import Floats, fit_grouped_ridge, require_latencies
from searcher.errors import BadInputError
from searcher.spaces.architecture import Architecture
from searcher.spaces.block import BlockSpec
from searcher.spaces.counts import block_macs, block_parameters
from searcher.spaces.encodings import require_encodings
from searcher.spaces.fbnet import FBNet
from searcher.spaces.fbnet_layers import CHOICES, LAYERS, REPEATS

# Below this the groups' variances are guesses.
FEWEST_CHAINS = 30
_STAGES = np.repeat(np.arange(len(REPEATS)), REPEATS)


class ChainModel:
    """Predicts latency, and bounds it; fits `CostModel` and `BoundedCostModel`."""

    def __init__(self, space: FBNet, additive: EdgeAdditive, ratios: Sequence[float]) -> None:
        """Take prices.

        Args:
            space: of the chains.
            additive: a price for each choice in each layer.
            ratios: measured ÷ predicted of networks that their prediction did not know, all positive.
        """
        self._space = space
        self.additive = additive
        self.ratios = tuple(sorted(ratios))

    @property
    def space(self) -> FBNet:
        """The space whose chains are priced."""
        return self._space

    def latency_ms(self, architecture: Architecture) -> float:
        """Return the predicted median latency of one inference, in ms."""
        return self.additive.latency_ms(architecture)

    def latencies_ms(self, genotypes: NDArray[np.integer[Any]]) -> Floats:
        """Return (n,) predicted latencies in ms, of (n, 22) integer encodings.

        Raises:
            BadInputError: these are no encodings of the space.
        """
        return self.additive.latencies_ms(genotypes)

    def upper_ms(self, architecture: Architecture, confidence: float) -> float:
        """Return a latency that the measured one stays below with this probability, in ms.

        It holds for networks drawn at random, as the sample was; a search that looks for low bounds finds those that
        are too low more often than not, so that its winners are measured again.

        Raises:
            BadInputError: the confidence is no share, or too high for the size of the sample.
        """
        return self.latency_ms(architecture) * self._upper_ratio(confidence)

    def uppers_ms(self, genotypes: NDArray[np.integer[Any]], confidence: float) -> Floats:
        """Return (n,) bounds as `upper_ms`, of (n, 22) integer encodings, never below the predictions.

        Raises:
            BadInputError: these are no encodings of the space, or the confidence cannot be had.
        """
        return self.latencies_ms(genotypes) * self._upper_ratio(confidence)

    def intervals_ms(self, genotypes: NDArray[np.integer[Any]], confidence: float) -> Floats:
        """Return (n, 2) intervals that hold the measured latencies with this probability, in ms.

        Either end leaves out half of what the confidence leaves; the upper one is that of `uppers_ms`.

        Raises:
            BadInputError: these are no encodings of the space, or the confidence cannot be had.
        """
        one_sided = (1 + confidence) / 2
        low = 1 / max(1.0, conformal_ratio([1 / ratio for ratio in self.ratios], one_sided))
        return np.outer(self.latencies_ms(genotypes), [low, self._upper_ratio(one_sided)])

    def latency_range(self, confidence: float | None = None) -> LatencyRange:
        """Return the range of the chains' predictions, or of their bounds.

        Raises:
            BadInputError: the confidence cannot be had.
        """
        prices = self.additive.prices_ms
        least, most = (
            Architecture(self._space.name, tuple(int(choice) for choice in chosen))
            for chosen in (prices.argmin(axis=1), prices.argmax(axis=1))
        )
        ratio = 1.0 if confidence is None else self._upper_ratio(confidence)
        return LatencyRange(self.latency_ms(least), self.latency_ms(most), least, most).times(ratio)

    def _upper_ratio(self, confidence: float) -> float:
        return max(1.0, conformal_ratio(self.ratios, confidence))


def fit_chains(space: FBNet, genotypes: NDArray[np.integer[Any]], measured_ms: Floats) -> ChainModel:
    """Fit.

    Args:
        space: of the chains, with the sizes of the networks that were measured.
        genotypes: (n, 22) of networks drawn at random, at least FEWEST_CHAINS.
        measured_ms: (n,) their latencies.

    Raises:
        BadInputError: these are no encodings of the space, the latencies are not positive or not as many, or too few,
            or they contradict a sum over layers.
    """
    require_encodings(genotypes, LAYERS, len(CHOICES), space.name)
    require_latencies(measured_ms, len(genotypes))
    if len(genotypes) < FEWEST_CHAINS:
        raise BadInputError(f"a fit takes {FEWEST_CHAINS} networks at least, not {len(genotypes)}")
    parts, groups = _parts(space)
    flat = parts.reshape(LAYERS, len(CHOICES), -1)
    features = flat[np.arange(LAYERS), genotypes].sum(axis=1)
    ridge = fit_grouped_ridge(features, groups, measured_ms)
    if not (ridge.left_out_ms > 0).all():
        raise BadInputError("these latencies are no sums over layers: the fit to the others predicts one below zero")
    base, prices = float(ridge.coefficients[0]), flat @ ridge.coefficients[1:]
    return ChainModel(space, EdgeAdditive(space.name, base, prices), (measured_ms / ridge.left_out_ms).tolist())


def _parts(space: FBNet) -> tuple[Floats, NDArray[np.int64]]:
    """Return (layers, choices, features) what each choice adds to each feature, and (features,) their groups."""
    blocks, added = space.all_blocks(), space.additive_counts().choices
    sizes = added @ np.array([[block_macs(one), block_parameters(one), _hidden(one)] for one in blocks], np.float64)
    # As shares of a chain of average choices: the shrinking goes by how large a feature is.
    sizes /= sizes.mean(axis=1).sum(axis=0)
    layer, choice = np.divmod(np.arange(LAYERS * len(CHOICES)), len(CHOICES))
    in_stage = np.zeros((LAYERS, len(CHOICES), len(REPEATS) * len(CHOICES)))
    in_stage[layer, choice, _STAGES[layer] * len(CHOICES) + choice] = 1
    alone = np.eye(LAYERS * len(CHOICES)).reshape(LAYERS, len(CHOICES), -1)
    parts = [sizes, in_stage, alone]
    groups = np.repeat(np.arange(len(parts)), [part.shape[-1] for part in parts])
    return np.concatenate(parts, axis=2), groups


def _hidden(block: BlockSpec) -> int:
    """Return how many numbers lie between the convolutions of an inverted residual, before its stride."""
    _, _, height, width = block.input_shapes[0]
    return (block.hidden_channels or 0) * height * width
