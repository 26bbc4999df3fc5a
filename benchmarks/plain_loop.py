"""The road that a plain script takes to φ: candidates one by one, full depth, as RMI-NAS scores NAS-Bench-201.

`python -m benchmarks.plain_loop --data-dir DIR --output FILE` scores the 60 cells that `benchmarks.rmi` judges by and
keeps the answers as a result file, which `benchmarks.rmi` compares with. DIR holds `cifar10_subset.npz` and
`resnet20_cifar10.pt`. A file that holds some of the cells already is gone on with.

Nothing is clever here, on purpose: torch's default memory layout, one network after the other with all threads of a
step, N = 5 cells a stage, 150 steps of SGD on one batch of 32 images, 0.8·(3 - φ) + 0.2·cross-entropy (Zheng et al.,
Neural Architecture Search with Representation Mutual Information, 2022, and the settings of its published code).
Batch, reference and its Gram matrices are worked out once, as that code does too.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from benchmarks.machine import describe_machine
from searcher.artifacts import write_text
from searcher.errors import SearcherError
from searcher.networks.blocks import initialise
from searcher.networks.nasbench201 import NasBench201Network
from searcher.search.scores.batch import easiest_batch
from searcher.search.scores.batch_training import RmiSettings
from searcher.search.scores.cka import centred_gram, representation_mutual_information
from searcher.spaces.architecture import Architecture
from searcher.spaces.nasbench201 import NasBench201
from searcher.training.datasets import load_dataset
from searcher.training.reference import load_reference

CELLS, CELLS_SEED = 60, 20
SETTINGS = RmiSettings(steps=150)
_THREADS = 2


@dataclass(frozen=True)
class LoopScore:
    """What the loop says of one cell, and how long it took."""

    architecture: str
    rmi: float
    loss: float
    seconds: float


class PlainLoop:
    """Trains one candidate at a time; the batch and the reference's Gram matrices are prepared once."""

    def __init__(self, data_dir: Path, cells_per_stage: int = 5, settings: RmiSettings = SETTINGS) -> None:
        self._space = NasBench201(cells_per_stage=cells_per_stage)
        self._settings = settings
        dataset = load_dataset(f"cifar10:{data_dir / 'cifar10_subset.npz'}")
        reference = load_reference(data_dir / "resnet20_cifar10.pt", dataset)
        generator = torch.Generator().manual_seed(settings.seed)
        self._images, self._labels = easiest_batch(reference, dataset, settings.batch_size, generator)
        with torch.no_grad():
            self._grams = [centred_gram(one) for one in reference.model.features(self._images)]

    def score(self, architecture: Architecture) -> LoopScore:
        """Train one candidate from scratch."""
        start, settings = time.perf_counter(), self._settings
        network = NasBench201Network(self._space, architecture).train()
        initialise(network, torch.Generator().manual_seed(settings.seed))
        optimizer = torch.optim.SGD(
            network.parameters(), settings.learning_rate, settings.momentum, weight_decay=settings.weight_decay
        )
        for _ in range(settings.steps):
            optimizer.zero_grad()
            _, loss = self._rmi_and_loss(network)
            torch.autograd.backward(loss)
            optimizer.step()
        with torch.no_grad():
            rmi, loss = self._rmi_and_loss(network)
        seconds = time.perf_counter() - start
        return LoopScore(self._space.format(architecture), float(rmi), float(loss), seconds)

    def _rmi_and_loss(self, network: NasBench201Network) -> tuple[torch.Tensor, torch.Tensor]:
        features, logits = network.forward_with_features(self._images)
        rmi = representation_mutual_information(self._grams, features)
        beta = self._settings.beta
        task = functional.cross_entropy(logits, self._labels)
        return rmi, beta * (len(self._grams) - rmi) + (1 - beta) * task


def judged_cells(count: int = CELLS, seed: int = CELLS_SEED) -> tuple[Architecture, ...]:
    """Draw connected cells that all train differently."""
    space, generator = NasBench201(), np.random.default_rng(seed)
    drawn: dict[str, Architecture] = {}
    while len(drawn) < count:
        cell = space.sample(generator)
        if space.is_connected(cell):
            drawn.setdefault(space.score_key(cell), cell)
    return tuple(drawn.values())


def read_scores(path: Path) -> dict[str, LoopScore]:
    """Return the kept scores by architecture; none where there is no file.

    Raises:
        SearcherError: the file is of other settings.
    """
    if not path.exists():
        return {}
    kept = json.loads(path.read_text())
    if kept["settings"] != _settings():
        raise SearcherError(f"{path} was made with other settings")
    return {one["architecture"]: LoopScore(**one) for one in kept["scores"]}


def _settings() -> dict[str, Any]:
    settings = asdict(SETTINGS)
    del settings["precision"]  # the loop knows none but torch's own
    return {**settings, "cells_per_stage": 5, "cells_seed": CELLS_SEED, "threads": _THREADS}


def _write(path: Path, scores: Sequence[LoopScore]) -> None:
    kept = {
        "command": "python -m benchmarks.plain_loop --data-dir DIR --output FILE",
        "settings": _settings(),
        "machine": describe_machine(),
        "torch": torch.__version__,
        "scores": [asdict(one) for one in scores],
    }
    write_text(path, json.dumps(kept, indent=1) + "\n")


def main() -> None:
    """Score all cells that are not scored yet."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    options = parser.parse_args()
    torch.set_num_threads(_THREADS)
    try:
        loop, space, scores = PlainLoop(options.data_dir), NasBench201(), read_scores(options.output)
        for cell in judged_cells():
            if space.format(cell) not in scores:
                scores[space.format(cell)] = loop.score(cell)
                _write(options.output, list(scores.values()))
    except SearcherError as e:
        sys.exit(f"benchmarks.plain_loop: {e}")
    print(json.dumps({"benchmark": "plain_loop", "cells": len(scores), "output": str(options.output)}))


if __name__ == "__main__":
    main()
