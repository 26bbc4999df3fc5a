"""The score of HW-EvRSNAS: a candidate trained for some steps on one batch, compared with a reference model."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass

import torch
from torch import Tensor

from searcher.errors import BadInputError, SearcherError
from searcher.networks.blocks import initialise
from searcher.networks.nasbench201 import NasBench201Network
from searcher.search.scores.cka import centred_gram, representation_mutual_information
from searcher.spaces.architecture import Architecture
from searcher.spaces.nasbench201 import NasBench201
from searcher.training.datasets import ImageDataset
from searcher.training.reference import Reference

# RMI-NAS draws this many times the batch and keeps the images that the reference finds easiest.
_POOL_FACTOR = 16
_GREATEST_SEED = 2**63 - 1  # of torch's generators


@dataclass(frozen=True)
class RmiSettings:
    """How candidates are trained; the defaults are HW-EvRSNAS's, with RMI-NAS's optimiser.

    Attributes:
        steps: training steps on the one batch.
        batch_size: images in it.
        beta: weight of the representation term; the task's loss weighs 1 - beta (Eq. 3, sign corrected).
        learning_rate: of SGD.
        momentum: of SGD.
        weight_decay: of SGD.
        seed: of the batch and of every candidate's weights.
    """

    steps: int = 100
    batch_size: int = 32
    beta: float = 0.8
    learning_rate: float = 0.1
    momentum: float = 0.9
    weight_decay: float = 5e-4
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse settings with which nothing can be trained.

        Raises:
            BadInputError: a value is out of its range.
        """
        if self.steps < 1 or self.batch_size < 2:
            raise BadInputError(f"{self.steps} steps on a batch of {self.batch_size} train nothing")
        if not (0 <= self.beta <= 1 and 0 < self.learning_rate < math.inf):
            raise BadInputError("beta lies between 0 and 1, and the learning rate is positive")
        if not (0 <= self.momentum < 1 and 0 <= self.weight_decay < math.inf):
            raise BadInputError("momentum lies between 0 and 1, and the weight decay is not negative")
        if not 0 <= self.seed <= _GREATEST_SEED:
            raise BadInputError(f"a seed lies between 0 and {_GREATEST_SEED}, not at {self.seed}")


@dataclass(frozen=True)
class RmiScore:
    """What training on the batch gave.

    Attributes:
        rmi: φ, representation mutual information with the reference after training.
        loss: the training loss after the last step, β·(L - φ) + (1 - β)·cross-entropy.
    """

    rmi: float
    loss: float


class TrainingDivergedError(SearcherError):
    """The loss or a representation is no longer finite, so that there is no φ."""


class RmiScorer:
    """Scores architectures against one reference on one batch, which are prepared once."""

    def __init__(self, space: NasBench201, reference: Reference, dataset: ImageDataset, settings: RmiSettings) -> None:
        """Choose the batch and compute the reference's Gram matrices.

        Args:
            space: whose networks are trained, with the depth used for scoring.
            reference: the model to resemble; used in eval mode.
            dataset: where the batch is from (its training half).
            settings: of batch and training.

        Raises:
            BadInputError: space, reference and data set do not agree in classes.
        """
        if space.classes != dataset.classes:
            raise BadInputError(f"the space has {space.classes} classes, the data set {dataset.classes}")
        self._space = space
        self._settings = settings
        generator = torch.Generator().manual_seed(settings.seed)
        self._images, self._labels = easiest_batch(reference, dataset, settings.batch_size, generator)
        with torch.no_grad():
            features = reference.model.features(self._images)
        self._reference_grams = [centred_gram(feature) for feature in features]

    def score(self, architecture: Architecture) -> RmiScore:
        """Train the representative of the architecture's `score_key` and return its score.

        A disconnected architecture is not trained: its representation carries nothing, so φ = 0.

        Raises:
            TrainingDivergedError: loss or representations became infinite or no numbers.
        """
        if not self._space.is_connected(architecture):
            return RmiScore(rmi=0.0, loss=float("inf"))
        representative = self._space.representative(architecture)
        network = NasBench201Network(self._space, representative)
        initialise(network, torch.Generator().manual_seed(self.weights_seed(representative)))
        network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        return self._train(network.train())

    def _train(self, network: NasBench201Network) -> RmiScore:
        settings = self._settings
        optimizer = torch.optim.SGD(
            network.parameters(),
            lr=settings.learning_rate,
            momentum=settings.momentum,
            weight_decay=settings.weight_decay,
        )
        images = self._images.contiguous(memory_format=torch.channels_last)
        for step in range(settings.steps):
            optimizer.zero_grad()
            _, loss = self._rmi_and_loss(network, images)
            self._require_finite(loss, step)
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        with torch.no_grad():
            rmi, loss = self._rmi_and_loss(network, images)
        self._require_finite(loss, settings.steps)
        return RmiScore(float(rmi), float(loss))

    def _rmi_and_loss(self, network: NasBench201Network, images: Tensor) -> tuple[Tensor, Tensor]:
        features, logits = network.forward_with_features(images)
        rmi = representation_mutual_information(self._reference_grams, features)
        task = torch.nn.functional.cross_entropy(logits, self._labels)
        beta = self._settings.beta
        return rmi, beta * (len(self._reference_grams) - rmi) + (1 - beta) * task

    def _require_finite(self, loss: Tensor, step: int) -> None:
        if not bool(loss.isfinite()):
            rate = self._settings.learning_rate
            raise TrainingDivergedError(f"its training diverged after {step} steps with the learning rate {rate:g}")

    def weights_seed(self, architecture: Architecture) -> int:
        """Return the seed of an architecture's first weights: of the search's seed and its text alone."""
        text = f"{self._settings.seed} {self._space.format(architecture)}"
        return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def easiest_batch(
    reference: Reference, dataset: ImageDataset, batch_size: int, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Draw 16 times `batch_size` training images and keep those with the reference's lowest loss (RMI-NAS).

    Returns:
        Images (batch_size, C, H, W) and labels (batch_size,).

    Raises:
        BadInputError: the data set has fewer training images than one batch.
    """
    count = len(dataset.train_labels)
    if count < batch_size:
        raise BadInputError(f"the data set {dataset.name} has {count} training images, fewer than a batch")
    drawn = torch.randperm(count, generator=generator)[: _POOL_FACTOR * batch_size]
    images, labels = dataset.train_images[drawn], dataset.train_labels[drawn]
    with torch.no_grad():
        losses = torch.nn.functional.cross_entropy(reference.model(images), labels, reduction="none")
    kept = torch.argsort(losses, stable=True)[:batch_size]
    return images[kept], labels[kept]
