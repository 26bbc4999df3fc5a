"""From nothing to the latency of a network on a board behind a real SSH server, by way of a dataset of its kernels."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import onnxruntime
import pytest
from torch import nn

from searcher.export import to_onnx
from searcher.export.recipe import set_weights
from searcher.tables.dataset_card import CARD_DOCUMENT, card_path
from searcher.tables.dataset_file import read_dataset
from tests.loopback_sshd import LoopbackSshd, wait_until
from tests.quiet_board import require_quiet
from tests.searcher.command_line import Run, assert_one_sentence
from tests.sshd import sshd_or_skip

# More than the 20 different kernels that a model takes: some may be near-duplicates.
POINTS = 24


@pytest.fixture
def board(tmp_path: Path) -> Iterator[LoopbackSshd]:
    with sshd_or_skip(tmp_path / "sshd") as server:
        yield server


def losing_its_link(board: LoopbackSshd, lost: list[int]) -> threading.Thread:
    """A thread that drops the board's connections once it measures the first kernels."""
    jobs = board.home / ".cache" / "profiler-agent" / "jobs"

    def drop() -> None:
        # The first job tells the table key.
        if wait_until(lambda: len(list(jobs.glob("*/journal.jsonl*"))) > 1, 60):
            lost.extend(board.connections())
            board.drop_connections()

    return threading.Thread(target=drop)


def test_a_network_is_predicted_from_a_dataset_that_a_board_measured(
    board: LoopbackSshd, searcher: Run, tmp_path: Path
) -> None:
    way = ["--device", str(board.address), "--python", sys.executable]
    way += ["--identity", str(board.identity), "--known-hosts", str(board.known_hosts)]
    quick = ("--types", "pointwise", "--largest", "0.05", "--rounds", "1", "--samples", "1")
    dataset, predictor, network = tmp_path / "k.csv", tmp_path / "p.json", tmp_path / "network.onnx"
    lost: list[int] = []
    thread = losing_its_link(board, lost)
    thread.start()
    built = searcher("dataset", "build", *way, *quick, "--points", str(POINTS), "--out", dataset)
    thread.join()
    assert built.status == 0, built.err
    assert lost
    rows = read_dataset(dataset)
    assert len({row.spec for row in rows}) == len(rows) == POINTS
    (conditions,) = CARD_DOCUMENT.load(card_path(dataset)).conditions
    assert (conditions.device, conditions.rows, conditions.failures) == (str(board.address), POINTS, {})
    assert (conditions.key.runtime_version, conditions.key.threads) == (onnxruntime.__version__, 1)
    trained = searcher("predictor", "train", dataset, "--out", predictor)
    assert trained.status == 0, trained.err
    two = nn.Sequential(nn.Conv2d(16, 24, 1), nn.Conv2d(24, 16, 1))
    to_onnx.write(set_weights(two), ((1, 16, 12, 16),), network)
    predicted = searcher("predictor", "predict", predictor, network, "--json")
    assert predicted.status == 0, predicted.err
    told = json.loads(predicted.out)
    assert [kernel["type"] for kernel in told["kernels"]] == ["pointwise", "pointwise"]
    kernels_ms = sum(kernel["latency_ms"] for kernel in told["kernels"])
    assert told["latency_ms"] == pytest.approx(told["call_ms"] + kernels_ms)
    assert 0 < told["interval_ms"][0] < told["latency_ms"] < told["interval_ms"][1]
    require_quiet(board.home / ".cache" / "profiler-agent", patience_s=10)
    board.stop()
    gone = searcher("dataset", "build", *way, *quick, "--points", str(POINTS + 1), "--out", dataset)
    assert_one_sentence(gone, 1, "no SSH server listens")
    assert f"{dataset} holds {POINTS} kernels: building again goes on from there" in gone.err
    assert read_dataset(dataset) == rows
