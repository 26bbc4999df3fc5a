"""A trained network: what it reached, its files, and what a device says of it.

History of the schema of training.json: 1, the first.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from profiler_agent.records import Measurement
from searcher.documents import Document
from searcher.errors import SearcherError
from searcher.export.calibration import relative_error
from searcher.export.exporter import file_outputs
from searcher.search.accounting import Spent
from searcher.training.recipe import Recipe
from searcher.verification.verification import LimitMissedError, MeasuredDevice

SCHEMA_VERSION = 1
# A runtime folds batch norms into convolutions and sums in another order: that is some 1e-6, a wrong file some 1e-1.
MOST_ERROR = 1e-4


@dataclass(frozen=True)
class TrainingData:
    """What was trained on.

    Attributes:
        name: of the data set.
        fingerprint: of its training split, the validation part included.
        train_images: how many were trained on.
        validation_images: how many of the training split were held back.
        test_images: how many the test accuracy is of.
    """

    name: str
    fingerprint: str
    train_images: int
    validation_images: int
    test_images: int


@dataclass(frozen=True)
class WrittenFile:
    """A file in the folder of the training.

    Attributes:
        file: its name there.
        sha256: hexadecimal hash of its bytes.
    """

    file: str
    sha256: str


@dataclass(frozen=True)
class ExportedNetwork:
    """The exported network, held against torch on test images.

    Attributes:
        format: `onnx` or `tflite`.
        images: how many test images both computed.
        numerical_error: ‖file - torch‖ ÷ ‖torch‖ of all their logits.
        accuracy: of the file, by its runtime, on those images, in percent.
        torch_accuracy: of torch on the same images, in percent.
    """

    file: str
    sha256: str
    format: str
    images: int
    numerical_error: float
    accuracy: float
    torch_accuracy: float


@dataclass(frozen=True)
class MeasuredNetwork:
    """The exported network, measured whole.

    Attributes:
        device: where.
        runtime: its identifier.
        runtime_version: of it.
        measured_ms: measured median latency.
        measured_ci_ms: distribution-free interval of that median, low and high.
        measured_ci_confidence: the probability that the interval covers it; below 0.95 where rounds were few.
        predicted_ms: the sum of a table's blocks; None without a table, or where it lacks blocks of this network.
        error_pct: 100·(predicted - measured) / measured; None without a prediction.
        max_latency_ms: the limit; None where there is none.
        feasible: whether the measured median keeps the limit; None where there is none.
    """

    device: MeasuredDevice
    runtime: str
    runtime_version: str
    measured_ms: float
    measured_ci_ms: tuple[float, float]
    measured_ci_confidence: float
    predicted_ms: float | None
    error_pct: float | None
    max_latency_ms: float | None
    feasible: bool | None


@dataclass(frozen=True)
class TrainedNetwork:
    """What a training came to.

    Attributes:
        space: name of the space.
        sizes: the space with its sizes: depth, classes and resolution.
        architecture: its text.
        data: what was trained on.
        recipe: how.
        seed: of the weights, of the validation part, of the order of the images and of their variation.
        validation_share: of the training split that was held back.
        train_device: where it was trained, as torch names it.
        threads: of torch.
        versions: of the packages that compute.
        loss: mean of the last epoch, in nats.
        train_accuracy: of varied training images in the last epoch, in percent.
        validation_accuracy: after the last epoch, in percent; None where nothing was held back.
        test_accuracy: in percent.
        parameters: trainable ones.
        macs: multiply-accumulates of one image.
        weights: the file of weights.
        exported: the exported file.
        measured: on a device; None where none was named.
        spent: in all sessions, training, export and measuring together.
    """

    space: str
    sizes: str
    architecture: str
    data: TrainingData
    recipe: Recipe
    seed: int
    validation_share: float
    train_device: str
    threads: int
    versions: Mapping[str, str]
    loss: float
    train_accuracy: float
    validation_accuracy: float | None
    test_accuracy: float
    parameters: int
    macs: int
    weights: WrittenFile
    exported: ExportedNetwork
    measured: MeasuredNetwork | None
    spent: Spent
    schema_version: int = SCHEMA_VERSION

    def require_limit(self) -> None:
        """Raise LimitMissedError if the network was measured and does not keep its limit."""
        measured = self.measured
        if measured is not None and measured.max_latency_ms is not None and not measured.feasible:
            raise LimitMissedError(
                f"{self.architecture} takes {measured.measured_ms:.4f} ms on {measured.device.name}, more than the "
                f"limit of {measured.max_latency_ms:.4f} ms"
            )


def check_export(
    network: nn.Module, model: Path, sha256: str, runtime: str, images: Tensor, labels: Tensor
) -> ExportedNetwork:
    """Hold an exported file against the network that it was made from.

    Args:
        network: in eval mode, on the CPU.
        model: the file.
        sha256: of its bytes.
        runtime: `onnx` or `tflite`.
        images: of the test split, (N, C, H, W), at least one.
        labels: int64, (N,).

    Raises:
        SearcherError: the file computes something else than the network.
    """
    with torch.inference_mode():
        logits = network(images).numpy()
    told = file_outputs(runtime, model, images.contiguous().numpy())
    try:
        error = relative_error([told], [logits])
    except ValueError as e:
        raise SearcherError(f"the exported {model} cannot be held against the trained network: {e}") from e
    if error > MOST_ERROR:
        raise SearcherError(
            f"the exported {model} does not compute what was trained: its logits are off by {100 * error:.3g}%"
        )
    right = labels.numpy()
    accuracies = [100.0 * float(np.mean(values.argmax(axis=1) == right)) for values in (told, logits)]
    return ExportedNetwork(model.name, sha256, runtime, len(images), error, *accuracies)


def judge_network(
    device: MeasuredDevice,
    runtime: tuple[str, str],
    measurement: Measurement,
    predicted_ms: float | None,
    limit_ms: float | None,
) -> MeasuredNetwork:
    """Hold a measurement against a prediction and a limit, as far as there are such.

    Args:
        device: where it was measured.
        runtime: identifier and version.
        measurement: of the whole network.
        predicted_ms: what a table says.
        limit_ms: the greatest latency.
    """
    measured_ms = measurement.median_ms
    low, high, confidence = measurement.interval_ms
    return MeasuredNetwork(
        device,
        *runtime,
        measured_ms=measured_ms,
        measured_ci_ms=(low, high),
        measured_ci_confidence=confidence,
        predicted_ms=predicted_ms,
        error_pct=None if predicted_ms is None else 100 * (predicted_ms - measured_ms) / measured_ms,
        max_latency_ms=limit_ms,
        feasible=None if limit_ms is None else measured_ms <= limit_ms,
    )


TRAINING_DOCUMENT = Document(TrainedNetwork, "training", SCHEMA_VERSION)
