"""The supernet of the DARTS space: its cells, with all eight operations on each of their 14 edges."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from searcher.errors import BadInputError
from searcher.networks.blocks import build_block
from searcher.networks.mixed_edge import MixedEdge, Mixture, Source, Zero, mixtures_of, total
from searcher.networks.quick import PoolByConvolution
from searcher.networks.supernet import Supernet, SupernetOptions, depending_on, without_affine
from searcher.spaces.darts import DartsSpace
from searcher.spaces.darts_cell import AVG_POOL, EDGES, INPUTS, NODES, NONE, OPERATIONS, POOLS, POSITIONS, SKIP
from searcher.spaces.darts_layout import CellPlace


class MixedCell(nn.Module):
    """A cell of mixed edges: two outputs of earlier cells to its own, (N, 4C, H, W)."""

    def __init__(self, place: CellPlace, options: SupernetOptions) -> None:
        super().__init__()
        first, second = (_plain(build_block(spec), options) for spec in place.preprocessing)
        self.first = first
        self.second = second
        self.edges = nn.ModuleList(_edge(place, source, options) for source, _ in EDGES)
        self.node_shape = place.node_shape[1:]

    def forward(self, before: Tensor, last: Tensor, mixtures: Sequence[Mixture], auxiliary_skip: float) -> Tensor:
        """Return the cell's output.

        Args:
            before: output of the cell before the last one.
            last: the last cell's output.
            mixtures: what each of the 14 edges mixes.
            auxiliary_skip: weight of the auxiliary skip connections.
        """
        sources = [Source(self.first(before)), Source(self.second(last))]
        for node in range(INPUTS, INPUTS + NODES):
            value = total(
                self.edges[edge](sources[source], mixtures[edge], auxiliary_skip)
                for edge, (source, target) in enumerate(EDGES)
                if target == node
            )
            if value is None:
                value = last.new_zeros(len(last), *self.node_shape)
            sources.append(Source(value))
        return torch.cat([source.value for source in sources[INPUTS:]], dim=1)


class DartsSupernet(Supernet):
    """All architectures of the DARTS space in one network; `build_supernet` sets its weights from a seed.

    As in DARTS's own search, pools have a batch norm behind them, which they have not in the derived network, and the
    norms that bring inputs to a cell's channels neither scale nor shift, as those of the choices. Several operations
    may have a weight on one edge, and all edges into a node. Where partial channels pass by an edge of stride 2, they
    go through a maximum over 2x2 pixels, and its auxiliary skip is a factorised reduction.

    Raises:
        BadInputError: the channels cannot be parted as the options want.
    """

    def __init__(self, space: DartsSpace, options: SupernetOptions) -> None:
        super().__init__(POSITIONS, len(OPERATIONS))
        if space.channels % options.partial_channels:
            raise BadInputError(
                f"{space.channels} channels cannot be parted into {options.partial_channels} equal parts."
            )
        self.stem = build_block(space.stem)
        self.cells = nn.ModuleList(MixedCell(place, options) for place in space.cell_places)
        self.head = build_block(space.head)
        self.reductions = tuple(place.reduction for place in space.cell_places)

    def forward(self, images: Tensor, weights: Tensor) -> Tensor:
        """Return the logits, (N, classes), of cells whose edges are mixed by weights, (28, 8)."""
        self.require_weights(weights)
        mixtures = mixtures_of(weights)
        of_kind = {False: mixtures[: len(EDGES)], True: mixtures[len(EDGES) :]}
        before = last = self.stem(images)
        for cell, reduction in zip(self.cells, self.reductions, strict=True):
            before, last = last, cell(before, last, of_kind[reduction], self.auxiliary_skip)
        return depending_on(self.head(last), weights)


def _edge(place: CellPlace, source: int, options: SupernetOptions) -> MixedEdge:
    mixed = replace(place, channels=place.channels // options.partial_channels)
    candidates = [_candidate(mixed, name, source, options) for name in OPERATIONS]
    halves = place.stride(source) > 1
    return MixedEdge(
        candidates,
        options.partial_channels,
        bypass=nn.MaxPool2d(2, 2) if halves else None,
        auxiliary=_candidate(mixed, SKIP, source, options),
    )


def _candidate(place: CellPlace, name: str, source: int, options: SupernetOptions) -> nn.Module:
    spec = place.operation(name, source)
    if spec is None:
        return Zero() if name == NONE else nn.Identity()
    if name not in POOLS:
        return _plain(build_block(spec), options)
    _, channels, size, _ = spec.input_shapes[0]
    pool = PoolByConvolution(channels, size) if name == AVG_POOL and spec.stride == 1 else build_block(spec)
    return _plain(nn.Sequential(pool, nn.BatchNorm2d(channels)), options)


def _plain(module: nn.Module, options: SupernetOptions) -> nn.Module:
    return module if options.affine else without_affine(module)
