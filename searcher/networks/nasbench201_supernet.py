"""The supernet of NAS-Bench-201: its skeleton, with all five operations on each of a cell's six edges."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from searcher.errors import BadInputError
from searcher.networks.blocks import Head, build_block
from searcher.networks.mixed_edge import MixedEdge, Mixture, Source, Zero, mixtures_of, total
from searcher.networks.quick import PoolByConvolution
from searcher.networks.supernet import Supernet, SupernetOptions, depending_on, without_affine
from searcher.spaces.block import BlockSpec
from searcher.spaces.cell import AVG_POOL, EDGES, NODES, NONE, OPERATIONS, SKIP
from searcher.spaces.nasbench201 import STAGES, NasBench201


class MixedCell(nn.Module):
    """A cell of mixed edges, (N, C, H, W) to the same shape."""

    def __init__(self, space: NasBench201, stage: int, options: SupernetOptions) -> None:
        super().__init__()
        self.edges = nn.ModuleList(_edge(space, stage, options) for _ in EDGES)

    def forward(
        self, inputs: Tensor, mixtures: Sequence[Mixture], live: Sequence[bool], auxiliary_skip: float
    ) -> Tensor:
        """Return the value of the last node.

        Args:
            inputs: (N, C, H, W).
            mixtures: what each of the six edges mixes.
            live: which edges are computed.
            auxiliary_skip: weight of the auxiliary skip connections.
        """
        sources = [Source(inputs)]
        for node in range(1, NODES):
            operands = [
                self.edges[edge](sources[source], mixtures[edge], auxiliary_skip)
                for edge, (source, target) in enumerate(EDGES)
                if target == node and live[edge]
            ]
            # A node that has no live edge is the source of none either, unless it is the last one.
            value = total(operands)
            sources.append(_source_of(torch.zeros_like(inputs) if value is None else value, sources))
        return sources[-1].value


class NasBench201Supernet(Supernet):
    """All cells of NAS-Bench-201 in one network; weights are torch's defaults, `build_supernet` sets them from a seed.

    As in `NasBench201Network` an operation on a node that nothing reaches is zero. What does not reach a cell's output
    is not computed.

    Raises:
        BadInputError: the channels cannot be parted as the options want.
    """

    def __init__(self, space: NasBench201, options: SupernetOptions) -> None:
        super().__init__(len(EDGES), len(OPERATIONS))
        if space.channels % options.partial_channels:
            raise BadInputError(
                f"{space.channels} channels cannot be parted into {options.partial_channels} equal parts."
            )
        self.stem = build_block(space.stem)
        self.stages = nn.ModuleList(
            nn.ModuleList(MixedCell(space, stage, options) for _ in range(space.cells_per_stage))
            for stage in range(STAGES)
        )
        self.reductions = nn.ModuleList(build_block(spec) for spec in space.reductions)
        self.head = Head(space.head.input_shapes[0][1], space.classes)

    def forward(self, images: Tensor, weights: Tensor) -> Tensor:
        """Return the logits, (N, classes), of cells whose edges are mixed by weights, (6, 5)."""
        self.require_weights(weights)
        mixtures = mixtures_of(weights)
        live = self._live(mixtures)
        features: Tensor = self.stem(images)
        for stage, cells in enumerate(self.stages):
            if stage:
                features = self.reductions[stage - 1](features)
            for cell in cells:  # type: ignore[attr-defined] # a ModuleList
                features = cell(features, mixtures, live, self.auxiliary_skip)
        logits: Tensor = self.head(features)
        return depending_on(logits, weights)

    def _live(self, mixtures: Sequence[Mixture]) -> tuple[bool, ...]:
        """Tell which edges lie on a path from a cell's input to its output; all cells are alike."""
        edges = self.stages[0][0].edges  # type: ignore[index] # ModuleLists
        passing = [edge.passes(mixture, self.auxiliary_skip) for edge, mixture in zip(edges, mixtures, strict=True)]
        return live_edges(passing)


def live_edges(passing: Sequence[bool]) -> tuple[bool, ...]:
    """Tell which of a cell's six edges lie on a path from its input to its output.

    Args:
        passing: which edges pass anything on.
    """
    reached, needed = {0}, {NODES - 1}
    pairs = [(edge, passes) for edge, passes in zip(EDGES, passing, strict=True)]
    for (source, target), passes in pairs:  # sorted by target: a source is settled before it is asked for
        if passes and source in reached:
            reached.add(target)
    for (source, target), passes in reversed(pairs):
        if passes and target in needed:
            needed.add(source)
    return tuple(passes and source in reached and target in needed for (source, target), passes in pairs)


def _source_of(value: Tensor, known: Sequence[Source]) -> Source:
    """Return the source of a value; a skip alone makes two nodes the same tensor, and so the same source."""
    same = [source for source in known if source.value is value]
    return same[0] if same else Source(value)


def _edge(space: NasBench201, stage: int, options: SupernetOptions) -> MixedEdge:
    _, channels, size, _ = space.stage_shape(stage)
    mixed = channels // options.partial_channels
    candidates = [_candidate(space, operation, stage, mixed, size, options) for operation in OPERATIONS]
    return MixedEdge(candidates, options.partial_channels, auxiliary=nn.Identity())


def _candidate(
    space: NasBench201, operation: str, stage: int, channels: int, size: int, options: SupernetOptions
) -> nn.Module:
    if operation == NONE:
        return Zero()
    if operation == SKIP:
        return nn.Identity()
    if operation == AVG_POOL:
        return PoolByConvolution(channels, size)
    spec = space.cell_block(operation, stage)
    narrow = BlockSpec(spec.operation, ((1, channels, size, size),), channels, kernel=spec.kernel, padding=spec.padding)
    block = build_block(narrow)
    return block if options.affine else without_affine(block)
