"""Candidates of NAS-Bench-201 computed together: networks of one skeleton, stacked along the channels.

What G networks have at one place is one tensor (N, G·C, H, W), and what several of them do with it is one grouped
convolution, however many edges of the cell that joins. A GPU, on which one network is too small to fill it, then has
a few large operations instead of many small ones. Each candidate's numbers are its own: groups, and batch norms of the
batch's statistics, never mix channels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from searcher.errors import BadInputError
from searcher.networks.group_plan import CellPlan, Place, plan_cells
from searcher.networks.nasbench201 import Cell, Features, NasBench201Network
from searcher.networks.quick import quick_network
from searcher.spaces.architecture import Architecture
from searcher.spaces.cell import AVG_POOL, CONV_1X1, CONV_3X3, CONVOLUTIONS, EDGES, OPERATIONS
from searcher.spaces.computation import ADD
from searcher.spaces.nasbench201 import STAGES, NasBench201

_Layer = TypeVar("_Layer", bound=nn.Module)


class GroupedConvBN(nn.Module):
    """An optional ReLU, then convolution and batch norm of each candidate: (N, G·C, H, W) to (N, G·C', H', W')."""

    def __init__(self, layers: Sequence[nn.Sequential], relu_first: bool, one_input: bool = False) -> None:
        """Stack equal layers.

        Args:
            layers: each a convolution and a batch norm, perhaps after a ReLU.
            relu_first: whether they begin with a ReLU.
            one_input: all of them read the same (N, C, H, W), such as the images.
        """
        super().__init__()
        convolutions = [_only(layer, nn.Conv2d) for layer in layers]
        norms = [_only(layer, nn.BatchNorm2d) for layer in layers]
        self.convolution = GroupedConvolution(convolutions, one_input)
        self.norm = GroupedBatchNorm(norms)
        self._relu_first = relu_first

    def forward(self, inputs: Tensor) -> Tensor:
        """Return every candidate's result, side by side."""
        normalised: Tensor = self.norm(self.convolution(torch.relu(inputs) if self._relu_first else inputs))
        return normalised


class GroupedConvolution(nn.Module):
    """Convolutions without bias of one shape, one for each group of channels."""

    def __init__(self, layers: Sequence[nn.Conv2d], one_input: bool = False) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.cat([layer.weight.detach() for layer in layers]))
        self._stride, self._padding = layers[0].stride, layers[0].padding
        self._groups = 1 if one_input else len(layers)

    def forward(self, inputs: Tensor) -> Tensor:
        """Return (N, G·C', H', W')."""
        return functional.conv2d(inputs, self.weight, None, self._stride, self._padding, groups=self._groups)


class GroupedBatchNorm(nn.Module):
    """Batch norms by the batch's statistics, which are each channel's own; there are no running ones."""

    def __init__(self, layers: Sequence[nn.BatchNorm2d]) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.cat([layer.weight.detach() for layer in layers]))
        self.bias = nn.Parameter(torch.cat([layer.bias.detach() for layer in layers]))
        self._eps = layers[0].eps

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the normalised channels, of the shape of the input."""
        return functional.batch_norm(inputs, None, None, self.weight, self.bias, training=True, eps=self._eps)


class GroupedCell(nn.Module):
    """The cells of one place in all candidates, as `group_plan` orders their work."""

    def __init__(self, plan: CellPlan, donors: Mapping[str, Cell]) -> None:
        """Take the weights of the convolutions that are computed.

        Args:
            plan: of the cells.
            donors: for each kind of convolution, the cell of this place that has it on every edge.
        """
        super().__init__()
        self._plan = plan
        self.convolutions = nn.ModuleList(
            GroupedConvBN([_edge(donors[operation], value.edge) for _, value in places], relu_first=True)
            for operation, places in plan.steps
            if operation in CONVOLUTIONS
        )

    def forward(self, inputs: Sequence[Tensor]) -> list[Tensor]:
        """Return the value of each candidate's last node, of its input (N, C, H, W)."""
        values: dict[Place, Tensor] = dict(zip(self._plan.inputs, inputs, strict=True))
        convolutions = iter(self.convolutions)
        for operation, places in self._plan.steps:
            if operation == ADD:
                for candidate, value in places:
                    operands = [values[candidate, operand] for operand in value.operands]
                    values[candidate, value] = _sum(operands)
                continue
            taken = side_by_side([values[candidate, value.operands[0]] for candidate, value in places])
            result = _pool(taken) if operation == AVG_POOL else next(convolutions)(taken)
            values.update(zip(places, apart(result, len(places)), strict=True))
        return [values[place] for place in self._plan.outputs]


class GroupedReduction(nn.Module):
    """NAS-Bench-201's residual block that halves the resolution, (N, G·C, H, W) to (N, G·C', H/2, W/2)."""

    def __init__(self, donor: nn.Module, groups: int) -> None:
        super().__init__()
        first, second, shortcut = (donor.get_submodule(name) for name in ("first", "second", "shortcut"))
        self.first = GroupedConvBN([_sequential(first)] * groups, relu_first=True)
        self.second = GroupedConvBN([_sequential(second)] * groups, relu_first=True)
        self.shortcut = GroupedConvolution([_only(_sequential(shortcut), nn.Conv2d)] * groups)

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the shortcut plus the two convolutions."""
        residual: Tensor = self.second(self.first(inputs))
        shortcut: Tensor = self.shortcut(functional.avg_pool2d(inputs, kernel_size=2, stride=2))
        return shortcut + residual


class GroupedNetwork(nn.Module):
    """The networks of several architectures, trained at once; they begin with the weights of `quick_network`."""

    def __init__(self, space: NasBench201, architectures: Sequence[Architecture], seed: int) -> None:
        """Stack the networks.

        Args:
            space: of the architectures.
            architectures: G of them, of which cells that compute the same may be several.
            seed: of the weights, which depend on it and on a layer's place alone.

        Raises:
            BadInputError: there is no architecture, or one is disconnected or not of the space.
        """
        super().__init__()
        if not architectures or not all(space.is_connected(one) for one in architectures):
            raise BadInputError("Only connected architectures, one at least, can be trained together.")
        self.groups = len(architectures)
        plan = plan_cells([space.operations(one) for one in architectures])
        # A layer's first weights depend on its place alone: two networks have those of every architecture.
        donors = {
            operation: quick_network(space, _everywhere(space, operation), seed) for operation in (CONV_1X1, CONV_3X3)
        }
        donor = donors[CONV_3X3]
        self.stem = GroupedConvBN([_sequential(donor.stem)] * self.groups, relu_first=False, one_input=True)
        self.stages = nn.ModuleList(
            nn.ModuleList(
                GroupedCell(plan, {kind: _cell(network, stage, index) for kind, network in donors.items()})
                for index in range(space.cells_per_stage)
            )
            for stage in range(STAGES)
        )
        self.reductions = nn.ModuleList(GroupedReduction(one, self.groups) for one in donor.reductions)
        self.norm = GroupedBatchNorm([donor.head.norm] * self.groups)
        linear = donor.head.linear
        self.head_weight = nn.Parameter(torch.stack([linear.weight.detach()] * self.groups))
        self.head_bias = nn.Parameter(torch.stack([linear.bias.detach()] * self.groups))

    def forward(self, images: Tensor) -> tuple[Features, Tensor]:
        """Return what each candidate makes of the images (N, 3, H, W).

        Returns:
            The ends of the three stages as in `NasBench201Network.features`, each (G, N, ...), in which the order of
            a representation's numbers is open; and the logits (G, N, classes).
        """
        slots = self._stage(0, apart(self.stem(images), self.groups))
        ends = []
        for index, reduction in enumerate(self.reductions, start=1):
            ends.append(torch.stack(slots))
            slots = self._stage(index, apart(reduction(side_by_side(slots)), self.groups))
        last = torch.relu(self.norm(side_by_side(slots)))
        pooled = last.mean(dim=(2, 3)).reshape(len(images), self.groups, -1).transpose(0, 1)
        logits = torch.baddbmm(self.head_bias.unsqueeze(1), pooled, self.head_weight.transpose(1, 2))
        return (ends[0], ends[1], torch.stack(apart(last, self.groups))), logits

    def _stage(self, stage: int, slots: Sequence[Tensor]) -> list[Tensor]:
        cells = self.stages.get_submodule(str(stage))
        for cell in cells.children():
            slots = cell(slots)
        return list(slots)


def side_by_side(slots: Sequence[Tensor]) -> Tensor:
    """Join (N, C, H, W) tensors to (N, G·C, H, W), in the memory layout of the first."""
    if slots[0].stride(1) != 1:
        return torch.cat(list(slots), dim=1)
    # The channels lie last: joined as the last dimension, what is copied stays one operation.
    return torch.cat([slot.permute(0, 2, 3, 1) for slot in slots], dim=3).permute(0, 3, 1, 2)


def apart(joined: Tensor, groups: int) -> list[Tensor]:
    """Return the parts (N, C, H, W) of (N, G·C, H, W), without copying."""
    if joined.stride(1) != 1:
        return list(joined.chunk(groups, dim=1))
    return [part.permute(0, 3, 1, 2) for part in joined.permute(0, 2, 3, 1).chunk(groups, dim=3)]


def _sum(operands: Sequence[Tensor]) -> Tensor:
    total = operands[0]
    for operand in operands[1:]:
        total = total + operand
    return total


def _pool(inputs: Tensor) -> Tensor:
    return functional.avg_pool2d(inputs, kernel_size=3, stride=1, padding=1, count_include_pad=False)


def _everywhere(space: NasBench201, operation: str) -> Architecture:
    return Architecture(space.name, (OPERATIONS.index(operation),) * len(EDGES))


def _cell(network: NasBench201Network, stage: int, index: int) -> Cell:
    cell = network.get_submodule(f"stages.{stage}.{index}")
    if not isinstance(cell, Cell):
        raise TypeError(f"there is no cell {index} in stage {stage}")
    return cell


def _edge(cell: Cell, edge: int | None) -> nn.Sequential:
    return _sequential(cell.edges.get_submodule(str(edge)))


def _sequential(module: nn.Module) -> nn.Sequential:
    if not isinstance(module, nn.Sequential):
        raise TypeError(f"{type(module).__name__} is no sequence of layers")
    return module


def _only(layers: nn.Sequential, kind: type[_Layer]) -> _Layer:
    """Return the one layer of a kind."""
    (layer,) = (layer for layer in layers if isinstance(layer, kind))
    return layer
