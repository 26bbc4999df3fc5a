"""How a network is trained, all of it: optimiser, schedule, loss, augmentation and numbers."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from searcher.errors import BadInputError
from searcher.training.augmentation import Augmentation

FP32, BF16 = PRECISIONS = "fp32", "bf16"
CPU, CUDA = DEVICES = "cpu", "cuda"


@dataclass(frozen=True)
class Recipe:
    """SGD with Nesterov momentum, the learning rate falling in half a cosine after an optional warm-up.

    The defaults are those of NAS-Bench-201 (Dong and Yang 2020, Table 1), but for the augmentation, which is the
    images' own: `usual_recipe` knows it.

    Attributes:
        epochs: passes over the training images.
        batch_size: images a step; the incomplete batch at the end of an epoch is left out.
        peak_learning_rate: reached after the warm-up.
        momentum: of SGD.
        weight_decay: of SGD, on all parameters.
        warm_up_share: share of all steps in which the learning rate rises to its peak; 0 begins there.
        label_smoothing: share of the target that is spread over all classes (Szegedy et al. 2016, Section 7).
        clip_norm: the Euclidean norm of all gradients that a step does not exceed; None for no bound.
        augmentation: what images go through.
        precision: of activations and convolutions, `fp32` or `bf16`; weights and the loss are fp32.

    Raises:
        BadInputError: a value is out of its range.
    """

    epochs: int = 200
    batch_size: int = 256
    peak_learning_rate: float = 0.1
    momentum: float = 0.9
    weight_decay: float = 5e-4
    warm_up_share: float = 0.0
    label_smoothing: float = 0.0
    clip_norm: float | None = None
    augmentation: Augmentation = field(default_factory=Augmentation)
    precision: str = FP32

    def __post_init__(self) -> None:
        for name, count in (("epochs", self.epochs), ("batch_size", self.batch_size)):
            if count < 1:
                raise BadInputError(f"{name} must be at least 1, not {count}")
        if not 0 < self.peak_learning_rate < math.inf:
            raise BadInputError(f"peak_learning_rate must be positive, not {self.peak_learning_rate}")
        if not 0 < self.momentum < 1:
            raise BadInputError(f"momentum must lie between 0 and 1, not at {self.momentum}")
        if not 0 <= self.weight_decay < math.inf:
            raise BadInputError(f"weight_decay must not be negative, but is {self.weight_decay}")
        for name, share in (("warm_up_share", self.warm_up_share), ("label_smoothing", self.label_smoothing)):
            if not 0 <= share < 1:
                raise BadInputError(f"{name} must be at least 0 and below 1, not {share}")
        if self.clip_norm is not None and not 0 < self.clip_norm < math.inf:
            raise BadInputError(f"clip_norm must be positive, not {self.clip_norm}")
        if self.precision not in PRECISIONS:
            raise BadInputError(f"precision must be {' or '.join(PRECISIONS)}, not {self.precision!r}")


# What is read must not be mirrored, and so few images as the digits need many steps rather than large ones.
_USUAL = {
    "digits": Recipe(epochs=20, batch_size=64, augmentation=Augmentation(shift_pixels=2)),
    "cifar10": Recipe(augmentation=Augmentation(shift_pixels=4, mirror=True)),
}


def usual_recipe(dataset_name: str) -> Recipe:
    """Return the recipe that fits a data set, where the user says nothing else.

    Raises:
        BadInputError: no recipe is known for the data set.
    """
    if dataset_name not in _USUAL:
        raise BadInputError(f"there is no usual training for the data {dataset_name!r}")
    return _USUAL[dataset_name]


def learning_rate(peak: float, progress: float, warm_up_share: float) -> float:
    """Return the rate after the share `progress` (0 to 1) of all steps: up in a line, down in half a cosine.

    Source: the cosine is that of Loshchilov and Hutter (2017), Eq. 5 without restarts; with a warm-up it is the
    one-cycle policy of Smith and Topin (2018).

    Args:
        peak: the highest rate.
        progress: the share of steps that is done.
        warm_up_share: the share of steps in which the rate rises.
    """
    if progress < warm_up_share:
        # Never zero: the first step would be wasted.
        return peak * (0.1 + 0.9 * progress / warm_up_share)
    return peak * 0.5 * (1.0 + math.cos(math.pi * (progress - warm_up_share) / (1.0 - warm_up_share)))
