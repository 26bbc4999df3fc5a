"""Exporters with all that they need: fp16 and int8 files are calibrated and judged on real images."""

from __future__ import annotations

import hashlib

from torch import Tensor

from searcher.errors import BadInputError
from searcher.export.calibration import Calibration, Floats
from searcher.export.exporter import Exporter, exporter_for
from searcher.networks.activations import FeatureShape, activations_of, example_of
from searcher.spaces.space import SearchSpace
from searcher.training.datasets import load_dataset

_CALIBRATING_IMAGES, _HELD_OUT_IMAGES = 64, 32
_WEIGHTS_SEED = 0
# Between the images and the space that they are pushed through.
_IN_SPACE = ", in "


def prepare_exporter(space: SearchSpace, runtime: str, dtype: str, data: str) -> Exporter:
    """Return what writes a space's blocks and networks for a runtime.

    Args:
        space: whose activations calibrate it.
        runtime: an identifier or a family.
        dtype: numbers to compute with.
        data: as `load_dataset` takes it; read only if the number type needs it.

    Raises:
        BadInputError: runtime, number type or data is unknown, a package is missing, or the images do not fit.
    """
    exporter = exporter_for(runtime, dtype)
    return exporter.calibrated_on(calibration_for(space, data)) if exporter.needs_calibration else exporter


def exporter_like(space: SearchSpace, runtime: str, dtype: str, data: str, calibrated_on: str | None) -> Exporter:
    """Return an exporter as `prepare_exporter` makes it, if it is calibrated as another one was.

    Args:
        space: whose activations calibrate it.
        runtime: an identifier or a family.
        dtype: numbers to compute with.
        data: as `load_dataset` takes it.
        calibrated_on: the other's identity; None where it does not matter.

    Raises:
        BadInputError: it is not, or there is no exporter at all.
    """
    exporter = prepare_exporter(space, runtime, dtype, data)
    own = exporter.calibration_identity
    if calibrated_on is not None and calibrated_on != own:
        same_images = own is not None and calibrated_on.startswith(own.partition(_IN_SPACE)[0] + _IN_SPACE)
        advice = "--cells, --channels and --classes name the space" if same_images else "--data names the images"
        raise BadInputError(f"the table's blocks were calibrated on {calibrated_on}, not on {own}: {advice}")
    return exporter


def calibration_for(space: SearchSpace, data: str) -> Calibration:
    """Push evenly spread training images through a network of the space to calibrate on, and test images to judge by.

    Raises:
        BadInputError: the data is unknown, missing, wrong, or of another size than the space's images.
    """
    dataset = load_dataset(data)
    images = [_spread(dataset.train_images, _CALIBRATING_IMAGES), _spread(dataset.test_images, _HELD_OUT_IMAGES)]
    side, wanted = images[0].shape[-1], space.image_shape[-1]
    if side != wanted:
        raise BadInputError(f"the images of {data} have {side} pixels a side, those of the space {wanted}")
    digest = hashlib.sha256(b"".join(batch.numpy().tobytes() for batch in images)).hexdigest()
    calibrating, held_out = activations_of(space, images[0], images, _WEIGHTS_SEED)
    return Calibration(
        f"{dataset.name}, {len(images[0])} images and {len(images[1])} held out (sha256 {digest})"
        f"{_IN_SPACE}{space!r} of {example_of(space)}, weights of seed {_WEIGHTS_SEED}",
        _arrays(calibrating),
        _arrays(held_out),
    )


def _spread(images: Tensor, count: int) -> Tensor:
    return images[:: max(1, len(images) // count)][:count].contiguous()


def _arrays(activations: dict[FeatureShape, Tensor]) -> dict[FeatureShape, Floats]:
    return {shape: values.contiguous().numpy() for shape, values in activations.items()}
