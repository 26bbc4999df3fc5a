"""Real values for the inputs of blocks and networks: some to calibrate quantisers on, others to judge files by."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from searcher.errors import BadInputError
from searcher.networks.activations import FeatureShape
from searcher.spaces.block import Shape

Floats = NDArray[np.float32]
Inference = tuple[Floats, ...]
"""One array (1, C, H, W) for each input of a model."""


@dataclass(frozen=True, eq=False)
class Calibration:
    """Activations of every shape that the inputs of some blocks and networks have.

    Attributes:
        identity: equal only for equal activations; part of what exported files are cached under.
        calibrating: by (C, H, W), float32 (N, C, H, W): what ranges are taken from.
        held_out: like `calibrating`, of other images: what errors are measured on.
    """

    identity: str
    calibrating: Mapping[FeatureShape, Floats]
    held_out: Mapping[FeatureShape, Floats]

    def calibrating_batches(self, input_shapes: Sequence[Shape]) -> tuple[Floats, ...]:
        """Return a batch (N, C, H, W) for each input of a model; see `_batches`.

        Raises:
            BadInputError: there are no activations of a shape.
        """
        return _batches(self.calibrating, input_shapes)

    def held_out_batches(self, input_shapes: Sequence[Shape]) -> tuple[Floats, ...]:
        """Return a batch (N, C, H, W) for each input of a model; see `_batches`.

        Raises:
            BadInputError: there are no activations of a shape.
        """
        return _batches(self.held_out, input_shapes)


def single_inferences(batches: Sequence[Floats]) -> list[Inference]:
    """Cut batches into inferences of one image each."""
    return [tuple(batch[index : index + 1] for batch in batches) for index in range(len(batches[0]))]


def _batches(activations: Mapping[FeatureShape, Floats], input_shapes: Sequence[Shape]) -> tuple[Floats, ...]:
    """Return activations of each shape; a second input of one shape gets those of other images."""
    missing = [shape for shape in input_shapes if shape[1:] not in activations]
    if missing:
        known = ", ".join("x".join(map(str, shape)) for shape in activations)
        raise BadInputError(f"there are no activations of shape {'x'.join(map(str, missing[0]))}, only of {known}")
    return tuple(np.roll(activations[shape[1:]], index, axis=0) for index, shape in enumerate(input_shapes))


def quantised(values: Floats, dtype: Any, scale: float, zero_point: int) -> NDArray[Any]:
    """Return values as a model takes them: integers that stand for them, or floats of its own width.

    Args:
        values: reals.
        dtype: a numpy dtype; where it is no integer's, the others do not matter.
        scale: distance of the reals that neighbouring integers stand for.
        zero_point: the integer that stands for zero.
    """
    wanted = np.dtype(dtype)
    reals: NDArray[Any] = values
    if wanted.kind in "iu":
        limits = np.iinfo(wanted)
        reals = np.clip(np.rint(values / scale) + zero_point, limits.min, limits.max)
    # What is too large for half precision becomes infinite: `relative_error` refuses what comes of it.
    with np.errstate(over="ignore"):
        return reals.astype(wanted)


def dequantised(values: NDArray[Any], scale: float, zero_point: int) -> Floats:
    """Return the reals that a model's output stands for; see `quantised`."""
    if values.dtype.kind not in "iu":
        return values.astype(np.float32)
    return ((values.astype(np.float32) - zero_point) * scale).astype(np.float32)


def relative_error(approximate: Sequence[NDArray[Any]], exact: Sequence[NDArray[Any]]) -> float:
    """Return ‖q - f‖ ÷ ‖f‖, the Euclidean norms over all values of all arrays.

    Args:
        approximate: q, dequantised, arrays of the shapes of `exact`.
        exact: f.

    Raises:
        ValueError: a value is not finite, or f is zero everywhere, so that there is no such number.
    """
    q = np.concatenate([one.ravel() for one in approximate]).astype(np.float64)
    f = np.concatenate([one.ravel() for one in exact]).astype(np.float64)
    if not (np.isfinite(q).all() and np.isfinite(f).all()):
        raise ValueError("an output is not finite")
    norm = np.linalg.norm(f)
    if norm == 0:
        raise ValueError("the fp32 output is zero everywhere")
    return float(np.linalg.norm(q - f) / norm)
