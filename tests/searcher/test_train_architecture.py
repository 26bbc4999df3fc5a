"""One architecture trained, put aside, exported, held against torch and measured: real runtimes, a few digits."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch

from profiler_agent.records import TableKey
from searcher.artifacts import sha256_of
from searcher.devices.device import Device
from searcher.errors import BadInputError, SearcherError
from searcher.networks.trainable import network_of
from searcher.reports.training import trained_network
from searcher.spaces.fbnet import FBNet
from searcher.spaces.nasbench201 import NasBench201
from searcher.tables.lookup_table import KeyMismatchError
from searcher.training.augmentation import Augmentation
from searcher.training.datasets import ImageDataset, load_dataset
from searcher.training.holding_out import hold_out
from searcher.training.loops import accuracy
from searcher.training.recipe import Recipe
from searcher.training.tensor_files import save_tensors
from searcher.verification.trained_network import TRAINING_DOCUMENT, TrainedNetwork, check_export
from searcher.verification.verification import LimitMissedError
from searcher.workflows import training_folder
from searcher.workflows.train_architecture import TrainedMeasuring, TrainRequest, train_architecture
from tests.agent.trees import RASPBERRY_PI
from tests.searcher.builders import KEY, QUICK
from tests.searcher.test_prepare_device import board
from tests.searcher.watching import watched

SPACE = NasBench201(cells_per_stage=1, channels=4)
CELL = SPACE.parse("|nor_conv_3x3~0|+|avg_pool_3x3~0|none~1|+|skip_connect~0|none~1|avg_pool_3x3~2|")
RECIPE = Recipe(
    epochs=3, batch_size=32, label_smoothing=0.1, augmentation=Augmentation(shift_pixels=2, cutout_pixels=8)
)


@pytest.fixture(scope="module")
def few() -> ImageDataset:
    """A few digits: three batches to train on, and a rest."""
    data = load_dataset("digits")
    return dataclasses.replace(
        data,
        train_images=data.train_images[:112],
        train_labels=data.train_labels[:112],
        test_images=data.test_images[:40],
        test_labels=data.test_labels[:40],
    )


def wanted(few: ImageDataset, output: Path, **changes: Any) -> TrainRequest:
    return TrainRequest(SPACE, CELL, few, **{"recipe": RECIPE, "output": output, "seed": 4, **changes})


@pytest.fixture(scope="module")
def unbroken(few: ImageDataset, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, TrainedNetwork]:
    """A training that nobody disturbed, with a part held back: its folder and what it came to."""
    folder = tmp_path_factory.mktemp("unbroken") / "run"
    trained, _ = watched(train_architecture(wanted(few, folder, validation_share=0.1)))
    assert isinstance(trained, TrainedNetwork)
    return folder, trained


def lines(folder: Path, event: str) -> list[dict[str, Any]]:
    told = [json.loads(line) for line in (folder / "journal.jsonl").read_text(encoding="utf-8").splitlines()]
    return [line for line in told if line["event"] == event]


def epochs(folder: Path) -> list[dict[str, Any]]:
    """What the journal tells of epochs, but for how long they took."""
    return [{name: value for name, value in line.items() if name != "seconds"} for line in lines(folder, "epoch")]


def broken_after(few: ImageDataset, folder: Path, count: int) -> None:
    """Interrupt a training after so many epochs."""
    work = train_architecture(wanted(few, folder, validation_share=0.1))
    while next(work).done < count:
        pass
    with pytest.raises(KeyboardInterrupt) as interrupt:
        work.throw(KeyboardInterrupt())
    assert "--resume goes on with it" in interrupt.value.__notes__[0]


def test_files_and_document_agree(few: ImageDataset, unbroken: tuple[Path, TrainedNetwork]) -> None:
    folder, trained = unbroken
    assert {path.name for path in folder.iterdir()} == {
        "journal.jsonl", "network.onnx", "state.pt", "training.json", "weights.pt",
    }  # fmt: skip
    assert TRAINING_DOCUMENT.load(folder / "training.json") == trained
    assert trained.weights.sha256 == sha256_of(folder / "weights.pt")
    network = network_of(SPACE, CELL, torch.load(folder / "weights.pt", weights_only=True))
    assert trained.test_accuracy == accuracy(network, few.test_images, few.test_labels)
    assert (trained.parameters, trained.macs) == (SPACE.parameters(CELL), SPACE.macs(CELL))
    assert (trained.data.train_images, trained.data.validation_images, trained.data.test_images) == (101, 11, 40)
    assert (trained.loss, trained.validation_accuracy) == (
        (last := epochs(folder)[-1])["loss"],
        last["validation_accuracy"],
    )
    assert trained.spent.sessions == 1
    assert f"test accuracy {trained.test_accuracy:.2f}% on 40 images" in trained_network(trained)


def test_the_exported_file_is_the_network(few: ImageDataset, unbroken: tuple[Path, TrainedNetwork]) -> None:
    folder, trained = unbroken
    session = onnxruntime.InferenceSession(folder / "network.onnx", providers=["CPUExecutionProvider"])
    classes = [int(session.run(None, {"input_0": one[None].numpy()})[0].argmax()) for one in few.test_images]
    share = 100 * float(np.mean(np.array(classes) == few.test_labels.numpy()))

    assert trained.exported.accuracy == trained.exported.torch_accuracy == trained.test_accuracy == share
    assert trained.exported.images == 40
    assert 0 <= trained.exported.numerical_error < 1e-5
    assert trained.exported.sha256 == sha256_of(folder / "network.onnx")


def test_a_file_of_other_weights_is_refused(few: ImageDataset, unbroken: tuple[Path, TrainedNetwork]) -> None:
    folder = unbroken[0]
    weights = torch.load(folder / "weights.pt", weights_only=True)
    weights["stem.0.weight"] = weights["stem.0.weight"] * 1.01
    network = network_of(SPACE, CELL, weights)
    with pytest.raises(SearcherError, match="does not compute what was trained: its logits are off by"):
        check_export(network, folder / "network.onnx", "00", "onnx", few.test_images[:4], few.test_labels[:4])


def test_an_interrupted_training_ends_like_an_unbroken_one(
    few: ImageDataset, tmp_path: Path, unbroken: tuple[Path, TrainedNetwork]
) -> None:
    broken_after(few, tmp_path / "run", 1)
    assert len(epochs(tmp_path / "run")) == 1
    assert not (tmp_path / "run" / "weights.pt").exists()

    request = wanted(few, tmp_path / "run", validation_share=0.1, resume=True)
    trained, seen = watched(train_architecture(request))

    assert any("going on with the training of" in one.note and "(epochs: 1 of 3)" in one.note for one in seen)
    assert (tmp_path / "run" / "weights.pt").read_bytes() == (unbroken[0] / "weights.pt").read_bytes()
    assert epochs(tmp_path / "run") == epochs(unbroken[0])
    assert dataclasses.replace(trained, spent=unbroken[1].spent) == unbroken[1]
    assert trained.spent.sessions == 2


def test_a_crash_between_journal_and_state_loses_one_epoch(
    few: ImageDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, unbroken: tuple[Path, TrainedNetwork]
) -> None:
    saved = []

    def crashing(content: object, path: Path, title: str) -> None:
        saved.append(path.name)
        if len(saved) == 2:
            raise MemoryError
        save_tensors(content, path, title)

    with monkeypatch.context() as patch:
        patch.setattr(training_folder, "save_tensors", crashing)
        with pytest.raises(MemoryError):
            watched(train_architecture(wanted(few, tmp_path / "run", validation_share=0.1)))
    journal = tmp_path / "run" / "journal.jsonl"
    with journal.open("ab") as file:
        file.write(b'{"event":"spent","ses')
    assert len(epochs_until_torn(journal)) == 2

    watched(train_architecture(wanted(few, tmp_path / "run", validation_share=0.1, resume=True)))

    assert epochs(tmp_path / "run") == epochs(unbroken[0])
    assert (tmp_path / "run" / "weights.pt").read_bytes() == (unbroken[0] / "weights.pt").read_bytes()


def epochs_until_torn(journal: Path) -> list[bytes]:
    return [line for line in journal.read_bytes().splitlines()[:-1] if b'"event":"epoch"' in line]


def test_what_is_there_is_not_overwritten(few: ImageDataset, tmp_path: Path) -> None:
    run = tmp_path / "run"
    broken_after(few, run, 1)
    kept = {path: path.read_bytes() for path in run.iterdir()}

    def refused(sentence: str, **changes: Any) -> None:
        with pytest.raises(BadInputError, match=sentence):
            watched(train_architecture(wanted(few, run, **{"validation_share": 0.1, **changes})))
        assert {path: path.read_bytes() for path in run.iterdir()} == kept

    refused(r"holds a training already \(epochs: 1 of 3\): go on with --resume")
    refused("recipe.epochs was 3, is 4", recipe=dataclasses.replace(RECIPE, epochs=4), resume=True)
    refused("seed was 4, is 5", seed=5, resume=True)
    refused("validation_share was 0.1, is 0.0", validation_share=0.0, resume=True)
    with training_folder.TrainingFolder(run, resume=True):
        refused("is being written by another run", resume=True)


@pytest.mark.parametrize("content", [b"", b"garbage", None])
def test_a_damaged_state_is_refused(few: ImageDataset, tmp_path: Path, content: bytes | None) -> None:
    broken_after(few, tmp_path / "run", 1)
    state = tmp_path / "run" / "state.pt"
    if content is None:
        torch.save({**torch.load(state, weights_only=True), "epoch": 3}, state)
    else:
        state.write_bytes(content)
    with pytest.raises(BadInputError, match=r"state\.pt is no state of the training beside it, or damaged"):
        watched(train_architecture(wanted(few, tmp_path / "run", validation_share=0.1, resume=True)))


def test_a_folder_of_something_else_is_left_alone(few: ImageDataset, tmp_path: Path) -> None:
    (tmp_path / "weights.pt").write_text("mine")
    with pytest.raises(BadInputError, match=r"holds weights\.pt, but no journal of a training"):
        watched(train_architecture(wanted(few, tmp_path)))
    assert [path.name for path in tmp_path.iterdir()] == ["weights.pt"]


@pytest.mark.parametrize(
    ("text", "changes", "sentence"),
    [
        (None, {"runtime_format": "coreml"}, "unknown runtime 'coreml'"),
        (None, {"train_device": "tpu"}, "trained on cpu or cuda, not on 'tpu'"),
        (
            None,
            {"space": NasBench201(image_size=16)},
            "the images of digits have 32 pixels a side, those of the space 16",
        ),
        ("|none~0|+|none~0|none~1|+|none~0|none~1|none~2|", {}, "does not lead from its input to its output"),
    ],
)
def test_what_cannot_be_trained_is_refused_before_anything_is_made(
    few: ImageDataset, tmp_path: Path, text: str | None, changes: dict[str, Any], sentence: str
) -> None:
    request = dataclasses.replace(wanted(few, tmp_path / "run"), **changes)
    if text is not None:
        request = dataclasses.replace(request, architecture=SPACE.parse(text))
    with pytest.raises(BadInputError, match=sentence):
        watched(train_architecture(request))
    assert not (tmp_path / "run").exists()


def test_a_training_that_diverges_says_so(few: ImageDataset, tmp_path: Path) -> None:
    broken = dataclasses.replace(few, train_images=few.train_images * float("nan"))
    with pytest.raises(SearcherError, match="training diverged in epoch 1"):
        watched(train_architecture(wanted(broken, tmp_path / "run")))
    assert not (tmp_path / "run" / "state.pt").exists()


def there(tmp_path: Path, limit_ms: float | None = None, key: TableKey | None = None) -> TrainedMeasuring:
    return TrainedMeasuring(Device(), QUICK, limit_ms, key, predicted_ms=None if key is None else 0.9)


def test_the_network_is_measured_and_held_against_its_limit(
    few: ImageDataset, tmp_path: Path, unbroken: tuple[Path, TrainedNetwork]
) -> None:
    folder = shutil.copytree(unbroken[0], tmp_path / "run")
    key = dataclasses.replace(KEY, device_fingerprint="aarch64-0")
    pi = board(tmp_path, RASPBERRY_PI)

    def measured(limit_ms: float | None, key: TableKey | None) -> TrainedNetwork:
        request = wanted(few, folder, validation_share=0.1, resume=True, measuring=there(tmp_path, limit_ms, key))
        trained, _ = watched(train_architecture(request, lambda _: pi))
        assert TRAINING_DOCUMENT.load(folder / "training.json") == trained
        assert isinstance(trained, TrainedNetwork)
        return trained

    kept = measured(1.5, None)
    assert kept.measured is not None
    assert (kept.measured.measured_ms, kept.measured.feasible, kept.measured.predicted_ms) == (1.0, True, None)
    kept.require_limit()
    assert "the limit of 1.5000 ms is kept" in trained_network(kept)
    # Nothing was trained again.
    assert kept.weights == unbroken[1].weights
    assert len(epochs(folder)) == 3

    missed = measured(0.5, key)
    assert missed.measured is not None
    assert missed.measured.error_pct == pytest.approx(-10)
    with pytest.raises(LimitMissedError, match=r"takes 1\.0000 ms on local, more than the limit of 0\.5000 ms"):
        missed.require_limit()
    assert "predicted 0.9000 ms (-10.0%); the limit of 0.5000 ms is missed" in trained_network(missed)


def test_another_device_than_the_tables_is_told_before_the_training(few: ImageDataset, tmp_path: Path) -> None:
    request = wanted(few, tmp_path / "run", measuring=there(tmp_path, 1.0, KEY))
    with pytest.raises(KeyMismatchError, match="device_fingerprint was 'x86_64-0', is 'aarch64-0'"):
        watched(train_architecture(request, lambda _: board(tmp_path, RASPBERRY_PI)))
    assert not epochs(tmp_path / "run")


def test_held_back_images_are_not_trained_on(few: ImageDataset) -> None:
    split = hold_out(few, 0.25, torch.Generator().manual_seed(0))
    rows = torch.cat([split.train_images, split.test_images]).flatten(1)

    assert (len(split.train_labels), len(split.test_labels)) == (84, 28)
    assert sorted(map(tuple, rows.tolist())) == sorted(map(tuple, few.train_images.flatten(1).tolist()))
    with pytest.raises(BadInputError, match=r"a validation share of 0\.001 of 112 training images leaves nothing"):
        hold_out(few, 0.001, torch.Generator())


def test_mobile_networks_are_trained_too(few: ImageDataset, tmp_path: Path) -> None:
    space = FBNet(classes=10)
    text = "-".join(["0"] * 22)
    data = dataclasses.replace(few, train_images=few.train_images[:8], train_labels=few.train_labels[:8])
    recipe = Recipe(epochs=1, batch_size=8, peak_learning_rate=0.01)
    request = TrainRequest(space, space.parse(text), data, recipe, tmp_path / "run")

    trained, _ = watched(train_architecture(request))

    assert (trained.space, trained.exported.images) == ("fbnet", 40)
    assert trained.exported.numerical_error < 1e-4


@pytest.mark.slow
def test_tflite_files_compute_what_was_trained(
    few: ImageDataset, tmp_path: Path, unbroken: tuple[Path, TrainedNetwork]
) -> None:
    pytest.importorskip("litert_torch")
    trained, _ = watched(
        train_architecture(wanted(few, tmp_path / "run", validation_share=0.1, runtime_format="tflite"))
    )

    assert trained.weights == unbroken[1].weights
    assert (trained.exported.file, trained.exported.format) == ("network.tflite", "tflite")
    assert trained.exported.accuracy == trained.test_accuracy


@pytest.mark.slow
def test_photographs_are_mirrored_and_learnt(data_file: Callable[[str], Path], tmp_path: Path) -> None:
    data = load_dataset(f"cifar10:{data_file('cifar10_subset.npz')}")
    recipe = Recipe(epochs=5, batch_size=64, augmentation=Augmentation(4, mirror=True, cutout_pixels=8))
    space = NasBench201(cells_per_stage=1)
    request = TrainRequest(space, space.parse(space.format(CELL)), data, recipe, tmp_path / "run")

    trained, _ = watched(train_architecture(request))

    # Guessing is right in 10%.
    assert trained.test_accuracy > 35
