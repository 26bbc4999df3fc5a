"""Trains every NAS-Bench-201 cell that trains differently for some steps, and keeps what that shows as a result file.

`python -m benchmarks.score_all --data-dir DIR --output FILE.json.gz` takes about 40 minutes on two quiet processors:
DIR holds `cifar10_subset.npz` and `resnet20_cifar10.pt`. It can be interrupted: what is done stands in
FILE.json.gz.partial, and the same command goes on from there. `benchmarks.oracle` reads the file and measures some of
its cells again.

The cells are the representatives of the classes that a training can tell apart (`searcher/spaces/training_classes.py`),
connected ones only. `scores` holds their values by name, under their `score_key`; none where the training diverged.
`about` tells command, settings and machine.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import json
import os
import sys
from collections.abc import Iterator, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.machine import describe_machine
from searcher.artifacts import replacing
from searcher.errors import SearcherError
from searcher.search.scores.batch import prepare_batch
from searcher.search.scores.batch_training import BF16, RmiSettings, Trajectory
from searcher.search.scores.trained_on_batch import TrainedOnBatch, measured
from searcher.spaces.architecture import Architecture
from searcher.spaces.nasbench201 import NasBench201
from searcher.training.datasets import load_dataset
from searcher.training.reference import load_reference

SETTINGS = RmiSettings(steps=4, precision=BF16)
CELLS_PER_STAGE = 5
_AT_ONCE = 40


def scorer(data_dir: Path, threads: int | None = None, precision: str = SETTINGS.precision) -> TrainedOnBatch:
    """Return the measurer with the settings of the result file, on the public data set and reference.

    Args:
        data_dir: of the public data.
        threads: candidates that are trained at once; None takes one for each processor.
        precision: fp32, or that of the file.
    """
    dataset = load_dataset(f"cifar10:{data_dir / 'cifar10_subset.npz'}")
    reference = load_reference(data_dir / "resnet20_cifar10.pt", dataset)
    batch = prepare_batch(reference, dataset, SETTINGS.batch_size, SETTINGS.seed)
    space = NasBench201(cells_per_stage=CELLS_PER_STAGE)
    settings = replace(SETTINGS, precision=precision)
    return TrainedOnBatch(space, batch, settings, threads or len(os.sched_getaffinity(0)))


def all_representatives(space: NasBench201) -> tuple[Architecture, ...]:
    """Return one connected cell of each class that trains differently, in an order that is random but fixed."""
    cells = dict.fromkeys(space.representative(cell) for cell in space.architectures() if space.is_connected(cell))
    ordered = sorted(cells, key=lambda cell: cell.genotype)
    return tuple(ordered[index] for index in np.random.default_rng(0).permutation(len(ordered)))


def settings() -> dict[str, Any]:
    """Return all that the scores depend on but data, reference and machine."""
    return {**asdict(SETTINGS), "cells_per_stage": CELLS_PER_STAGE}


def _trajectory(row: Mapping[str, str]) -> Trajectory:
    values = [(row[f"rmi_{step}"], row[f"loss_{step}"]) for step in range(SETTINGS.steps + 1)]
    known = [(float(rmi), float(loss)) for rmi, loss in values if rmi]
    return Trajectory(tuple(rmi for rmi, _ in known), tuple(loss for _, loss in known))


def _fields(architecture: str, trajectory: Trajectory) -> dict[str, str]:
    fields = {"architecture": architecture}
    for step, (rmi, loss) in enumerate(zip(trajectory.rmi, trajectory.loss, strict=True)):
        # Nine digits bring any 32-bit float back exactly.
        fields |= {f"rmi_{step}": f"{rmi:.9g}", f"loss_{step}": f"{loss:.9g}"}
    return fields


def _columns() -> list[str]:
    return ["architecture"] + [f"{name}_{step}" for step in range(SETTINGS.steps + 1) for name in ("rmi", "loss")]


def _score(partial: Path, data_dir: Path) -> Iterator[int]:
    """Append what is not scored yet to the partial file and yield how many cells it holds, as it grows."""
    space = NasBench201()
    done = {row["architecture"] for row in _partial_rows(partial)}
    cells = [cell for cell in all_representatives(space) if space.format(cell) not in done]
    measurer, count = scorer(data_dir), len(done)
    with partial.open("a", newline="") as file:
        if file.tell() == 0:
            file.write(_settings_line())
        writer = csv.DictWriter(file, _columns())
        for start in range(0, len(cells), _AT_ONCE):
            some = cells[start : start + _AT_ONCE]
            for cell, trajectory in zip(some, measurer.trajectories(some), strict=True):
                writer.writerow(_fields(space.format(cell), trajectory))
            file.flush()
            count += len(some)
            yield count


def _partial_rows(partial: Path) -> list[dict[str, str]]:
    if not partial.exists():
        return []
    lines = partial.read_text().splitlines(keepends=True)
    whole = [line for line in lines if line.endswith("\n")]
    if whole != lines:
        partial.write_text("".join(whole))  # the last line was torn
    if whole and whole[0] != _settings_line():
        raise SearcherError(f"{partial} was begun with other settings or another torch: remove it")
    return list(csv.DictReader(whole[1:], _columns()))


def _settings_line() -> str:
    return f"#{json.dumps({**settings(), 'torch': torch.__version__})}\n"


def _finish(partial: Path, output: Path) -> int:
    """Write the result file and return how many cells it holds."""
    space = NasBench201()
    rows = sorted(_partial_rows(partial), key=lambda row: row["architecture"])
    scores = {
        space.score_key(space.parse(row["architecture"])): measured(_trajectory(row), SETTINGS).values for row in rows
    }
    about = {
        "command": "python -m benchmarks.score_all --data-dir DIR --output FILE",
        "settings": settings(),
        "torch": torch.__version__,
        "machine": describe_machine(),
    }
    text = json.dumps({"about": about, "scores": scores}, separators=(",", ":"))
    with replacing(output) as temporary:
        # Without a time of day in it, equal scores give equal files.
        temporary.write_bytes(gzip.compress(text.encode(), mtime=0))
    partial.unlink()
    return len(scores)


def main() -> None:
    """Score all cells and write the result file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    options = parser.parse_args()
    partial = options.output.with_name(options.output.name + ".partial")
    try:
        for count in _score(partial, options.data_dir):
            print(f"{count} cells are scored", file=sys.stderr)
        cells = _finish(partial, options.output)
    except SearcherError as e:
        sys.exit(f"benchmarks.score_all: {e}")
    print(json.dumps({"benchmark": "score_all", "cells": cells, "output": str(options.output)}))


if __name__ == "__main__":
    main()
