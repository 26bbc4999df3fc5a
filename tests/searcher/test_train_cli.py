"""`searcher train`, as a user calls it."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from searcher.cli import train as command
from searcher.spaces.nasbench201 import NasBench201
from searcher.tables.lookup_table import TABLE_DOCUMENT
from searcher.training.datasets import ImageDataset, load_dataset
from searcher.training.recipe import usual_recipe
from searcher.verification.trained_network import TrainedNetwork
from searcher.workflows.progress import Work
from searcher.workflows.train_architecture import TrainRequest, train_architecture
from tests.agent.trees import RASPBERRY_PI
from tests.searcher.builders import KEY, table
from tests.searcher.command_line import Run, assert_one_sentence
from tests.searcher.test_prepare_device import board

CELL = "|nor_conv_1x1~0|+|avg_pool_3x3~0|none~1|+|skip_connect~0|none~1|avg_pool_3x3~2|"
LONGEST_S = 900.0


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[TrainRequest]:
    """The trainings asked for; devices are a board in memory that takes 1 ms for anything."""
    requests: list[TrainRequest] = []
    pi = board(tmp_path / "board", RASPBERRY_PI)

    def trained(request: TrainRequest) -> Work[TrainedNetwork]:
        requests.append(request)
        return train_architecture(request, lambda _: pi)

    def few(spec: str) -> ImageDataset:
        data = load_dataset(spec)
        return replace(data, train_images=data.train_images[:64], train_labels=data.train_labels[:64],
                       test_images=data.test_images[:8], test_labels=data.test_labels[:8])  # fmt: skip

    monkeypatch.setattr(command, "train_architecture", trained)
    monkeypatch.setattr(command, "load_dataset", few)
    return requests


def test_a_cell_is_trained_exported_and_shown(searcher: Run, asked: list[TrainRequest], tmp_path: Path) -> None:
    options = ("--cells", "1", "--epochs", "1", "--batch-size", "32", "--cutout", "8", "--clip", "5", "--seed", "3")
    shown = searcher("train", CELL, "--output", tmp_path / "run", *options, "--label-smoothing", "0.1")
    assert shown.status == 0, shown.err
    assert "test accuracy" in shown.out
    assert "computes the same" in shown.out
    assert str(tmp_path / "run" / "training.json") in shown.out
    (request,) = asked
    usual = usual_recipe("digits")
    assert request.recipe == replace(
        usual,
        epochs=1,
        batch_size=32,
        clip_norm=5.0,
        label_smoothing=0.1,
        augmentation=replace(usual.augmentation, cutout_pixels=8),
    )

    again = searcher("train", CELL, "--output", tmp_path / "run", *options, "--label-smoothing", "0.1")
    assert_one_sentence(again, 2, "holds a training already (epochs: 1 of 1): go on with --resume")


def test_a_missed_limit_ends_with_1_and_everything_written(
    searcher: Run, asked: list[TrainRequest], tmp_path: Path
) -> None:
    key = replace(KEY, device_fingerprint="aarch64-0")
    TABLE_DOCUMENT.save(table(NasBench201(), lambda _block: 0.1, key), tmp_path / "lut.json")
    options = ("--cells", "1", "--epochs", "1", "--lut", tmp_path / "lut.json", "--device", "local", "--rounds", "6")
    shown = searcher("train", CELL, "--output", tmp_path / "run", *options, "--max-latency-ms", "0.5", "--json")

    assert_one_sentence(shown, 1, "takes 1.0000 ms on local, more than the limit of 0.5000 ms")
    told = json.loads(shown.out)
    assert told == json.loads((tmp_path / "run" / "training.json").read_text(encoding="utf-8"))
    assert told["schema_version"] == 1
    assert (told["measured"]["feasible"], told["measured"]["measured_ms"]) == (False, 1.0)
    assert told["measured"]["predicted_ms"] == pytest.approx(0.1)
    assert asked[0].measuring is not None
    assert asked[0].measuring.key == key


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["|nor_conv_7x7~0|"], "|nor_conv_7x7~0|"),
        ([CELL, "--space", "nowhere"], "unknown search space 'nowhere'"),
        ([CELL, "--format", "coreml"], "--format takes onnx or tflite, not 'coreml'"),
        ([CELL, "--data", "mnist"], "unknown data 'mnist'"),
        ([CELL, "--epochs", "0"], "epochs must be at least 1, not 0"),
        ([CELL, "--cutout", "-1"], "cutout_pixels must be at least 0, not -1"),
        ([CELL, "--label-smoothing", "1"], "label_smoothing must be at least 0 and below 1"),
        ([CELL, "--validation-share", "1"], "a validation share of 1 of 64 training images leaves nothing"),
        ([CELL, "--train-precision", "fp64"], "precision must be fp32 or bf16, not 'fp64'"),
        ([CELL, "--max-latency-ms", "3"], "name the device with --device"),
        ([CELL, "--lut", "there.json"], "name the device with --device"),
        ([CELL, "--lut", "missing.json", "--device", "local"], "missing.json"),
        ([CELL, "--lut", "int8.json", "--device", "local"], "the table is of int8"),
        ([CELL, "--lut", "lut.json", "--device", "local", "--format", "tflite"], "which reads onnx, not tflite"),
    ],
)
@pytest.mark.usefixtures("asked")
def test_bad_input_is_one_sentence_before_anything_is_trained(
    searcher: Run, tmp_path: Path, arguments: list[str], sentence: str
) -> None:
    for name, precision in (("lut", "fp32"), ("int8", "int8")):
        written = table(NasBench201(), lambda _block: 0.1, replace(KEY, precision=precision))
        TABLE_DOCUMENT.save(written, tmp_path / f"{name}.json")
    assert_one_sentence(searcher("train", *arguments, "--output", tmp_path / "run"), 2, sentence)
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_a_killed_training_goes_on_bit_for_bit(tmp_path: Path) -> None:
    def arguments(folder: str, *more: str) -> list[str]:
        sizes = ["--cells", "1", "--epochs", "3", "--seed", "5", "--validation-share", "0.2"]
        return [sys.executable, "-m", "searcher.cli", "train", CELL, "--output", folder, *sizes, *more]

    def run(folder: str, *more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(arguments(folder, *more), cwd=tmp_path, capture_output=True, text=True, timeout=LONGEST_S)

    assert run("unbroken").returncode == 0
    journal = tmp_path / "killed" / "journal.jsonl"
    with subprocess.Popen(arguments("killed"), cwd=tmp_path, stderr=subprocess.DEVNULL) as process:
        while process.poll() is None and not (journal.exists() and b'"event":"epoch"' in journal.read_bytes()):
            time.sleep(0.005)
        process.kill()
        assert process.wait() != 0
    refused = run("killed")
    assert refused.returncode == 2
    assert "go on with --resume" in refused.stderr
    resumed = run("killed", "--resume")
    assert resumed.returncode == 0, resumed.stderr

    unbroken, killed = (torch.load(tmp_path / one / "weights.pt", weights_only=True) for one in ("unbroken", "killed"))
    assert unbroken.keys() == killed.keys()
    assert all(torch.equal(unbroken[name], killed[name]) for name in unbroken)
