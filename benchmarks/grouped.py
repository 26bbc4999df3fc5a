"""Candidates trained together against one by one: time of each candidate's step, and how far their φ lie apart.

`python -m benchmarks.grouped --data-dir DIR` takes the device that there is, a GPU if torch sees one, else the
processors, and trains random cells of NAS-Bench-201 that train differently, with equal depth, steps and batch, on four
roads, in turn and several rounds: a thread each (`threads`, on the processors always), one by one on the device,
together, and on a GPU together without a captured step. DIR holds `cifar10_subset.npz` and `resnet20_cifar10.pt`;
without it images and reference are made up, which changes no time. The last line is one JSON object; `device` tells
where, and times on processors say nothing of a GPU.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.machine import describe_machine
from searcher.errors import SearcherError
from searcher.networks.resnet import ResNet20
from searcher.search.scores.batch import TrainingBatch, prepare_batch
from searcher.search.scores.batch_training import BF16, FP32, RmiSettings, Trajectory
from searcher.search.scores.trained_on_batch import TrainedOnBatch
from searcher.search.scores.trained_together import Together, TrainedTogether
from searcher.spaces.architecture import Architecture
from searcher.spaces.nasbench201 import NasBench201
from searcher.training.datasets import ImageDataset, load_dataset
from searcher.training.reference import Reference, load_reference

Road = TrainedOnBatch | TrainedTogether
# Beginnings agree up to rounding; ends as far as trainings that were rounded differently do.
_AT_FIRST, _AT_LAST = "greatest_difference_at_first", "greatest_difference_at_last"


def random_cells(space: NasBench201, count: int, seed: int) -> list[Architecture]:
    """Return connected cells that train differently."""
    generator = np.random.default_rng(seed)
    found: dict[Architecture, None] = {}
    while len(found) < count:
        cell = space.representative(space.sample(generator))
        if space.is_connected(cell):
            found[cell] = None
    return list(found)


def roads(space: NasBench201, batch: TrainingBatch, settings: RmiSettings, together: Together) -> dict[str, Road]:
    """Return what is compared, the road that the others are held against first."""
    threads = len(os.sched_getaffinity(0))

    def on_device(group: int, capture: bool) -> TrainedTogether:
        kind = Together(together.device, group, together.channels_last, capture)
        return TrainedTogether(space, batch, settings, kind)

    found: dict[str, Road] = {
        "threads": TrainedOnBatch(space, batch, settings, threads),
        "one_by_one": on_device(1, together.capture),
        "together": on_device(together.group, together.capture),
    }
    if together.capture and together.device != "cpu":
        found["together_not_captured"] = on_device(together.group, capture=False)
    return found


def timed(road: Road, cells: Sequence[Architecture]) -> tuple[float, list[Trajectory]]:
    """Return the seconds that training the cells took, and how it went."""
    began = time.perf_counter()
    went = list(road.trajectories(cells))  # as numbers of this process: a device has done its work by then
    return time.perf_counter() - began, went


def apart(one: Sequence[Trajectory], other: Sequence[Trajectory]) -> dict[str, float | None]:
    """Return the greatest differences of φ before the first step and after the last, where both are finite."""
    pairs = [(a.rmi, b.rmi) for a, b in zip(one, other, strict=True) if a.finite and b.finite]
    ends = ((_AT_FIRST, 0), (_AT_LAST, -1))
    return {name: max((abs(a[place] - b[place]) for a, b in pairs), default=None) for name, place in ends}


def compare(found: Mapping[str, Road], cells: Sequence[Architecture], rounds: int, steps: int) -> dict[str, Any]:
    """Time the roads in turn, after one round that does not count, and return what is told of each."""
    seconds: dict[str, list[float]] = {name: [] for name in found}
    went: dict[str, list[Trajectory]] = {}
    for number in range(rounds + 1):
        for name, road in found.items():
            taken, went[name] = timed(road, cells)
            if number > 0:
                seconds[name].append(1000 * taken / (len(cells) * steps))
    reference = went[next(iter(found))]
    return {
        name: {
            "ms_per_candidate_and_step": round(statistics.median(taken), 4),
            "of_each_round": [round(one, 4) for one in taken],
            "diverged": sum(not one.finite for one in went[name]),
            **apart(went[name], reference),
        }
        for name, taken in seconds.items()
    }


def _batch(data_dir: Path | None, settings: RmiSettings, image_size: int) -> TrainingBatch:
    if data_dir is not None:
        dataset = load_dataset(f"cifar10:{data_dir / 'cifar10_subset.npz'}")
        reference = load_reference(data_dir / "resnet20_cifar10.pt", dataset)
        return prepare_batch(reference, dataset, settings.batch_size, settings.seed)
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(16 * settings.batch_size, 3, image_size, image_size, generator=generator)
    labels = torch.arange(len(images)) % 10
    names = tuple(str(number) for number in range(10))
    dataset = ImageDataset("made up", images, labels, images[:10], labels[:10], names)
    model = ResNet20(10)
    model.initialise(generator)
    return prepare_batch(Reference(model.eval(), 10.0, "made up", ""), dataset, settings.batch_size, settings.seed)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir", type=Path, help="made-up images without it")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--cells", type=int, default=20)
    parser.add_argument("--group", type=int, default=20)
    parser.add_argument("--cells-per-stage", type=int, default=1)
    parser.add_argument("--channels", type=int, default=16)
    parser.add_argument("--image-size", type=int, default=32, help="of made-up images")
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--precision", choices=[FP32, BF16], default=FP32)
    parser.add_argument("--channels-last", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--seed", type=int, default=0, help="of the cells")
    return parser.parse_args()


def main() -> None:
    """Run the benchmark and print its result."""
    options = _options()
    if options.data_dir is not None and options.image_size != 32:
        sys.exit("benchmarks.grouped: --image-size is of made-up images, those of CIFAR-10 are 32 wide")
    try:
        settings = RmiSettings(steps=options.steps, batch_size=options.batch_size, precision=options.precision)
        space = NasBench201(options.cells_per_stage, options.channels, 10, options.image_size)
        together = Together(options.device, options.group, options.channels_last)
        batch = _batch(options.data_dir, settings, options.image_size)
        cells = random_cells(space, options.cells, options.seed)
        result = compare(roads(space, batch, settings, together), cells, options.rounds, options.steps)
    except SearcherError as e:
        sys.exit(f"benchmarks.grouped: {e}")
    gpu = torch.cuda.get_device_name(options.device) if options.device != "cpu" else None
    told = {key: str(value) if isinstance(value, Path) else value for key, value in vars(options).items()}
    quick, slow = (result[name]["ms_per_candidate_and_step"] for name in ("together", "threads"))
    print(
        json.dumps(
            {
                "benchmark": "grouped",
                "device": gpu or "cpu",
                "machine": describe_machine(),
                "torch": torch.__version__,
                "settings": told,
                "roads": result,
                "speedup_of_together_to_threads": round(slow / quick, 3),
            }
        )
    )


if __name__ == "__main__":
    main()
