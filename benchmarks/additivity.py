"""Whether calibrated sums of blocks predict whole networks that the calibration has not seen, and bound them.

`python -m benchmarks.additivity --networks 100` does on this machine, for each runtime, what a user does: it profiles
NAS-Bench-201, calibrates the table (`searcher calibrate`: 10 networks to fit to, 20 to judge by), and then measures
networks drawn by another seed, none of which, nor any that computes the same, the calibration has met. Beside the
calibrated model stand the plain sum of the same table, and straight lines through FLOPs and parameters, as
NAS-Bench-201 counts them and of what is live, fitted by relative least squares to all networks that the calibration has
measured.
Everything is measured by the agent with one thread in one session: what a machine's speed does from one day to the
next is not in these figures.

The last line is one JSON object. `within_5`, `within_10` (shares), `tau` (Kendall's), `mape` (%), `coverage` (share of
networks that measure below their 95% bound) and `median_bound_pct` (how far that bound is above the prediction) are of
the worse runtime in each; `runtimes` has each runtime's figures with bootstrap intervals, the baselines', the worst
cases, errors by thirds of latency, and the calibration. Where a runtime's calibration is refused, its `refused` says
why, and there are no figures above it.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.machine import describe_machine
from profiler_agent.records import Settings
from searcher.cli import show
from searcher.cost_models.agreement import agreement
from searcher.cost_models.block_sum import BlockSum
from searcher.cost_models.calibrated import CalibratedModel
from searcher.cost_models.calibration import CALIBRATION_DOCUMENT, Calibration
from searcher.cost_models.conformal import CONFIDENCE
from searcher.devices.device import Device, connect
from searcher.errors import SearcherError
from searcher.spaces.architecture import Architecture
from searcher.spaces.block import BlockSpec
from searcher.spaces.counts import block_macs, block_parameters
from searcher.spaces.drawn_networks import drawn_networks
from searcher.spaces.nasbench201 import NasBench201
from searcher.tables.lookup_table import TABLE_DOCUMENT, LookupTable
from searcher.tables.network_latencies import NetworkLatency
from searcher.workflows.calibrate import CalibrateRequest, calibrate
from searcher.workflows.measure_networks import NetworksRequest, measure_networks, settings_of_key
from searcher.workflows.profile_space import ProfileRequest, profile_space

_SPACE = NasBench201()


@dataclass(frozen=True)
class Plan:
    """What is measured.

    Attributes:
        networks: how many are predicted, and measured.
        seed: draws them.
        calibration_seed: chooses and draws the networks of the calibration.
        table_s: budget of the table, in s.
        calibration_s: budget of the networks of the calibration, in s.
        networks_s: budget of the networks that are predicted, in s.
        folder: for tables and calibrations.
    """

    networks: int
    seed: int
    calibration_seed: int
    table_s: float
    calibration_s: float
    networks_s: float
    folder: Path


@dataclass(frozen=True)
class Measured:
    """What was measured with one runtime."""

    table: LookupTable
    calibration: Calibration
    networks: Mapping[str, NetworkLatency]


def measure(runtime: str, plan: Plan) -> Measured:
    """Profile, calibrate, and measure networks that the calibration has not met.

    Raises:
        SearcherError: something could not be measured.
    """
    path = plan.folder / f"{runtime}.json"
    settings = Settings(runtime=runtime, costs=False)
    show.run(profile_space(ProfileRequest(_SPACE, Device(), settings, path, plan.table_s, overwrite=True)))
    request = CalibrateRequest(_SPACE, path, Device(), seed=plan.calibration_seed, budget_s=plan.calibration_s)
    made = show.run(calibrate(request))
    CALIBRATION_DOCUMENT.save(made, plan.folder / f"{runtime}.calibration.json")
    table = TABLE_DOCUMENT.load(path)
    wanted = NetworksRequest(
        space=_SPACE,
        architectures=unseen(plan, made),
        key=table.key,
        device=Device(),
        settings=settings_of_key(table.key, table.sentinel_ms, precision_pct=1.0, samples=10),
        budget_s=plan.networks_s,
    )
    return Measured(table, made, show.run(measure_networks(wanted, connect)).latencies())


def unseen(plan: Plan, made: Calibration) -> list[Architecture]:
    """Draw networks that a calibration has not met, nor any that compute the same."""
    met = {_SPACE.computation(_SPACE.parse(text)).text for text in (*made.fitted, *made.held_out.networks)}
    drawn = drawn_networks(_SPACE, 4 * plan.networks, np.random.default_rng(plan.seed))
    return [one for one in drawn if _SPACE.computation(one).text not in met][: plan.networks]


def figures(measured: Measured, seed: int) -> dict[str, Any]:
    """Return how well each model predicts the networks; the seed is of the bootstrap."""
    if measured.calibration.refused is not None:
        return {"refused": measured.calibration.refused}
    model = CalibratedModel(_SPACE, measured.calibration)
    measured_ms = {text: one.median_ms for text, one in measured.networks.items()}
    architectures = {text: _SPACE.parse(text) for text in measured_ms}
    raw = BlockSum(_SPACE, measured.table)
    known = {**measured.calibration.fitted, **measured.calibration.held_out.networks}
    models: dict[str, Callable[[Architecture], float]] = {
        "calibrated": model.latency_ms,
        "raw_sum": raw.latency_ms,
        "flops_fitted": fitted_line(_SPACE.macs, known),
        "parameters_fitted": fitted_line(_SPACE.parameters, known),
        "live_flops_fitted": fitted_line(lambda one: live(one, block_macs), known),
        "live_parameters_fitted": fitted_line(lambda one: live(one, block_parameters), known),
    }
    told = {
        name: dataclasses.asdict(
            agreement(
                {text: predict(one) for text, one in architectures.items()}, measured_ms, np.random.default_rng(seed)
            )
        )
        for name, predict in models.items()
    }
    ratio = model.upper_ratio(CONFIDENCE)
    below = [measured_ms[text] <= model.upper_ms(one, CONFIDENCE) for text, one in architectures.items()]
    half_widths = [
        50 * (one.interval_ms[1] - one.interval_ms[0]) / one.median_ms
        for one in measured.networks.values()
        if one.interval_ms is not None and (one.confidence or 0.0) >= CONFIDENCE
    ]
    return {
        "coverage": sum(below) / len(below),
        "median_bound_pct": 100 * (ratio - 1),
        "median_half_width_pct": float(np.median(half_widths)) if half_widths else None,
        "without_an_interval": len(measured.networks) - len(half_widths),
        "not_converged": sum(not one.converged for one in measured.networks.values()),
        "mape_pct_by_third": by_third(
            measured_ms, {text: model.latency_ms(one) for text, one in architectures.items()}
        ),
        "networks": len(measured_ms),
        "different_computations": len({_SPACE.computation(one).text for one in architectures.values()}),
        "scales": dict(measured.calibration.scales),
        "relus": None if measured.calibration.relus is None else dataclasses.asdict(measured.calibration.relus),
        "runtime_version": measured.table.key.runtime_version,
        "sentinel_ms": measured.table.sentinel_ms,
        "models": told,
    }


def live(architecture: Architecture, size: Callable[[BlockSpec], int]) -> int:
    """Return the size of what a runtime executes of a network, dead edges left out."""
    return sum(count * size(block) for block, count in _SPACE.blocks(architecture).items())


def by_third(measured_ms: Mapping[str, float], predicted_ms: Mapping[str, float]) -> list[float]:
    """Return the mean absolute percentage errors of the fastest, the middle and the slowest third."""
    order = sorted(measured_ms, key=measured_ms.__getitem__)
    thirds = [part for part in np.array_split(np.array(order, dtype=object), 3) if len(part)]
    return [
        float(np.mean([abs(100 * (predicted_ms[text] / measured_ms[text] - 1)) for text in third])) for third in thirds
    ]


def fitted_line(
    quantity: Callable[[Architecture], int], known: Mapping[str, NetworkLatency]
) -> Callable[[Architecture], float]:
    """Return the line, by relative least squares, through networks' latencies over one of their sizes."""
    sizes = np.array([quantity(_SPACE.parse(text)) for text in known], np.float64)
    latencies = np.array([one.median_ms for one in known.values()])
    rows = np.stack([np.ones_like(sizes), sizes], axis=1) / latencies[:, None]
    (base, slope), *_ = np.linalg.lstsq(rows, np.ones_like(sizes), rcond=None)
    return lambda architecture: float(base + slope * quantity(architecture))


def summary(runtimes: Mapping[str, dict[str, Any]]) -> dict[str, float]:
    """Return the worse runtime's figures of the calibrated model; none where a calibration was refused."""
    if any("refused" in one for one in runtimes.values()):
        return {}
    calibrated = [one["models"]["calibrated"] for one in runtimes.values()]
    return {
        "within_5": min(one["within_5_share"]["value"] for one in calibrated),
        "within_10": min(one["within_10_share"]["value"] for one in calibrated),
        # A rank correlation that is not defined is the worst.
        "tau": round(min(-1.0 if (tau := one["kendall_tau"]["value"]) is None else tau for one in calibrated), 4),
        "mape": round(max(one["mape_pct"]["value"] for one in calibrated), 3),
        "coverage": min(one["coverage"] for one in runtimes.values()),
        "median_bound_pct": round(max(one["median_bound_pct"] for one in runtimes.values()), 3),
    }


def main() -> None:
    """Run the benchmark and print its result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir", type=Path, help="unused: this benchmark needs no public data")
    parser.add_argument("--networks", type=int, default=100, help="to predict and measure")
    parser.add_argument("--seed", type=int, default=2024, help="draws them")
    parser.add_argument("--calibration-seed", type=int, default=0, help="of the calibration's own networks")
    parser.add_argument("--runtimes", default="onnxruntime,litert", help="separated by commas")
    parser.add_argument("--table-s", type=float, default=120.0, help="budget of each table")
    parser.add_argument("--calibration-s", type=float, default=90.0, help="budget of each calibration")
    parser.add_argument("--networks-s", type=float, default=300.0, help="budget of the networks of each runtime")
    parser.add_argument("--out", type=Path, help="folder for tables and calibrations")
    options = parser.parse_args()
    start_s = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        # What is tried out here is none of the user's jobs.
        os.environ["PROFILER_HISTORY"] = str(Path(folder, "history.sqlite"))
        plan = Plan(
            options.networks,
            options.seed,
            options.calibration_seed,
            options.table_s,
            options.calibration_s,
            options.networks_s,
            options.out or Path(folder),
        )
        try:
            runtimes = {
                name: figures(measure(name, plan), options.seed) for name in _names(options.runtimes.split(","))
            }
        except SearcherError as e:
            sys.exit(f"benchmarks.additivity: {e}")
    result = {
        "benchmark": "additivity",
        "machine": describe_machine(),
        "settings": {name: value for name, value in vars(options).items() if name not in ("out", "data_dir")},
        **summary(runtimes),
        "runtimes": runtimes,
        "seconds": round(time.monotonic() - start_s, 1),
    }
    print(json.dumps(result))


def _names(names: Sequence[str]) -> list[str]:
    return [name.strip() for name in names if name.strip()]


if __name__ == "__main__":
    main()
