"""A cost model corrected by a few networks: what moves, by how much, and what stays."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np
import pytest

from searcher.cost_models.block_sum import BlockSum
from searcher.cost_models.calibrated import CalibratedModel
from searcher.cost_models.conformal import upper_ratio
from searcher.cost_models.cost_model import CostModel
from searcher.cost_models.recalibration import (
    CALIBRATED_COMMON_DEVIATION,
    TABLE_COMMON_DEVIATION,
    Prior,
    executed,
    recalibrated,
)
from searcher.errors import BadInputError
from searcher.spaces.architecture import Architecture
from searcher.spaces.block import BlockSpec
from searcher.spaces.drawn_networks import drawn_networks
from searcher.tables.network_latencies import NetworkLatency
from tests.searcher.builders import table
from tests.searcher.calibrations import SPACE, TABLE, block_ms, calibration, fitted, network_ms

MODEL = BlockSum(SPACE, TABLE)
CALIBRATION = calibration(fitted(network_ms(noise_pct=1.0)))


def measured(
    count: int, latency_ms: Callable[[Architecture], float], seed: int = 3, half_width: float = 0.0
) -> dict[str, NetworkLatency]:
    """Random networks, no two of which execute the same."""
    drawn = {executed(SPACE, one): one for one in drawn_networks(SPACE, 2 * count, np.random.default_rng(seed))}
    networks = {}
    for one in list(drawn.values())[:count]:
        ms = latency_ms(one)
        interval = (ms * (1 - half_width), ms * (1 + half_width))
        networks[SPACE.format(one)] = NetworkLatency(ms, interval, True, confidence=0.95)
    return networks


def slower(factor: float) -> Callable[[Architecture], float]:
    return lambda architecture: factor * MODEL.latency_ms(architecture)


def slow_kind(kernel: int, factor: float) -> BlockSum:
    """The device whose convolutions of one kernel take longer in networks than the table says."""

    def latency_ms(block: BlockSpec) -> float:
        own_ms = block_ms(block)
        # The call, which every entry holds, is as fast as ever.
        slow = block.operation == "relu_conv_bn" and block.kernel == kernel
        return 0.002 + factor * (own_ms - 0.002) if slow else own_ms

    return BlockSum(SPACE, table(SPACE, latency_ms))


def error_of(model: CostModel, truth: CostModel, seed: int = 11) -> float:
    """Mean absolute error in % over networks that nothing was fitted to."""
    genotypes = np.array([one.genotype for one in drawn_networks(SPACE, 100, np.random.default_rng(seed))])
    true_ms = truth.latencies_ms(genotypes)
    return float(100 * np.abs(model.latencies_ms(genotypes) / true_ms - 1).mean())


def test_without_measurements_nothing_is_corrected() -> None:
    model = recalibrated(MODEL, {}, Prior())
    one = SPACE.sample(np.random.default_rng(0))
    assert model.latency_ms(one) == pytest.approx(MODEL.latency_ms(one), rel=1e-12)
    assert (model.correction.networks, model.correction.common) == (0, 1.0)
    assert set(model.correction.kinds.values()) == {1.0}
    assert model.correction.deviation_pct == pytest.approx(100 * TABLE_COMMON_DEVIATION)


def test_three_networks_that_are_slower_alike_move_the_common_factor() -> None:
    model = recalibrated(MODEL, measured(3, slower(1.08)), Prior())
    assert 1.06 < model.correction.common <= 1.08
    assert max(abs(factor - 1) for factor in model.correction.kinds.values()) < 0.012
    others = drawn_networks(SPACE, 50, np.random.default_rng(11))
    ratios = [model.latency_ms(one) / MODEL.latency_ms(one) for one in others]
    assert ratios == pytest.approx([1.08] * 50, abs=0.003)
    assert model.correction.deviation_pct < 100 * TABLE_COMMON_DEVIATION / 2


def test_one_network_is_not_believed_altogether() -> None:
    surprising = measured(1, slower(2.0))
    of_table = recalibrated(MODEL, surprising, Prior()).correction
    assert 1.5 < of_table.common < 2.0
    doubtful = recalibrated(MODEL, measured(1, slower(2.0), half_width=0.5), Prior()).correction
    assert 1.0 < doubtful.common < of_table.common


def test_a_kind_of_block_that_is_slower_is_told_from_the_common_factor() -> None:
    truth = slow_kind(kernel=3, factor=1.2)
    few = recalibrated(MODEL, measured(3, truth.latency_ms), Prior())
    many = recalibrated(MODEL, measured(40, truth.latency_ms), Prior())
    uncorrected = error_of(MODEL, truth)
    assert uncorrected > 5
    assert error_of(few, truth) < 0.4 * uncorrected
    assert error_of(many, truth) < 0.1 * uncorrected
    factors = {kind: many.correction.common * factor for kind, factor in many.correction.kinds.items()}
    assert max(factors, key=factors.__getitem__) == "relu_conv_bn-k3"
    assert factors["relu_conv_bn-k3"] == pytest.approx(1.2, abs=0.03)
    assert factors["relu_conv_bn-k1"] == pytest.approx(1.0, abs=0.05)


def test_the_mean_is_that_of_the_gaussian_process() -> None:
    """The same regression by its other form: the kernel of what two networks have in common."""
    networks = measured(6, slow_kind(1, 1.3).latency_ms, half_width=0.03)
    drawn = [SPACE.parse(text) for text in networks]
    others = drawn_networks(SPACE, 5, np.random.default_rng(5))
    model = recalibrated(MODEL, networks, Prior())
    every = np.array([one.genotype for one in (*drawn, *others)])
    groups = shares(every)
    kernel = 0.2**2 + 0.1**2 * groups @ groups.T
    noise = 0.02**2 + (np.log(1.03 / 0.97) / (2 * 1.959964)) ** 2
    logarithms = np.log([one.median_ms for one in networks.values()]) - np.log(MODEL.latencies_ms(every[:6]))
    mean = kernel[6:, :6] @ np.linalg.solve(kernel[:6, :6] + noise * np.eye(6), logarithms)
    assert np.log(model.latencies_ms(every[6:]) / MODEL.latencies_ms(every[6:])) == pytest.approx(mean, abs=1e-9)


def shares(
    genotypes: np.ndarray[tuple[int, int], np.dtype[np.int64]],
) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    """The parts of the predicted latency, kind by kind, from the blocks' own names."""
    kinds: dict[str, list[int]] = {}
    for column, block in enumerate(SPACE.all_blocks()):
        cells = block.operation in ("relu_conv_bn", "avg_pool", "add", "relu")
        kinds.setdefault(f"{block.operation}{block.kernel}" if cells else "fixed", []).append(column)
    costs = SPACE.block_counts(genotypes) * MODEL.block_ms
    parts = np.stack([costs[:, columns].sum(axis=1) for columns in kinds.values()], axis=1)
    return np.asarray(parts / costs.sum(axis=1, keepdims=True))


def test_what_was_measured_is_predicted_by_its_measurement_and_what_executes_the_same_too() -> None:
    # The first edge is dead in both: a runtime executes one convolution and no more.
    first, twin, other = (
        SPACE.parse(text)
        for text in (
            "|none~0|+|none~0|none~1|+|nor_conv_3x3~0|none~1|none~2|",
            "|nor_conv_3x3~0|+|none~0|none~1|+|nor_conv_3x3~0|none~1|none~2|",
            "|nor_conv_3x3~0|+|none~0|none~1|+|skip_connect~0|skip_connect~1|none~2|",
        )
    )
    assert executed(SPACE, first) == executed(SPACE, twin) != executed(SPACE, other)
    model = recalibrated(MODEL, {SPACE.format(first): NetworkLatency(7.0)}, Prior())
    assert (model.latency_ms(first), model.latency_ms(twin)) == (7.0, 7.0)
    assert model.latency_ms(other) != 7.0
    of_many = model.latencies_ms(np.array([one.genotype for one in (other, twin, first)]))
    assert of_many == pytest.approx([model.latency_ms(other), 7.0, 7.0])


def test_the_order_of_measurements_is_of_no_consequence() -> None:
    networks = measured(5, network_ms(noise_pct=3.0))
    back = dict(reversed(networks.items()))
    one = SPACE.sample(np.random.default_rng(8))
    first, second = (recalibrated(MODEL, some, Prior()).latency_ms(one) for some in (networks, back))
    assert first == pytest.approx(second, rel=1e-12)


def test_a_calibration_moves_less_than_a_table() -> None:
    model, prior = CalibratedModel(SPACE, CALIBRATION), Prior.of(SPACE, CALIBRATION)
    assert prior.common_deviation == CALIBRATED_COMMON_DEVIATION
    assert prior.fitted is not None
    assert prior.fitted.shape == (10, 6)
    networks = measured(3, lambda one: 1.05 * model.latency_ms(one))
    known, unknown = (recalibrated(model, networks, some).correction for some in (prior, Prior()))
    assert 1.02 < known.common < unknown.common < 1.05
    assert known.deviation_pct < unknown.deviation_pct
    lone = measured(3, slow_kind(kernel=3, factor=1.2).latency_ms)
    known, unknown = (
        recalibrated(MODEL, lone, replace(Prior(), fitted=fitted)).correction for fitted in (prior.fitted, None)
    )
    assert abs(known.kinds["relu_conv_bn-k3"] - 1) < abs(unknown.kinds["relu_conv_bn-k3"] - 1)


def test_a_bound_is_never_narrower_than_before_and_grows_with_the_scatter() -> None:
    model, prior = CalibratedModel(SPACE, CALIBRATION), Prior.of(SPACE, CALIBRATION)
    before = model.upper_ratio(0.95)
    alike = recalibrated(model, measured(20, lambda one: 1.04 * model.latency_ms(one)), prior)
    assert alike.upper_ratio(0.95) == pytest.approx(before)
    generator = np.random.default_rng(4)
    noisy = measured(6, lambda one: float(np.exp(generator.normal(0, 0.1))) * model.latency_ms(one))
    scattered = recalibrated(model, noisy, prior)
    assert scattered.upper_ratio(0.95) > 1.05 * before
    known, other = SPACE.parse(next(iter(noisy))), SPACE.sample(np.random.default_rng(77))
    assert scattered.upper_ms(known, 0.95) == scattered.latency_ms(known) == next(iter(noisy.values())).median_ms
    ratio = scattered.upper_ms(other, 0.95) / scattered.latency_ms(other)
    assert ratio == pytest.approx(scattered.upper_ratio(0.95))


def test_networks_that_join_the_held_out_are_judged_by_the_others() -> None:
    """The closed form against as many fits as there are networks."""
    model, prior = CalibratedModel(SPACE, CALIBRATION), Prior.of(SPACE, CALIBRATION)
    generator = np.random.default_rng(6)
    networks = measured(5, lambda one: float(np.exp(generator.normal(0, 0.2))) * model.latency_ms(one))
    ratios = [one.median_ms / without(model, networks, text, prior) for text, one in networks.items()]
    # Four ratios of 1 beside these five.
    joined = recalibrated(model, networks, replace(prior, ratios=(1.0,) * 4))
    assert joined.upper_ratio(0.8) == pytest.approx(upper_ratio([1.0] * 4 + ratios, 0.8), rel=1e-9)


def without(model: CalibratedModel, networks: Mapping[str, NetworkLatency], text: str, prior: Prior) -> float:
    others = {name: one for name, one in networks.items() if name != text}
    return recalibrated(model, others, prior).latency_ms(SPACE.parse(text))


def test_a_table_alone_has_no_bound() -> None:
    model = recalibrated(MODEL, measured(3, slower(1.1)), Prior())
    with pytest.raises(BadInputError, match="cannot tell how wrong"):
        model.upper_ratio(0.95)
