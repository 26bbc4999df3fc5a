"""FBNet networks in torch, for export and for counting."""

from __future__ import annotations

from torch import Tensor, nn

from searcher.networks.blocks import build_block
from searcher.spaces.architecture import Architecture
from searcher.spaces.fbnet import FBNet


class FBNetNetwork(nn.Module):
    """The network of an architecture, (N, 3, H, W) images to (N, classes) logits.

    Weights are torch's defaults, from the global generator; `initialise` sets them from one seed.

    Raises:
        BadInputError: the architecture is not of the space.
    """

    def __init__(self, space: FBNet, architecture: Architecture) -> None:
        super().__init__()
        specs = space.layer_blocks(architecture)
        self.stem = build_block(space.stem)
        self.layers = nn.ModuleList(nn.Identity() if spec is None else build_block(spec) for spec in specs)
        self.head = build_block(space.head)

    def activations(self, images: Tensor) -> list[Tensor]:
        """Return the images and what stem and layers make of them; the last is what the head takes."""
        seen = [images, self.stem(images)]
        for layer in self.layers:
            seen.append(layer(seen[-1]))
        return seen

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits, (N, classes)."""
        logits: Tensor = self.head(self.activations(images)[-1])
        return logits
