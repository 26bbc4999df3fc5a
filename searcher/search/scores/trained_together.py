"""φ and the loss of candidates that are trained together on a GPU, some twenty in one grouped network."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from typing import Any

import torch

from searcher.errors import BadInputError, SearcherError
from searcher.networks.grouped import GroupedNetwork
from searcher.search.scores.batch import TrainingBatch
from searcher.search.scores.batch_training import RmiSettings, Training, Trajectory
from searcher.search.scores.deterministic import deterministic
from searcher.search.scores.group_training import GroupTraining
from searcher.search.scores.measuring import Measured
from searcher.search.scores.trained_on_batch import TRAINED_NAMES, TrainedOnBatch, measured, require_classes
from searcher.spaces.architecture import Architecture
from searcher.spaces.nasbench201 import NasBench201
from searcher.training.torch_device import CPU, CUDA, torch_device

# Raise it when the same identity would give other values: what was kept under the old one is then measured again.
_VERSION = 1


@dataclass(frozen=True)
class Together:
    """How candidates are trained together.

    Attributes:
        device: torch's name of it, `cuda`, `cuda:1` or `cpu`.
        group: the most candidates in one network.
        channels_last: whether activations lie in memory with the channels last, as tensor cores take them.
        capture: whether a step is recorded as a CUDA graph and replayed; on a CPU there is none.
    """

    device: str = CUDA
    group: int = 20
    channels_last: bool = True
    capture: bool = True

    def __post_init__(self) -> None:
        """Refuse what nothing can be trained on.

        Raises:
            BadInputError: a group of none, or a device that torch does not see here.
        """
        if self.group < 1:
            raise BadInputError(f"candidates cannot be trained {self.group} at a time")
        torch_device(self.device, "candidates")


class TrainedTogether:
    """Trains candidates in groups; implements `Measurer`, but for the last digits of its answers.

    A device's library chooses its algorithms by the shapes of what it computes, and these depend on which operations
    the candidates of a group share. So an answer may differ, by what rounding does to a training, with who else was in
    the call; it does not with the order of the call, nor from one call to an equal one. Within a run this does no harm
    where each call's answers are kept whole, as the persistent cache keeps them.
    """

    def __init__(
        self, space: NasBench201, batch: TrainingBatch, settings: RmiSettings, together: Together | None = None
    ) -> None:
        """Bring to the device what all candidates share.

        Args:
            space: whose networks are trained, with the depth used for scoring.
            batch: of as many images as the settings say, on the CPU.
            settings: of the training.
            together: device and groups; None for a GPU and the usual ones.

        Raises:
            BadInputError: space and batch do not agree in classes, or there is no such device.
        """
        require_classes(space, batch)
        self._space = space
        self._settings = settings
        self._together = together or Together()
        self._batch = _moved(batch, self._together)

    @property
    def names(self) -> tuple[str, ...]:
        """φ and loss after the last step."""
        return TRAINED_NAMES

    @property
    def identity(self) -> Mapping[str, Any]:
        """Space, batch, settings, groups, torch's version and the device's name; a captured step changes nothing."""
        return {
            "measurer": "trained_together",
            "version": _VERSION,
            "space": repr(self._space),
            **self._batch.identity,
            **asdict(self._settings),
            "group": self._together.group,
            "channels_last": self._together.channels_last,
            "torch": torch.__version__,
            **_told(torch.device(self._together.device)),
        }

    def measure(self, architectures: Sequence[Architecture]) -> list[Measured]:
        """Train all of them, and answer in their order.

        Raises:
            SearcherError: the device's memory does not hold a group.
        """
        return [measured(one, self._settings) for one in self.trajectories(architectures)]

    def trajectories(self, architectures: Sequence[Architecture]) -> list[Trajectory]:
        """Return how each training went, in the order of the architectures.

        A candidate that diverged in company is trained again by itself: whether a library's grouped convolution lets a
        neighbour's overflow through is nothing that can be relied on.

        Raises:
            SearcherError: the device's memory does not hold a group.
        """
        trained = [self._space.representative(one) for one in architectures]
        found: dict[Architecture, Trajectory] = {}
        with deterministic(), _chosen(self._batch.images.device):
            for some in _evenly(sorted(set(trained), key=lambda one: one.genotype), self._together.group):
                found |= zip(some, self._train(some), strict=True)
                if len(some) > 1:
                    found |= {one: self._train([one])[0] for one in some if not found[one].finite}
        return [found[one] for one in trained]

    def _train(self, architectures: Sequence[Architecture]) -> list[Trajectory]:
        together = self._together
        network = GroupedNetwork(self._space, architectures, self._settings.seed)
        if together.channels_last:
            network.to(memory_format=torch.channels_last)  # type: ignore[call-overload] # torch's stubs lack it
        try:
            network.to(together.device)
            return GroupTraining(network, self._batch, self._settings).train(together.capture)
        except torch.OutOfMemoryError as e:
            count = len(architectures)
            raise SearcherError(
                f"the memory of {together.device} does not hold {count} candidates: train fewer together"
            ) from e


def measurer_on(
    device: str,
    space: NasBench201,
    batch: TrainingBatch,
    settings: RmiSettings,
    threads: int,
    begun: dict[Architecture, Training] | None = None,
) -> TrainedOnBatch | TrainedTogether:
    """Return what trains candidates best on a device.

    Args:
        device: `cpu`, or torch's name of a GPU, `cuda` or `cuda:0`.
        space: whose networks are trained.
        batch: of as many images as the settings say.
        settings: of the training.
        threads: networks that are trained at once on a CPU.
        begun: trainings that go on, of `TrainedOnBatch`; a GPU begins all anew.

    Raises:
        BadInputError: there is no such device here, or what the measurers refuse.
    """
    if device == CPU:
        return TrainedOnBatch(space, batch, settings, threads, begun)
    return TrainedTogether(space, batch, settings, Together(device))


def _evenly(architectures: Sequence[Architecture], most: int) -> Iterator[Sequence[Architecture]]:
    """Yield as few groups as `most` allows, of sizes that differ by one at most."""
    count = -(-len(architectures) // most)
    bounds = [number * len(architectures) // count for number in range(count)] + [len(architectures)]
    for start, end in pairwise(bounds):
        yield architectures[start:end]


def _moved(batch: TrainingBatch, together: Together) -> TrainingBatch:
    device = together.device
    layout = torch.channels_last if together.channels_last else torch.contiguous_format
    return replace(
        batch,
        images=batch.images.to(device).contiguous(memory_format=layout),
        labels=batch.labels.to(device),
        reference_grams=tuple(gram.to(device) for gram in batch.reference_grams),
    )


def _told(device: torch.device) -> dict[str, str | int | None]:
    if device.type == CPU:
        return {"device": CPU, "instructions": torch.backends.cpu.get_cpu_capability()}
    cudnn: int | None = torch.backends.cudnn.version()  # type: ignore[no-untyped-call] # torch's own
    return {"device": torch.cuda.get_device_name(device), "cuda": torch.version.cuda, "cudnn": cudnn}


def _chosen(device: torch.device) -> AbstractContextManager[object]:
    """Make a GPU the one whose streams are the current ones."""
    return torch.cuda.device(device) if device.type == CUDA else nullcontext()
