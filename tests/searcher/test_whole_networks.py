"""What whole networks take beyond their kernels: learnt from made-up machines whose caches are known."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest

from searcher.cost_models.kernels.kernel_model import SESSION
from searcher.cost_models.kernels.whole_networks import (
    LEVELS_MB,
    SCALE,
    STEPS,
    TERMS,
    TRAFFIC,
    MeasuredNetwork,
    NetworkCorrection,
    fit_correction,
    terms_of,
)
from searcher.errors import BadInputError
from searcher.spaces.block import BlockSpec

CALL_MS = 0.004


def convolution(channels: int, side: int) -> BlockSpec:
    return BlockSpec("conv_bn", ((1, channels, side, side),), channels, 3, 1, 1)


def drawn_network(generator: np.random.Generator) -> tuple[BlockSpec, ...]:
    sides, widths = (8, 16, 32), (16, 64, 256, 512)
    return tuple(
        convolution(int(generator.choice(widths)), int(generator.choice(sides)))
        for _ in range(int(generator.integers(4, 30)))
    )


def own_ms(kernel: BlockSpec) -> float:
    _, channels, height, width = kernel.input_shapes[0]
    return 9 * channels**2 * height * width / 4e7


def networks(count: int, extra_ms: Callable[[np.ndarray], float], noise: float = 0.0) -> list[MeasuredNetwork]:
    generator = np.random.default_rng(3)
    found = []
    for _ in range(count):
        kernels = drawn_network(generator)
        times = tuple(own_ms(kernel) for kernel in kernels)
        measured = CALL_MS + sum(times) + extra_ms(terms_of(kernels, times))
        found.append(MeasuredNetwork(kernels, times, measured * math.exp(generator.normal(0, noise))))
    return found


def test_terms_are_counted_by_hand() -> None:
    small, large = convolution(16, 8), convolution(512, 8)
    terms = dict(zip(TERMS, terms_of((small, large), (0.5, 2.0)), strict=True))
    weights = [4e-6 * (9 * width**2 + 2 * width) for width in (16, 512)]
    traffic = [4e-6 * 2 * width * 64 for width in (16, 512)]
    assert terms[SCALE] == 2.5
    assert terms[STEPS] == 2
    assert terms[TRAFFIC] == pytest.approx(sum(traffic))
    # The small one would stay in any cache, the large one of 9.4 MB in none but the largest: together they do, too.
    assert terms["weights_beyond_0.25_mb"] == terms["weights_beyond_4_mb"] == pytest.approx(weights[0])
    assert terms["weights_beyond_16_mb"] == 0


def test_a_network_that_fits_has_nothing_beyond() -> None:
    terms = terms_of((convolution(16, 8),) * 5, (1.0,) * 5)
    assert terms[len(TERMS) - len(LEVELS_MB) :].tolist() == [0] * len(LEVELS_MB)


def test_what_a_cache_costs_is_learnt() -> None:
    def extra(terms: np.ndarray) -> float:
        return float(2.0 * terms[TERMS.index("weights_beyond_4_mb")] + 0.002 * terms[TERMS.index(STEPS)])

    known, unknown = networks(60, extra, noise=0.01)[:40], networks(60, extra)[40:]
    plain = [abs(math.log((CALL_MS + sum(one.kernels_ms)) / one.measured_ms)) for one in unknown]
    correction = fit_correction(CALL_MS, known)
    off = [
        abs(math.log(correction.latency_ms(CALL_MS, one.kernels, one.kernels_ms) / one.measured_ms)) for one in unknown
    ]
    assert np.mean(plain) > 0.05
    assert np.mean(off) < 0.02
    assert correction.prices_ms["weights_beyond_4_mb"] == pytest.approx(2.0, rel=0.2)
    assert np.mean([one < math.log(correction.ratio(0.9)) for one in off]) >= 0.75


def test_where_the_sum_holds_it_is_kept() -> None:
    correction = fit_correction(CALL_MS, networks(20, lambda _: 0.0))
    assert correction.prices_ms[SCALE] == pytest.approx(1, abs=1e-6)
    assert all(price == pytest.approx(0, abs=1e-6) for name, price in correction.prices_ms.items() if name != SCALE)
    assert correction.ratio(0.9) == pytest.approx(math.exp(SESSION), abs=1e-6)


def test_prices_are_never_negative() -> None:
    # Networks that are faster than their kernels by something that no price tells.
    correction = fit_correction(CALL_MS, networks(20, lambda terms: -0.2 * float(terms[0])))
    assert correction.prices_ms[SCALE] == pytest.approx(0.8, abs=0.02)
    assert min(correction.prices_ms.values()) >= 0


def test_an_interval_takes_its_rank_among_the_errors() -> None:
    errors = tuple(sorted(math.exp(sign * step / 100) for step in range(1, 11) for sign in (1, -1)))[:19]
    correction = NetworkCorrection(dict.fromkeys(TERMS, 1.0), errors, errors)
    sizes = sorted(abs(math.log(one)) for one in errors)
    # Rank 18 of 19 for 90%, and the greatest for 95%.
    assert correction.ratio(0.9) == pytest.approx(math.exp(sizes[17] + SESSION))
    assert correction.ratio(0.95) == pytest.approx(math.exp(sizes[18] + SESSION))
    with pytest.raises(BadInputError, match="99% takes 99 held-out networks, not 19"):
        correction.ratio(0.99)
    with pytest.raises(BadInputError, match="between 0 and 1"):
        correction.ratio(1.0)


def test_too_few_networks_and_no_correction_are_refused() -> None:
    with pytest.raises(BadInputError, match="12 networks at least, not 11"):
        fit_correction(CALL_MS, networks(11, lambda _: 0.0))
    drawn = networks(12, lambda _: 0.0)
    # As where what was timed is not what was cut: not even the call.
    with pytest.raises(BadInputError, match="do not take what their kernels take"):
        fit_correction(CALL_MS, [MeasuredNetwork(one.kernels, (1e-6,), 0.5 * CALL_MS) for one in drawn])
    good = dict.fromkeys(TERMS, 1.0)
    for prices, errors in (
        ({SCALE: 1.0}, (1.0,) * 12),
        ({**good, STEPS: -1.0}, (1.0,) * 12),
        ({**good, SCALE: 0.0}, (1.0,) * 12),
        (good, (1.0,) * 11),
        (good, (0.0,) * 12),
    ):
        with pytest.raises(ValueError, match=r"correction|negative|positive"):
            NetworkCorrection(prices, errors, errors)
