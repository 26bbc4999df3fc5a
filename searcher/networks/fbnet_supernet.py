"""The supernet of FBNet: its chain, with all nine choices in each of the 22 layers."""

from __future__ import annotations

from torch import Tensor, nn

from searcher.errors import BadInputError
from searcher.networks.blocks import build_block
from searcher.networks.mixed_edge import MixedEdge, mixtures_of
from searcher.networks.supernet import Supernet, SupernetOptions, depending_on, without_affine
from searcher.spaces.fbnet import FBNet
from searcher.spaces.fbnet_layers import CHOICES, LAYERS, Layer


class FBNetSupernet(Supernet):
    """All chains of FBNet in one network; weights are torch's defaults, `build_supernet` sets them from a seed.

    A layer of which all weights are 0 gives zeros. Layers that change the shape have no auxiliary skip connection.

    Raises:
        BadInputError: the options want a part of the channels only, which inverted residuals do not offer.
    """

    def __init__(self, space: FBNet, options: SupernetOptions) -> None:
        super().__init__(LAYERS, len(CHOICES))
        if options.partial_channels != 1:
            raise BadInputError("FBNet's layers change the number of channels: partial_channels must be 1 there.")
        self.stem = build_block(space.stem)
        self.layers = nn.ModuleList(_edge(layer, options) for layer in space.layers)
        self.shapes = tuple(layer.output_shape[1:] for layer in space.layers)
        self.head = build_block(space.head)

    def forward(self, images: Tensor, weights: Tensor) -> Tensor:
        """Return the logits, (N, classes), of layers mixed by weights, (22, 9)."""
        self.require_weights(weights)
        features: Tensor = self.stem(images)
        for layer, shape, mixture in zip(self.layers, self.shapes, mixtures_of(weights), strict=True):
            mixed: Tensor | None = layer(features, mixture, self.auxiliary_skip)
            features = features.new_zeros(len(features), *shape) if mixed is None else mixed
        logits: Tensor = self.head(features)
        return depending_on(logits, weights)


def _edge(layer: Layer, options: SupernetOptions) -> MixedEdge:
    specs = [layer.block(choice) for choice in CHOICES]
    candidates = [nn.Identity() if spec is None else build_block(spec) for spec in specs]
    if not options.affine:
        candidates = [without_affine(candidate) for candidate in candidates]
    return MixedEdge(candidates, auxiliary=nn.Identity() if layer.keeps_shape else None)
