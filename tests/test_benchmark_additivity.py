"""Whether the benchmark of additivity judges unseen networks, and tells the worse runtime's figures."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks.additivity import Measured, Plan, by_third, figures, fitted_line, live, summary, unseen
from searcher.cost_models.block_sum import BlockSum
from searcher.cost_models.fit import fit_table
from searcher.spaces.counts import block_macs
from searcher.spaces.drawn_networks import drawn_networks
from searcher.spaces.nasbench201 import NasBench201
from searcher.tables.network_latencies import NetworkLatency
from tests.searcher.builders import table
from tests.searcher.calibrations import block_ms, calibration

SPACE = NasBench201()
TABLE = table(SPACE, block_ms)
PLAN = Plan(40, 5, 0, 1.0, 1.0, 1.0, Path())


def measured(factor: float, noise_pct: float = 0.0) -> Measured:
    """Networks that cost the table's sum, times a factor, from a seeded machine."""
    exact, generator = BlockSum(SPACE, TABLE), np.random.default_rng(0)

    def networks(count: int, seed: int) -> dict[str, NetworkLatency]:
        drawn = drawn_networks(SPACE, count, np.random.default_rng(seed))
        noisy = {one: factor * exact.latency_ms(one) * np.exp(generator.normal(0, noise_pct / 100)) for one in drawn}
        return {
            SPACE.format(one): NetworkLatency(float(ms), (0.99 * ms, 1.01 * ms), True, confidence=0.96)
            for one, ms in noisy.items()
        }

    fitted, held_out = networks(10, 1), networks(20, 2)
    fit = fit_table(SPACE, TABLE, fitted, held_out)
    made = replace(
        calibration(fit), export_cells=5, fitted=fitted, scales=fit.scales, block_ms=fit.block_ms, refused=None
    )
    return Measured(TABLE, made, networks(40, 3))


def test_figures_compare_all_models_on_the_same_networks() -> None:
    told = figures(measured(1.3, noise_pct=1.0), seed=1)
    assert (told["networks"], told["coverage"] >= 0.9) == (40, True)
    assert 0 < told["median_bound_pct"] < 10
    assert told["median_half_width_pct"] == pytest.approx(1.0)
    models = told["models"]
    lines = {"flops_fitted", "parameters_fitted", "live_flops_fitted", "live_parameters_fitted"}
    assert set(models) == {"calibrated", "raw_sum", *lines}
    assert (told["without_an_interval"], told["not_converged"], len(told["mape_pct_by_third"])) == (0, 0, 3)
    assert models["raw_sum"]["mape_pct"]["value"] == pytest.approx(100 * (1 - 1 / 1.3), abs=1.0)
    assert models["calibrated"]["mape_pct"]["value"] < 5 < models["flops_fitted"]["mape_pct"]["value"]


def test_the_worse_runtime_counts_in_each_figure() -> None:
    def one(share: float, tau: float | None, mape: float, coverage: float, bound: float) -> dict[str, object]:
        calibrated = {
            "within_5_share": {"value": share},
            "within_10_share": {"value": share + 0.1},
            "kendall_tau": {"value": tau},
            "mape_pct": {"value": mape},
        }
        return {"coverage": coverage, "median_bound_pct": bound, "models": {"calibrated": calibrated}}

    told = summary({"a": one(0.8, 0.9, 2.0, 0.99, 3.0), "b": one(0.7, 0.95, 1.0, 0.9, 4.0)})
    assert told.pop("within_10") == pytest.approx(0.8)
    assert told == {"within_5": 0.7, "tau": 0.9, "mape": 2.0, "coverage": 0.9, "median_bound_pct": 4.0}
    assert summary({"a": one(0.8, None, 2.0, 0.99, 3.0)})["tau"] == -1.0


def test_networks_of_the_calibration_are_not_judged() -> None:
    made = measured(1.0).calibration
    # The benchmark's own draw, met by the calibration in its first half.
    met = {SPACE.format(one): NetworkLatency(1.0) for one in unseen(PLAN, made)[:20]}
    others = unseen(PLAN, replace(made, fitted=met))
    assert len(others) == 40
    computed = {SPACE.computation(SPACE.parse(text)).text for text in met}
    assert not computed & {SPACE.computation(one).text for one in others}
    assert unseen(PLAN, made) != unseen(replace(PLAN, seed=6), made)


def test_lines_are_fitted_in_relative_terms() -> None:
    drawn = drawn_networks(SPACE, 30, np.random.default_rng(4))
    known = {SPACE.format(one): NetworkLatency(0.5 + SPACE.macs(one) / 1e8) for one in drawn}
    line = fitted_line(SPACE.macs, known)
    other = drawn_networks(SPACE, 1, np.random.default_rng(8))[0]
    assert line(other) == pytest.approx(0.5 + SPACE.macs(other) / 1e8)


def test_a_refused_calibration_is_told_instead_of_figures() -> None:
    sound = measured(1.0)
    refused = replace(sound, calibration=replace(sound.calibration, refused="sums do not hold"))
    told = figures(refused, seed=1)
    assert told == {"refused": "sums do not hold"}
    assert summary({"a": told, "b": figures(sound, seed=1)}) == {}


def test_what_is_dead_is_no_live_size() -> None:
    dead = SPACE.parse("|nor_conv_3x3~0|+|none~0|none~1|+|nor_conv_1x1~0|none~1|none~2|")
    same = SPACE.parse("|none~0|+|none~0|none~1|+|nor_conv_1x1~0|none~1|none~2|")
    assert SPACE.macs(dead) > SPACE.macs(same)
    assert live(dead, block_macs) == live(same, block_macs) == SPACE.macs(same)


def test_errors_are_told_by_thirds_of_latency() -> None:
    measured_ms = {"a": 1.0, "b": 2.0, "c": 4.0}
    assert by_third(measured_ms, {"a": 1.1, "b": 2.0, "c": 3.0}) == pytest.approx([10.0, 0.0, 25.0])
