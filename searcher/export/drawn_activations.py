"""Random numbers in the place of activations, for kernels of shapes that no network of ours has.

How long a quantised kernel takes does not depend on the ranges that it was calibrated on; what it computes does, so
that its numerical error tells nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from searcher.export.calibration import Calibration, Floats
from searcher.networks.activations import FeatureShape

_CALIBRATING, _HELD_OUT = 4, 2
# What is divided by a number nearer to 0 may be more than fp16 can say.
_LEAST = 1 / 16


class DrawnActivations(Mapping[FeatureShape, Floats]):
    """A batch of normal numbers, none of them near 0, for every shape (C, H, W): the same for one shape and seed.

    It has every shape there is, so that nobody can list them: it is empty to whoever iterates.
    """

    def __init__(self, seed: int, images: int) -> None:
        self._seed = seed
        self._images = images

    def __getitem__(self, shape: FeatureShape) -> Floats:
        """Return (images, C, H, W) numbers."""
        generator = np.random.default_rng([self._seed, *shape])
        numbers = generator.standard_normal((self._images, *shape), dtype=np.float32)
        return np.copysign(np.maximum(np.abs(numbers), np.float32(_LEAST)), numbers)

    def __contains__(self, shape: object) -> bool:
        """Tell that there are numbers of the shape."""
        return True

    def __iter__(self) -> Iterator[FeatureShape]:
        """Yield nothing: see the class."""
        return iter(())

    def __len__(self) -> int:
        """Return 0: see the class."""
        return 0


def drawn_calibration() -> Calibration:
    """Return a calibration for kernels of any shape."""
    return Calibration(
        f"normal numbers away from 0, {_CALIBRATING} images and {_HELD_OUT} held out",
        DrawnActivations(0, _CALIBRATING),
        DrawnActivations(1, _HELD_OUT),
    )
