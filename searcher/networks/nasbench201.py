"""NAS-Bench-201 networks in torch, for training and for export."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from searcher.networks.blocks import Head, build_block
from searcher.spaces.architecture import Architecture
from searcher.spaces.cell import AVG_POOL
from searcher.spaces.computation import ADD, COUNTED, INPUT, execution_order, output_value
from searcher.spaces.nasbench201 import STAGES, NasBench201

Features = tuple[Tensor, Tensor, Tensor]


class Cell(nn.Module):
    """One cell, executed value by value as `searcher.spaces.computation` says, (N, C, H, W) to the same shape.

    Modules of all six edges exist, so parameters are those of the benchmark, but a zero is never computed: an
    operation on a node that has no live input is taken as zero. (The benchmark's code computes it, and its batch
    norm adds a constant there.) A disconnected cell returns zeros.
    """

    def __init__(self, space: NasBench201, architecture: Architecture, stage: int) -> None:
        super().__init__()
        names = space.operations(architecture)
        self.edges = nn.ModuleList(
            build_block(space.cell_block(name, stage)) if name in COUNTED else nn.Identity() for name in names
        )
        self.pool = build_block(space.cell_block(AVG_POOL, stage))
        output = output_value(names)
        order = () if output is None else execution_order(output)
        place = {value: index for index, value in enumerate(order)}
        self.steps = [(value.operation, value.edge, [place[item] for item in value.operands]) for value in order]

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the value of the cell's last node."""
        if not self.steps:
            return torch.zeros_like(inputs)
        values: list[Tensor] = []
        for operation, edge, operands in self.steps:
            taken = [values[index] for index in operands]
            values.append(inputs if operation == INPUT else self._compute(operation, edge, taken))
        return values[-1]

    def _compute(self, operation: str, edge: int | None, operands: list[Tensor]) -> Tensor:
        if operation == ADD:
            total = operands[0]
            for operand in operands[1:]:
                total = total + operand
            return total
        module = self.pool if edge is None else self.edges[edge]
        result: Tensor = module(operands[0])
        return result


class NasBench201Network(nn.Module):
    """The network of an architecture, (N, 3, H, W) images to (N, classes) logits.

    Weights are torch's defaults, from the global generator; `initialise` sets them from one seed.

    Raises:
        BadInputError: the architecture is not of the space.
    """

    def __init__(self, space: NasBench201, architecture: Architecture) -> None:
        super().__init__()
        self.connected = space.is_connected(architecture)
        self.stem = build_block(space.stem)
        self.stages = nn.ModuleList(
            nn.Sequential(*(Cell(space, architecture, stage) for _ in range(space.cells_per_stage)))
            for stage in range(STAGES)
        )
        self.reductions = nn.ModuleList(build_block(spec) for spec in space.reductions)
        self.head = Head(space.head.input_shapes[0][1], space.classes)

    def features(self, images: Tensor) -> Features:
        """Return the ends of the three stages, the last one after the final batch norm and ReLU.

        Shapes: (N, C, H, W), (N, 2C, H/2, W/2) and (N, 4C, H/4, W/4).
        """
        first: Tensor = self.stages[0](self.stem(images))
        second: Tensor = self.stages[1](self.reductions[0](first))
        third: Tensor = self.stages[2](self.reductions[1](second))
        return first, second, self.head.activate(third)

    def forward_with_features(self, images: Tensor) -> tuple[Features, Tensor]:
        """Return the three feature maps and the logits of one pass."""
        features = self.features(images)
        return features, self.head.classify(features[-1])

    def activations(self, images: Tensor) -> list[Tensor]:
        """Return the images and the ends of the three stages, the last one before the final batch norm."""
        seen = [images, self.stages[0](self.stem(images))]
        for reduction, stage in zip(self.reductions, list(self.stages)[1:], strict=True):
            seen.append(stage(reduction(seen[-1])))
        return seen

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits, (N, classes)."""
        logits = self.forward_with_features(images)[1]
        if self.connected:
            return logits
        # An exporter drops an input that nothing reads, and a runtime then refuses to be handed one.
        return logits + 0 * images[:, :1, 0, 0]
