"""One architecture trained properly: weights, an exported file that computes the same, and what a device says of it.

Everything that can be refused is refused before the first step.
"""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import nn

from profiler_agent.records import Settings, TableKey
from searcher.artifacts import ExportedModel, sha256_of
from searcher.devices.device import Connect, Device, connect
from searcher.errors import BadInputError
from searcher.export.exporter import exporter_for
from searcher.networks.trainable import network_of, plain_weights, trainable_network
from searcher.search.accounting import Account, Rates, add_up
from searcher.search.scores.deterministic import deterministic
from searcher.search.scores.threads import threads
from searcher.spaces.architecture import Architecture
from searcher.spaces.space import SearchSpace
from searcher.training.datasets import ImageDataset, fingerprint
from searcher.training.holding_out import hold_out, images_held
from searcher.training.loops import EpochResult, Training, accuracy
from searcher.training.recipe import CUDA, DEVICES, Recipe
from searcher.training.tensor_files import save_tensors
from searcher.verification.trained_network import (
    TRAINING_DOCUMENT,
    MeasuredNetwork,
    TrainedNetwork,
    TrainingData,
    WrittenFile,
    check_export,
    judge_network,
)
from searcher.verification.verification import MeasuredDevice
from searcher.workflows.closed_loop import require_device
from searcher.workflows.measure_networks import measure_models
from searcher.workflows.prepare_device import ask_device, meet_device, prepare_device
from searcher.workflows.progress import Progress, Work
from searcher.workflows.training_folder import EpochLine, TrainingFolder

WEIGHTS, DOCUMENT, EXPORTED = "weights.pt", "training.json", "network"
_CHECKED_IMAGES = 256
# Of a long training not every epoch is worth a line.
_MOST_NOTES = 20


@dataclass(frozen=True)
class TrainedMeasuring:
    """Where and how the trained network is measured.

    Attributes:
        device: where.
        settings: of the measuring.
        limit_ms: the greatest latency; None for no limit.
        key: of a table under whose conditions it is measured; None for no table.
        predicted_ms: what that table says; None where it says nothing.
    """

    device: Device
    settings: Settings
    limit_ms: float | None = None
    key: TableKey | None = None
    predicted_ms: float | None = None


@dataclass(frozen=True)
class TrainRequest:
    """What to train, and what becomes of it.

    Attributes:
        space: with as many classes as the data, and images of its size.
        architecture: of the space.
        dataset: what to train on.
        recipe: how.
        output: folder for all that comes of it.
        seed: of everything random.
        validation_share: of the training split to hold back; 0 for nothing.
        runtime_format: `onnx` or `tflite`.
        train_device: where to train, `cpu` or `cuda`.
        resume: go on with what is in the folder.
        measuring: of the exported file; None for none.
        rates: of energy and CO₂.
    """

    space: SearchSpace
    architecture: Architecture
    dataset: ImageDataset
    recipe: Recipe
    output: Path
    seed: int = 0
    validation_share: float = 0.0
    runtime_format: str = "onnx"
    train_device: str = "cpu"
    resume: bool = False
    measuring: TrainedMeasuring | None = None
    rates: Rates = dataclasses.field(default_factory=Rates)


def train_architecture(request: TrainRequest, connect: Connect = connect) -> Work[TrainedNetwork]:
    """Train, write the weights, export and check the file, and measure it where that is wanted.

    A training that goes on gives the network of one that was never broken, bit for bit. Of a finished one everything
    after the training is done anew.

    Args:
        request: what to train.
        connect: opens the way to the device.

    Raises:
        BadInputError: the request cannot be carried out, or the folder holds another training.
        KeyMismatchError: the device or the settings are not those of the table.
        SearcherError: the training diverged, the exported file does not compute what was trained, or the device cannot
            be reached or cannot run the file.
    """
    account = Account()
    exported = f"{EXPORTED}{_require_possible(request)}"
    with TrainingFolder(request.output, request.resume, (WEIGHTS, DOCUMENT, exported)) as folder:
        used = _threads_of(folder)
        note = folder.begin(training_identity(request, used))
        yield from _met(request.measuring, connect)
        network = yield from _trained(request, folder, account, used, note)
        weights = plain_weights(request.space, request.architecture, network)
        save_tensors(weights, request.output / WEIGHTS, "trained weights")
        with threads(used):
            trained = _concluded(request, folder, account, used, request.output / exported)
        # Written before the measuring too: a device that fails must not cost what was trained.
        TRAINING_DOCUMENT.save(trained, request.output / DOCUMENT)
        measured = yield from _measured(request, request.output / exported, connect)
        folder.spend(account.session())
        spent = add_up((*folder.earlier, account.session()), request.rates)
        trained = dataclasses.replace(trained, measured=measured, spent=spent)
        TRAINING_DOCUMENT.save(trained, request.output / DOCUMENT)
    return trained


def training_identity(request: TrainRequest, used_threads: int) -> dict[str, Any]:
    """Return all that the weights depend on, as JSON has it.

    Args:
        request: what to train.
        used_threads: of torch.
    """
    return {
        "space": repr(request.space),
        "architecture": request.space.format(request.architecture),
        "data": {"name": request.dataset.name, "fingerprint": fingerprint(request.dataset)},
        "recipe": dataclasses.asdict(request.recipe),
        "seed": request.seed,
        "validation_share": request.validation_share,
        "train_device": request.train_device,
        "threads": used_threads,
        "versions": _versions(),
    }


def _require_possible(request: TrainRequest) -> str:
    """Refuse what cannot be trained or exported; return the suffix of the exported file."""
    space, dataset = request.space, request.dataset
    if not space.is_connected(request.architecture):
        raise BadInputError(f"{space.format(request.architecture)} does not lead from its input to its output")
    if space.image_shape[1:] != tuple(dataset.train_images.shape[1:]):
        side = dataset.train_images.shape[-1]
        raise BadInputError(
            f"the images of {dataset.name} have {side} pixels a side, those of the space {space.image_shape[-1]}"
        )
    if request.train_device not in DEVICES:
        raise BadInputError(f"networks are trained on {' or '.join(DEVICES)}, not on {request.train_device!r}")
    if request.train_device == CUDA and not torch.cuda.is_available():
        raise BadInputError("torch finds no graphics card here: train on the CPU, without --train-device cuda")
    _held(request)
    return exporter_for(request.runtime_format).suffix


def _held(request: TrainRequest) -> int:
    """Return how many training images are held back."""
    return images_held(len(request.dataset.train_labels), request.validation_share) if request.validation_share else 0


def _threads_of(folder: TrainingFolder) -> int:
    """Return the threads to train on: those of the training that goes on, whatever there are now."""
    known = (folder.known_request or {}).get("threads")
    return known if isinstance(known, int) and known > 0 else torch.get_num_threads()


def _versions() -> dict[str, str]:
    return {"torch": version("torch")}


def _met(measuring: TrainedMeasuring | None, connect: Connect) -> Work[None]:
    """Find out before a long training whether the device can be reached, and is that of the table."""
    if measuring is None:
        return
    if measuring.key is not None:
        yield from require_device(measuring.key, measuring.device, connect)
        return
    yield from meet_device(measuring.device)
    ask_device(measuring.device, connect)


def _trained(
    request: TrainRequest, folder: TrainingFolder, account: Account, used_threads: int, note: str
) -> Work[nn.Module]:
    network, training, held_back = _begun(request, folder.state, folder.state_problem)
    epochs = request.recipe.epochs
    yield Progress("train, epochs", training.epoch, epochs, note)
    while not training.is_done:
        began_s = time.monotonic()
        with _computing(request.train_device, used_threads):
            result = training.run_epoch()
            validated = None
            if held_back is not None:
                images, labels = held_back.test_images, held_back.test_labels
                validated = accuracy(network, images, labels, device=request.train_device)
        line = EpochLine(
            epoch=result.epoch,
            loss=result.loss,
            train_accuracy=result.train_accuracy,
            validation_accuracy=validated,
            learning_rate=result.learning_rate,
            seconds=time.monotonic() - began_s,
        )
        folder.keep(line, training.state(), account.session())
        yield Progress("train, epochs", result.epoch, epochs, _said(result, validated))
    return network


def _begun(
    request: TrainRequest, state: Mapping[str, Any] | None, problem: str
) -> tuple[nn.Module, Training, ImageDataset | None]:
    """Return network and training, brought to the state if there is one, and the data with its part held back."""
    generator = torch.Generator().manual_seed(request.seed)
    network = trainable_network(request.space, request.architecture, request.seed)
    held_back = hold_out(request.dataset, request.validation_share, generator) if request.validation_share else None
    data = request.dataset if held_back is None else held_back
    training = Training(network, data, request.recipe, generator, request.train_device)
    if state is not None:
        try:
            training.restore(state)
        except (LookupError, RuntimeError, TypeError, ValueError) as e:
            raise BadInputError(problem) from e
    return network, training, held_back


@contextlib.contextmanager
def _computing(device: str, used_threads: int) -> Iterator[None]:
    """Compute so that it comes out the same again, where that does not hold by itself."""
    with threads(used_threads), deterministic() if device == CUDA else contextlib.nullcontext():
        yield


def _said(result: EpochResult, validated: float | None) -> str:
    """Return an epoch in a line; empty where it is not worth one."""
    every = -(-result.epochs // _MOST_NOTES)
    if result.epoch % every and result.epoch != result.epochs:
        return ""
    validation = "" if validated is None else f", {validated:.2f}% of those held back"
    return f"epoch {result.epoch}: loss {result.loss:.4f}, {result.train_accuracy:.2f}% of training images{validation}"


def _concluded(
    request: TrainRequest, folder: TrainingFolder, account: Account, used_threads: int, exported: Path
) -> TrainedNetwork:
    """Export the network, as it is read back from its file of weights, and tell what it came to."""
    space, architecture, dataset = request.space, request.architecture, request.dataset
    weights = request.output / WEIGHTS
    network = network_of(space, architecture, torch.load(weights, weights_only=True))
    test_accuracy = accuracy(network, dataset.test_images, dataset.test_labels)
    name = space.format(architecture)
    model = exporter_for(request.runtime_format).export_trained(network, space.image_shape, name, exported)
    rows = slice(None, None, max(1, len(dataset.test_labels) // _CHECKED_IMAGES))
    images, labels = dataset.test_images[rows][:_CHECKED_IMAGES], dataset.test_labels[rows][:_CHECKED_IMAGES]
    checked = check_export(network, exported, model.sha256, request.runtime_format, images, labels)
    last = folder.epochs[-1]
    held = _held(request)
    return TrainedNetwork(
        space=space.name,
        sizes=repr(space),
        architecture=name,
        data=TrainingData(
            name=dataset.name,
            fingerprint=fingerprint(dataset),
            train_images=len(dataset.train_labels) - held,
            validation_images=held,
            test_images=len(dataset.test_labels),
        ),
        recipe=request.recipe,
        seed=request.seed,
        validation_share=request.validation_share,
        train_device=request.train_device,
        threads=used_threads,
        versions=_versions(),
        loss=last.loss,
        train_accuracy=last.train_accuracy,
        validation_accuracy=last.validation_accuracy,
        test_accuracy=test_accuracy,
        parameters=space.parameters(architecture),
        macs=space.macs(architecture),
        weights=WrittenFile(WEIGHTS, sha256_of(weights)),
        exported=checked,
        measured=None,
        spent=add_up((*folder.earlier, account.session()), request.rates),
    )


def _measured(request: TrainRequest, exported: Path, connect: Connect) -> Work[MeasuredNetwork | None]:
    measuring = request.measuring
    if measuring is None:
        return None
    settings = measuring.settings
    if measuring.key is None:
        settings = yield from prepare_device(measuring.device, settings, connect)
    name = request.space.format(request.architecture)
    model = ExportedModel(name, exported, sha256_of(exported))
    result = (yield from measure_models([model], measuring.device, settings, measuring.key, connect)).result
    (measurement,) = result.measurements
    key = result.hello.key
    device = MeasuredDevice(measuring.device.name, key.device_fingerprint)
    runtime = key.runtime, key.runtime_version
    return judge_network(device, runtime, measurement, measuring.predicted_ms, measuring.limit_ms)
