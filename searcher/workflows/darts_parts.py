"""The parts of a differentiable search, put together from what it was begun with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch

from searcher.errors import BadInputError
from searcher.networks.supernet import SupernetOptions
from searcher.networks.supernets import build_supernet
from searcher.search.differentiable.control import (
    COMPLEXITY,
    Control,
    OperationSimplex,
    PriceSimplex,
    ScalarControl,
)
from searcher.search.differentiable.costs import StructureCosts
from searcher.search.differentiable.family import PricedDevice
from searcher.search.differentiable.search import DifferentiableSearch
from searcher.spaces import cell, darts_cell, fbnet_layers
from searcher.spaces.catalogue import space_named
from searcher.spaces.darts import DartsSpace
from searcher.spaces.fbnet import FBNet
from searcher.spaces.nasbench201 import NasBench201
from searcher.spaces.space import SearchSpace
from searcher.training.datasets import ImageDataset, resized
from searcher.training.halves import Halves, split_halves
from searcher.training.torch_device import torch_device
from searcher.workflows.darts_folder import ControlChoice, DartsRun
from searcher.workflows.darts_prices import priced_device, read_prices

# What is trained, in messages.
SUPERNETS = "supernets"
CONTROLS = PriceSimplex.name, OperationSimplex.name, ScalarControl.name
# Of the scalar control: three decades, which four tables of logits share.
_CHEAPEST = 1e-3


@dataclass(frozen=True, eq=False)
class Parts:
    """What a search is made of.

    Attributes:
        space: with the sizes of the networks whose latencies count.
        devices: with their models.
        search: at its beginning.
        halves: of the training split.
        coordinates: what each coordinate of a point is.
    """

    space: SearchSpace
    devices: tuple[PricedDevice, ...]
    search: DifferentiableSearch
    halves: Halves
    coordinates: tuple[str, ...]


def priced_space(run: DartsRun) -> NasBench201 | FBNet | DartsSpace:
    """Return the space of a run, with the sizes of the networks whose latencies count.

    Raises:
        BadInputError: there is no such space, or it has no such sizes.
    """
    return space_named(run.space, run.cells, channels=run.channels)


def priced_devices(run: DartsRun, prices: Mapping[str, bytes]) -> tuple[PricedDevice, ...]:
    """Make the models of all devices, and make sure that their limits can be kept.

    Args:
        run: names the devices.
        prices: content of the file of each, by its name.

    Raises:
        ImpossibleLimitError: nothing can keep a limit; the message tells the least possible.
        SearcherError: prices cannot be used.
    """
    space = priced_space(run)
    devices = tuple(
        priced_device(space, one.name, read_prices(prices[one.name], one.source), run.confidence, one.limit_ms)
        for one in run.devices
    )
    for device in devices:
        device.require_possible()
    return devices


def put_together(run: DartsRun, devices: Sequence[PricedDevice], dataset: ImageDataset) -> Parts:
    """Make a search at its beginning.

    Args:
        run: what it is begun with.
        devices: as `priced_devices` makes them.
        dataset: of the run.

    Raises:
        BadInputError: sizes do not fit each other, or torch has no such device.
    """
    space = priced_space(run)
    dataset = dataset if run.image_size is None else resized(dataset, run.image_size)
    images = {"classes": dataset.classes, "image_size": dataset.train_images.shape[-1]}
    trained = space_named(run.space, run.supernet_cells, channels=run.supernet_channels, **images)
    generator = torch.Generator().manual_seed(run.settings.seed)
    supernet = build_supernet(trained, SupernetOptions(run.partial_channels), generator)
    supernet.to(torch_device(run.device, SUPERNETS))
    targets = {one.name: one.target_ms for one in devices if one.target_ms is not None}
    costs = StructureCosts(space, {one.name: one.expected for one in devices}, targets_ms=targets)
    names = [one.name for one in devices]
    control = _control(run.control, names, supernet.choices)
    halves = split_halves(dataset, run.settings.seed)
    search = DifferentiableSearch(space, supernet, control, costs, run.settings, halves)
    return Parts(space, tuple(devices), search, halves, _coordinates(run.control, names, space))


def _control(choice: ControlChoice, devices: Sequence[str], choices: int) -> Control:
    if choice.name == PriceSimplex.name:
        return PriceSimplex(devices, choice.most_complexity, choice.most_latency)
    if choice.name == OperationSimplex.name:
        return OperationSimplex(choices, choice.most_complexity, [choice.most_latency] * len(devices))
    if choice.name == ScalarControl.name:
        return ScalarControl(_CHEAPEST * choice.most_latency, choice.most_latency, devices)
    raise BadInputError(f"--control takes {', '.join(CONTROLS)}, not {choice.name!r}")


def _coordinates(choice: ControlChoice, devices: Sequence[str], space: SearchSpace) -> tuple[str, ...]:
    if choice.name == PriceSimplex.name:
        return ("task", COMPLEXITY, *devices)
    if choice.name == ScalarControl.name:
        return ("price",)
    if isinstance(space, NasBench201):
        return cell.OPERATIONS
    if isinstance(space, DartsSpace):
        return darts_cell.OPERATIONS
    return tuple(map(str, fbnet_layers.CHOICES))
