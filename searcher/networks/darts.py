"""DARTS networks in torch, for training and for export."""

from __future__ import annotations

from torch import Tensor, nn

from searcher.networks.blocks import build_block
from searcher.spaces.architecture import Architecture
from searcher.spaces.darts import DartsSpace
from searcher.spaces.darts_cell import INPUTS, NODES, POOLS
from searcher.spaces.darts_layout import CellPlace

Features = tuple[Tensor, Tensor, Tensor]
Edge = tuple[str, int, int]


class Cell(nn.Module):
    """One cell: two outputs of earlier cells to its own, (N, 4C, H, W).

    Equal pools of one value are computed once, which is what `DartsSpace.blocks` counts and changes no value.

    Args:
        place: where it stands in the network.
        edges: operation, source and node of each of its eight edges.
    """

    def __init__(self, place: CellPlace, edges: tuple[Edge, ...]) -> None:
        super().__init__()
        first, second = place.preprocessing
        self.first = build_block(first)
        self.second = build_block(second)
        specs = [place.operation(name, source) for name, source, _ in edges]
        self.operations = nn.ModuleList(nn.Identity() if spec is None else build_block(spec) for spec in specs)
        self.add = build_block(place.add)
        self.concat = build_block(place.concat)
        self.edges = edges

    def values(self, before: Tensor, last: Tensor) -> list[Tensor]:
        """Return both inputs in the cell's channels, the four nodes, and the output.

        Args:
            before: output of the cell before the last one.
            last: the last cell's output.
        """
        values: list[Tensor] = [self.first(before), self.second(last)]
        pooled: dict[tuple[str, int], Tensor] = {}
        for node in range(INPUTS, INPUTS + NODES):
            terms = [self._term(index, values, pooled) for index, edge in enumerate(self.edges) if edge[2] == node]
            values.append(self.add(*terms))
        return [*values, self.concat(*values[INPUTS:])]

    def forward(self, before: Tensor, last: Tensor) -> Tensor:
        """Return the output, (N, 4C, H, W), of the outputs of the two cells before."""
        return self.values(before, last)[-1]

    def _term(self, index: int, values: list[Tensor], pooled: dict[tuple[str, int], Tensor]) -> Tensor:
        name, source, _ = self.edges[index]
        known = pooled.get((name, source))
        if known is not None:
            return known
        term: Tensor = self.operations[index](values[source])
        if name in POOLS:
            pooled[name, source] = term
        return term


class DartsNetwork(nn.Module):
    """The network of an architecture, (N, 3, H, W) images to (N, classes) logits.

    Pools have no batch norm behind them, and there is no auxiliary head. Weights are torch's defaults, from the global
    generator; `initialise` sets them from one seed.

    Raises:
        BadInputError: the architecture is not of the space.
    """

    def __init__(self, space: DartsSpace, architecture: Architecture) -> None:
        super().__init__()
        cells = {reduction: space.cell(architecture, reduction) for reduction in (False, True)}
        self.stem = build_block(space.stem)
        self.cells = nn.ModuleList(Cell(place, cells[place.reduction]) for place in space.cell_places)
        self.head = build_block(space.head)
        self.feature_cells = space.feature_cells

    def outputs(self, images: Tensor) -> list[Tensor]:
        """Return the output of each cell; the last is what the head takes."""
        before = last = self.stem(images)
        outputs: list[Tensor] = []
        for cell in self.cells:
            before, last = last, cell(before, last)
            outputs.append(last)
        return outputs

    def features(self, images: Tensor) -> Features:
        """Return the outputs of the last cells of each resolution.

        Shapes: (N, 4C, H, W), (N, 8C, H/2, W/2) and (N, 16C, H/4, W/4).
        """
        outputs = self.outputs(images)
        first, second, third = (outputs[cell] for cell in self.feature_cells)
        return first, second, third

    def forward_with_features(self, images: Tensor) -> tuple[Features, Tensor]:
        """Return the three feature maps and the logits of one pass."""
        features = self.features(images)
        return features, self.head(features[-1])

    def activations(self, images: Tensor) -> list[Tensor]:
        """Return the images and every value inside and between cells; the last is what the head takes."""
        before = last = self.stem(images)
        seen = [images, last]
        for cell in self.cells:
            values = cell.values(before, last)  # type: ignore[operator] # a Cell
            seen += values
            before, last = last, values[-1]
        return seen

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits, (N, classes)."""
        logits: Tensor = self.head(self.outputs(images)[-1])
        return logits
