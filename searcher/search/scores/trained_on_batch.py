"""The measurer of HW-EvRSNAS: φ and the loss of candidates that are trained together on one batch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from typing import Any

import torch

from searcher.errors import BadInputError
from searcher.networks.quick import quick_network
from searcher.search.scores.batch import TrainingBatch
from searcher.search.scores.batch_training import BF16, FP32, RmiSettings, Training, Trajectory
from searcher.search.scores.measuring import Measured
from searcher.search.scores.threads import one_thread
from searcher.spaces.architecture import Architecture
from searcher.spaces.nasbench201 import NasBench201

TRAINED_NAMES = ("rmi", "loss")

# Raise it when the same identity would give other values: what was kept under the old one is then measured again.
_VERSION = 1


class TrainedOnBatch:
    """Trains candidates on a CPU, several at once, each on one processor; implements `Measurer`.

    One thread for each network beats several threads inside one: its layers are too small to be cut up, and an answer
    does not depend on how many processors there are.
    """

    def __init__(
        self,
        space: NasBench201,
        batch: TrainingBatch,
        settings: RmiSettings,
        threads: int,
        begun: dict[Architecture, Training] | None = None,
    ) -> None:
        """Take what all candidates share.

        Args:
            space: whose networks are trained, with the depth used for scoring.
            batch: of as many images as the settings say.
            settings: of the training.
            threads: networks that are trained at once.
            begun: trainings that another measurer of the same space, batch and settings has begun, but for the number
                of steps; those found here go on instead of beginning anew, and those done here are left here. The
                answers are the same. None leaves nothing.

        Raises:
            BadInputError: space and batch do not agree in classes, or there is no thread to train with.
        """
        require_classes(space, batch)
        if threads < 1:
            raise BadInputError(f"candidates cannot be trained on {threads} threads")
        self._space = space
        self._batch = batch
        self._settings = settings
        self._threads = threads
        self._begun = begun

    @property
    def names(self) -> tuple[str, ...]:
        """φ and loss after the last step."""
        return TRAINED_NAMES

    @property
    def identity(self) -> Mapping[str, Any]:
        """Space, batch, settings and torch's version; the number of threads changes nothing."""
        return {
            "measurer": "trained_on_batch",
            "version": _VERSION,
            "space": repr(self._space),
            **self._batch.identity,
            **asdict(self._settings),
            "torch": torch.__version__,
            "instructions": torch.backends.cpu.get_cpu_capability(),
        }

    def measure(self, architectures: Sequence[Architecture]) -> list[Measured]:
        """Train all of them, in their order."""
        return [measured(one, self._settings) for one in self.trajectories(architectures)]

    def trajectories(self, architectures: Sequence[Architecture]) -> Iterator[Trajectory]:
        """Yield how each training went, in the order of the architectures."""
        self._forget()
        with one_thread(), ThreadPoolExecutor(self._threads) as pool:
            yield from pool.map(self._train, architectures)

    def _forget(self) -> None:
        """Drop the trainings that have come as far as this one goes: what was let go on of them has gone on."""
        begun = {} if self._begun is None else self._begun
        for architecture in [one for one, training in begun.items() if training.steps >= self._settings.steps]:
            del begun[architecture]

    def _train(self, architecture: Architecture) -> Trajectory:
        trained = self._space.representative(architecture)
        training = None if self._begun is None else self._begun.pop(trained, None)
        if training is None:
            network = quick_network(self._space, trained, self._settings.seed)
            training = Training(network, self._batch, self._settings)
        trajectory = training.go_on(self._settings.steps)
        if self._begun is not None:
            self._begun[trained] = training
        return trajectory


def measured(trajectory: Trajectory, settings: RmiSettings) -> Measured:
    """Return the values of `TRAINED_NAMES`, or that the training diverged."""
    if not trajectory.finite:
        rate = settings.learning_rate
        return Measured({}, f"its training diverged after {trajectory.steps} steps with the learning rate {rate:g}")
    return Measured({"rmi": trajectory.rmi[-1], "loss": trajectory.loss[-1]})


def require_classes(space: NasBench201, batch: TrainingBatch) -> None:
    """Refuse a batch of other classes than the space's.

    Raises:
        BadInputError: they do not agree.
    """
    if space.classes != batch.classes:
        raise BadInputError(f"the space has {space.classes} classes, the data set {batch.classes}")


def quickest_precision() -> str:
    """Return bf16 where this processor multiplies in it, else fp32."""
    capabilities = torch.cpu.get_capabilities()
    return BF16 if capabilities.get("avx512_bf16") or capabilities.get("amx_bf16") else FP32
