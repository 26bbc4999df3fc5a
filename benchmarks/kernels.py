"""Whether kernels and networks that were never measured are predicted within ±10%, from few kernels that were.

`python -m benchmarks.kernels` does on this machine what a user does: it measures a dataset (`searcher dataset build`,
at most `--points` kernels of each type), trains a predictor on it (`searcher predictor train`) and fits that to whole
networks drawn at random (`searcher predictor calibrate`). Then it judges by what none of them has met, measured in the
same session unless `--out` holds a dataset of before:

- `--fresh` kernels of each type, drawn over the whole domain by another seed. Near-duplicates of kernels that were
  trained on count as any others; `within_10_unlike` is of those without any (`unlike`). What the predictor refuses as
  out of its range is told apart (`refused`), and counts as missed in `within_10_with_refused`.
- MobileNetV2 and ResNet-18 at 224 pixels and `--networks` random connected NAS-Bench-201 cells, as ONNX files.

Beside the predictor stand random forests on raw sizes and a line through the work of each type, both fitted to the same
kernels (`kernel_baselines`), and for networks the plain sum of kernels, which is not fitted to networks.

The last line is one JSON object. `within_10`: share of fresh kernels predicted within ±10%. `points_per_kernel`: the
most points of any type. `interval_coverage`: share of fresh kernels in their interval, whose confidence is
`confidence`. `networks_within_10`: share of networks within ±10%. `gain_over_forests`: within_10 minus the forests',
with a bootstrap interval over the kernels. `types` and `networks` tell of each.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.kernel_baselines import Forests, Lines
from benchmarks.kernel_figures import JudgedKernel, kernel_figures
from benchmarks.kernel_networks import judge_networks, network_figures
from benchmarks.machine import describe_machine
from profiler_agent.records import Settings
from searcher.cli import show
from searcher.cost_models.kernels.kernel_model import Estimate, UnknownKernelError
from searcher.cost_models.kernels.measured_kernel import MeasuredKernel
from searcher.cost_models.kernels.predictor import PREDICTOR_DOCUMENT, KernelPredictor
from searcher.devices.device import Device, connect
from searcher.errors import SearcherError
from searcher.export.exporter import exporter_for
from searcher.spaces.block import BlockSpec
from searcher.spaces.kernel_domain import DEFAULT_TYPES, Limits
from searcher.spaces.kernel_sampling import draw_kernels
from searcher.spaces.kernels import kernel_type
from searcher.tables.dataset_file import read_dataset
from searcher.workflows.build_dataset import DatasetRequest, build_dataset
from searcher.workflows.calibrate_predictor import PredictorCalibrationRequest, calibrate_predictor
from searcher.workflows.kernel_predictors import TrainingRequest, train_kernel_predictor
from searcher.workflows.measure_networks import measure_models, settings_of_key

_LOCAL = Device("local")
_JOB_KERNELS = 60


@dataclass(frozen=True)
class Plan:
    """What is measured; see the options."""

    points: int
    target_pct: float | None
    types: tuple[str, ...]
    fresh: int
    networks: int
    drawn_networks: int
    confidence: float
    seed: int
    fresh_seed: int
    rounds: int
    fresh_rounds: int
    folder: Path


def trained(plan: Plan) -> tuple[KernelPredictor, list[MeasuredKernel], dict[str, float]]:
    """Return a predictor for this machine, the kernels that it was trained on, and the seconds that each step took."""
    dataset, seconds = plan.folder / "kernels.csv", {}
    began = time.monotonic()
    settings = Settings(rounds=plan.rounds, samples=7, target_half_width_pct=2.0)
    request = DatasetRequest(
        dataset, _LOCAL, (settings,), plan.types, plan.points, plan.seed, Limits(), plan.target_pct
    )
    show.run(build_dataset(request))
    seconds["dataset"] = time.monotonic() - began
    file = show.run(train_kernel_predictor(TrainingRequest(dataset, {}, plan.confidence, plan.seed, "")))
    seconds["training"] = time.monotonic() - began - seconds["dataset"]
    calibration = PredictorCalibrationRequest(KernelPredictor(file), _LOCAL, plan.drawn_networks, plan.seed)
    predictor = KernelPredictor(show.run(calibrate_predictor(calibration)))
    PREDICTOR_DOCUMENT.save(predictor.file, plan.folder / "predictor.json")
    seconds["calibration"] = time.monotonic() - began - sum(seconds.values())
    rows = [row for row in read_dataset(dataset) if row.call_ms is not None and row.interval_ms is not None]
    kernels = [
        MeasuredKernel(row.spec, row.latency_ms, row.call_ms or 0.0, row.interval_ms or (0.0, 0.0), "") for row in rows
    ]
    return predictor, kernels, seconds


def judge_kernels(plan: Plan, predictor: KernelPredictor, known: Sequence[MeasuredKernel]) -> list[JudgedKernel]:
    """Draw fresh kernels of every type, predict them, and measure them."""
    generator = np.random.default_rng(plan.fresh_seed)
    trained_on = {one.spec.key for one in known}
    fresh = [spec for name in plan.types for spec in draw_kernels(name, plan.fresh, generator, Limits(), trained_on)]
    forests, lines = Forests(known, plan.seed), Lines(known)
    measured = _measure_kernels(plan, predictor, [fresh[at] for at in generator.permutation(len(fresh))])
    return [
        JudgedKernel(
            spec,
            measured[spec.key],
            _estimate(predictor, spec),
            forests.latency_ms(spec),
            lines.latency_ms(spec),
        )
        for spec in fresh
    ]


def _estimate(predictor: KernelPredictor, spec: BlockSpec) -> Estimate | None:
    """Return a prediction with the call."""
    try:
        own = predictor.estimate(spec)
    except UnknownKernelError:
        return None
    low, high = own.interval_ms
    return Estimate(own.latency_ms + predictor.call_ms, (low + predictor.call_ms, high + predictor.call_ms))


def _measure_kernels(plan: Plan, predictor: KernelPredictor, specs: Sequence[BlockSpec]) -> dict[str, float]:
    """Return what each kernel takes, the call included, in ms."""
    exporter = exporter_for(predictor.key.runtime)
    settings = settings_of_key(predictor.key, predictor.sentinel_ms, 2.0, plan.fresh_rounds, 7)
    found: dict[str, float] = {}
    for start in range(0, len(specs), _JOB_KERNELS):
        with tempfile.TemporaryDirectory() as folder:
            models = [exporter.export_block(spec, Path(folder)) for spec in specs[start : start + _JOB_KERNELS]]
            measured = show.run(measure_models(models, _LOCAL, settings, predictor.key, connect))
        found |= {name: one.median_ms for name, one in measured.latencies().items()}
    return found


def run(plan: Plan) -> dict[str, Any]:
    """Measure, train, and judge."""
    predictor, kernels, seconds = trained(plan)
    points = Counter(kernel_type(one.spec) for one in kernels)
    began = time.monotonic()
    judged = judge_kernels(plan, predictor, kernels)
    seconds["fresh_kernels"] = time.monotonic() - began
    networks = network_figures(judge_networks(predictor, plan.networks, plan.fresh_seed))
    correction = predictor.file.networks
    return {
        **kernel_figures(judged, [one.spec for one in kernels], plan.seed),
        **networks,
        "points_per_kernel": max(points.values()),
        "points": dict(points),
        "confidence": plan.confidence,
        "forms": {name: model.form for name, model in predictor.file.kernels.items()},
        "call_ms": predictor.call_ms,
        "network_prices_ms": None if correction is None else dict(correction.prices_ms),
        "step_seconds": seconds,
    }


def _rounded(told: Any) -> Any:
    if isinstance(told, dict):
        return {key: _rounded(value) for key, value in told.items()}
    if isinstance(told, list):
        return [_rounded(value) for value in told]
    return round(float(told), 4) if isinstance(told, float | np.floating) else told


def main() -> None:
    """Run the benchmark and print its result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir", type=Path, help="unused: this benchmark needs no public data")
    parser.add_argument("--points", type=int, default=200, help="the most kernels of a type to train on")
    parser.add_argument("--target-pct", type=float, help="mean error at which a type gets no more; none unless given")
    parser.add_argument("--types", default=",".join(DEFAULT_TYPES), help="separated by commas")
    parser.add_argument("--fresh", type=int, default=25, help="kernels of each type to judge by")
    parser.add_argument("--networks", type=int, default=20, help="of NAS-Bench-201, to judge by")
    parser.add_argument("--drawn-networks", type=int, default=40, help="to fit the predictor to")
    parser.add_argument("--confidence", type=float, default=0.9, help="of the intervals")
    parser.add_argument("--rounds", type=int, default=3, help="the most processes that measure a kernel")
    text = "the most processes that measure a fresh one: what judges is to be sure"
    parser.add_argument("--fresh-rounds", type=int, default=9, help=text)
    parser.add_argument("--seed", type=int, default=0, help="of the dataset and the training")
    parser.add_argument("--fresh-seed", type=int, default=2026, help="of what is judged by")
    parser.add_argument(
        "--out", type=Path, help="folder for the dataset and the predictor; a dataset there is gone on with"
    )
    options = parser.parse_args()
    start_s = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        # What is tried out here is none of the user's jobs.
        os.environ["PROFILER_HISTORY"] = str(Path(folder, "history.sqlite"))
        plan = Plan(
            options.points,
            options.target_pct,
            tuple(options.types.split(",")),
            options.fresh,
            options.networks,
            options.drawn_networks,
            options.confidence,
            options.seed,
            options.fresh_seed,
            options.rounds,
            options.fresh_rounds,
            options.out or Path(folder),
        )
        try:
            found = run(plan)
        except SearcherError as e:
            sys.exit(f"benchmarks.kernels: {e}")
    result = {
        "benchmark": "kernels",
        "machine": describe_machine(),
        "settings": {name: value for name, value in vars(options).items() if name not in ("out", "data_dir")},
        **_rounded(found),
        "seconds": round(time.monotonic() - start_s, 1),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
