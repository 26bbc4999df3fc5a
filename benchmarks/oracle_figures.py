"""What `benchmarks.oracle` tells of its runs: regrets, shares that keep their limits, ratios of the worst case."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.published_cells import ACCURACIES, Cells, Floats
from benchmarks.strategies import Chosen
from searcher.cost_models.agreement import figures

_JUDGED_BY = "cifar10"
_STRATEGIES = ("search", "random", "random_anywhere", "parameters", "live_parameters", "paper", "within_bounds")


@dataclass(frozen=True)
class Run:
    """One seed under one limit.

    Attributes:
        seed: of the fit and of the searches.
        chosen: by strategy.
    """

    seed: int
    chosen: Mapping[str, Chosen]


def case_figures(cells: Cells, device: str | None, limit_ms: float | None, runs: Sequence[Run]) -> dict[str, Any]:
    """Return the figures of one limit, or of none.

    Args:
        cells: all there are.
        device: whose column judges; None without a limit.
        limit_ms: in ms; None without a limit.
        runs: one for each seed, all with the same strategies.
    """
    accuracy = cells.accuracy[_JUDGED_BY]
    latency_ms = np.zeros(len(accuracy)) if device is None else cells.latency_ms[device]
    keeps = latency_ms <= (np.inf if limit_ms is None else limit_ms)
    best = int(np.where(keeps, accuracy, -np.inf).argmax())
    told: dict[str, Any] = {} if limit_ms is None else {"device": device, "limit_ms": round(limit_ms, 4)}
    told["oracle"] = {name: round(float(cells.accuracy[name][best]), 3) for name in ACCURACIES}
    told["oracle_architecture_row"] = best
    for strategy in runs[0].chosen:
        chosen = [run.chosen[strategy] for run in runs]
        rows = np.array([one.row for one in chosen])
        regrets = accuracy[best] - accuracy[rows]
        kept = keeps[rows]
        told[strategy] = {
            **{name: _mean_and_deviation(cells.accuracy[name][rows]) for name in ACCURACIES},
            "regret": round(float(regrets.mean()), 4),
            "regret_of_feasible": round(float(regrets[kept].mean()), 4) if kept.any() else None,
            "feasible": round(float(kept.mean()), 4),
            "measurements": round(float(np.mean([one.measurements for one in chosen])), 1),
            "architectures": round(float(np.mean([one.architectures for one in chosen])), 1),
        }
        if limit_ms is not None:
            told[strategy]["share_of_limit_used"] = round(float((latency_ms[rows] / limit_ms).mean()), 4)
    return told


def fit_figures(predicted_ms: Floats, bounds_ms: Floats, measured_ms: Floats) -> dict[str, float]:
    """Return how good a fit is on connected cells that it has not seen.

    Args:
        predicted_ms: (n,) predictions.
        bounds_ms: (n,) upper bounds.
        measured_ms: (n,) the column.
    """
    told = figures(predicted_ms, measured_ms)
    return {
        "spearman": told.spearman or 0.0,
        "mape_pct": told.mape_pct,
        "coverage": float((measured_ms <= bounds_ms).mean()),
        "median_bound_over_prediction": float(np.median(bounds_ms / predicted_ms)),
    }


def summarise(cases: Mapping[str, Mapping[str, Any]], unconstrained: Mapping[str, Any]) -> dict[str, Any]:
    """Return the figures of the worst device and limit each."""
    regrets = {
        strategy: [case[strategy]["regret"] for case in cases.values()]
        for strategy in (
            "search",
            "random",
            "random_anywhere",
            "parameters",
            "live_parameters",
            "paper",
            "within_bounds",
        )
    }
    beyond = [
        _ratio(round(mine - floor, 4), round(theirs - floor, 4))
        for mine, theirs, floor in zip(regrets["search"], regrets["random"], regrets["within_bounds"], strict=True)
    ]
    pairs = list(zip(regrets["search"], regrets["random"], strict=True))
    anywhere = [_ratio(*pair) for pair in zip(regrets["search"], regrets["random_anywhere"], strict=True)]
    devices = list(dict.fromkeys(case["device"] for case in cases.values()))
    limits = len(cases) // len(devices)
    pooled = [
        _ratio(float(np.mean(regrets["search"][at::limits])), float(np.mean(regrets["random"][at::limits])))
        for at in range(limits)
    ]
    return {
        "feasible_share": min(case["search"]["feasible"] for case in cases.values()),
        "feasible_share_of_all_runs": round(float(np.mean([case["search"]["feasible"] for case in cases.values()])), 4),
        "worst_regret_ratio_to_random": _finite(max(_ratio(mine, theirs) for mine, theirs in pairs)),
        "worst_regret_ratio_to_random_pooled": _finite(max(pooled)),
        "worst_regret_ratio_to_random_within_bounds": _finite(max(beyond)),
        "worst_regret_ratio_to_random_anywhere": _finite(max(anywhere)),
        "worst_regret_lead_over_parameters": _least_lead(regrets["search"], regrets["parameters"]),
        "worst_regret_lead_over_live_parameters": _least_lead(regrets["search"], regrets["live_parameters"]),
        "worst_regret_lead_over_paper": _least_lead(regrets["search"], regrets["paper"]),
        "unconstrained_accuracy": unconstrained["search"][_JUDGED_BY]["mean"],
    }


def _ratio(mine: float, theirs: float) -> float:
    """Return the ratio of two regrets; where the other has none, mine is to have none either."""
    if theirs <= 0:
        return 1.0 if mine <= theirs else math.inf
    return round(mine / theirs, 4)


def _finite(ratio: float) -> float | None:
    return ratio if math.isfinite(ratio) else None


def _least_lead(mine: Sequence[float], theirs: Sequence[float]) -> float:
    return round(min(other - own for own, other in zip(mine, theirs, strict=True)), 4)


def _mean_and_deviation(values: Floats) -> dict[str, float]:
    deviation = float(values.std(ddof=1)) if len(values) > 1 else 0.0
    return {"mean": round(float(values.mean()), 3), "sd": round(deviation, 3)}
