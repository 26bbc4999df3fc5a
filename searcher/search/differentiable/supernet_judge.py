"""What a supernet says of an architecture: its own weights under the one-hot mixture, on images it did not train on.

Batch norms are calibrated anew on images of the training half. The loss on the validation half tells apart what the
accuracy on some thousand images cannot; neither is that of a network trained by itself.
"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn import functional

from searcher.networks.supernet import Supernet, one_hot, recalibrate
from searcher.spaces.architecture import Architecture
from searcher.training.halves import Halves, plain_batches

_BATCH = 256
# Statistics of so many images are as good as those of all.
_CALIBRATION_IMAGES = 2048


class SupernetJudge:
    """Scores architectures by a supernet's weights, on a copy of it: the search's own is left as it is."""

    def __init__(self, supernet: Supernet, halves: Halves) -> None:
        """Copy the supernet.

        Args:
            supernet: with the weights of a search.
            halves: of that search.
        """
        self._supernet = copy.deepcopy(supernet)
        self._supernet.auxiliary_skip = 0.0
        self._supernet.requires_grad_(False)
        self._halves = halves

    def score(self, architecture: Architecture) -> tuple[float, float]:
        """Return accuracy in percent and mean cross-entropy in nats on the validation half."""
        supernet = self._supernet
        device = next(supernet.parameters()).device
        weights = one_hot(architecture.genotype, supernet.choices).to(device)
        recalibrate(supernet, weights, itertools.islice(self._calibration(device), _CALIBRATION_IMAGES // _BATCH))
        supernet.eval()
        right, loss = 0, 0.0
        with torch.inference_mode():
            for images, labels in plain_batches(self._halves.validation, _BATCH):
                logits, wanted = supernet(images.to(device), weights), labels.to(device)
                loss += float(functional.cross_entropy(logits.double(), wanted, reduction="sum"))
                right += int((logits.argmax(dim=1) == wanted).sum())
        images_in_all = len(self._halves.validation)
        return 100.0 * right / images_in_all, loss / images_in_all

    def _calibration(self, device: torch.device) -> Iterator[Tensor]:
        # A last batch of few images would count as much as a whole one.
        for images, _ in plain_batches(self._halves.training, min(_BATCH, len(self._halves.training))):
            if len(images) == min(_BATCH, len(self._halves.training)):
                yield images.to(device)
