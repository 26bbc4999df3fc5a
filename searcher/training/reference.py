"""Reference networks: published weights from a file, or a ResNet-20 trained here once and kept in a cache."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from searcher.artifacts import require_writable
from searcher.errors import BadInputError
from searcher.networks.resnet import ResNet20
from searcher.training.datasets import ImageDataset, fingerprint
from searcher.training.loops import EpochResult, TrainingSettings, accuracy, train
from searcher.training.tensor_files import parse_tensors, save_tensors

# 1: {"schema_version", "state_dict"}. Part of a cache file's name too: raise it when the training itself changes.
_SCHEMA_VERSION = 1

_PREFIX = "module."
# Counters that batch normalisation keeps; published weights may lack them, and evaluation ignores them.
_OPTIONAL_SUFFIX = ".num_batches_tracked"


@dataclass(frozen=True, eq=False)
class Reference:
    """A trained network whose features others are compared with.

    Attributes:
        model: in evaluation mode.
        test_accuracy: on the data set's test split, in percent, measured when the reference was loaded.
        source: the file it came from.
        sha256: hexadecimal hash of that file's bytes.
    """

    model: ResNet20
    test_accuracy: float
    source: str
    sha256: str


def load_reference(path: Path, dataset: ImageDataset) -> Reference:
    """Load a ResNet-20 from a file of weights and measure it on the data set's test split.

    Args:
        path: a state dict or `{"state_dict": ...}` written by torch.save; a `module.` prefix is dropped. Only
            plain tensors are read from it (`weights_only=True`).
        dataset: what the weights were trained for.

    Raises:
        BadInputError: the file cannot be read, or its weights are not those of a ResNet-20 for the data set.
    """
    try:
        content = path.read_bytes()
    except OSError as e:
        raise BadInputError(f"cannot read the reference {path}: {e.strerror or e}") from e
    try:
        stored = parse_tensors(content)
    except ValueError as e:
        raise BadInputError(
            f"the reference {path} is not a file of plain weights, as torch.save(model.state_dict(), ...) writes them"
        ) from e
    model = ResNet20(dataset.classes)
    _fill(model, _state_dict(stored, path), path)
    model.eval()
    measured = accuracy(model, dataset.test_images, dataset.test_labels)
    return Reference(model, measured, str(path), hashlib.sha256(content).hexdigest())


def cached_reference(dataset: ImageDataset, cache: Path, settings: TrainingSettings, seed: int) -> Reference | None:
    """Return the reference trained earlier for this data set, settings and seed; None if missing or damaged."""
    try:
        return load_reference(reference_path(dataset, cache, settings, seed), dataset)
    except BadInputError:
        # What a cache has lost can be made again, so damage is no reason to stop.
        return None


def train_reference(dataset: ImageDataset, cache: Path, settings: TrainingSettings, seed: int) -> Iterator[EpochResult]:
    """Train a ResNet-20 and give the result of each epoch; the cache has the reference once all are taken.

    With the default settings the digits take about half a minute on two cores.

    Args:
        dataset: trained on its training split.
        cache: a folder, made if missing.
        settings: how to train.
        seed: of the first weights, the order of the images and their shifts.

    Raises:
        BadInputError: the cache folder cannot be written.
        SearcherError: training diverged, or the weights could not be saved.
    """
    path = reference_path(dataset, cache, settings, seed)
    # Before the training rather than after it: a cache that cannot be written should not cost minutes.
    require_writable(path, "reference")
    generator = torch.Generator().manual_seed(seed)
    model = ResNet20(dataset.classes)
    model.initialise(generator)
    yield from train(model, dataset, settings, generator)
    _save(model, path)


def reference_path(dataset: ImageDataset, cache: Path, settings: TrainingSettings, seed: int) -> Path:
    """Return where the cache keeps the reference of this data set, these settings and this seed."""
    key = json.dumps([_SCHEMA_VERSION, fingerprint(dataset), dataclasses.asdict(settings), seed], sort_keys=True)
    return cache / f"resnet20-{dataset.name}-{hashlib.sha256(key.encode()).hexdigest()[:16]}.pt"


def _save(model: ResNet20, path: Path) -> None:
    state = {name: value.contiguous() for name, value in model.state_dict().items()}
    save_tensors({"schema_version": _SCHEMA_VERSION, "state_dict": state}, path, "trained reference")


def _state_dict(stored: object, path: Path) -> dict[str, Tensor]:
    if isinstance(stored, Mapping) and "state_dict" in stored:
        version = stored.get("schema_version", _SCHEMA_VERSION)
        if version != _SCHEMA_VERSION:
            raise BadInputError(f"the reference {path} has the unknown schema version {version!r}")
        stored = stored["state_dict"]
    if not isinstance(stored, Mapping):
        raise BadInputError(f"the reference {path} holds no state dict")
    state = {}
    for name, value in stored.items():
        if not isinstance(name, str) or not isinstance(value, Tensor):
            raise BadInputError(f"the reference {path} holds no state dict: its entry {name!r} is not a named tensor")
        state[name.removeprefix(_PREFIX)] = value
    return state


def _fill(model: ResNet20, state: Mapping[str, Tensor], path: Path) -> None:
    """Copy checked weights into the model; torch's own checks fill pages and let lossy copies pass."""
    expected = model.state_dict()
    missing = [name for name in expected if name not in state and not name.endswith(_OPTIONAL_SUFFIX)]
    unknown = [name for name in state if name not in expected]
    if missing or unknown:
        fault = f"lacks {missing[0]!r}" if missing else f"has the unknown {unknown[0]!r}"
        raise BadInputError(f"the reference {path} does not hold the weights of a ResNet-20: it {fault}")
    for name, value in state.items():
        wanted = tuple(expected[name].shape)
        if tuple(value.shape) != wanted:
            raise BadInputError(
                f"the reference {path} does not fit a ResNet-20 of {model.linear.out_features} classes: "
                f"{name!r} is {tuple(value.shape)}, not {wanted}"
            )
        if name.endswith(_OPTIONAL_SUFFIX):
            continue
        if value.layout != torch.strided or value.device.type != "cpu" or not value.is_floating_point():
            raise BadInputError(f"the reference {path} has no plain floating-point numbers in {name!r}")
        if not bool(torch.isfinite(value).all()):
            raise BadInputError(f"the reference {path} has values in {name!r} that are not finite")
    model.load_state_dict({**expected, **state})
