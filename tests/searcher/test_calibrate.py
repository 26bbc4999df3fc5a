"""Tables fitted to whole networks: what the fit finds, what it refuses, and the workflow with its file."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from searcher.cost_models.block_sum import BlockSum
from searcher.cost_models.calibrated import CalibratedModel, Prices
from searcher.cost_models.calibration import CALIBRATION_DOCUMENT, Calibration, NotAdditiveError
from searcher.cost_models.chains import LONG, SHORT, misleading_blocks, slopes_ms
from searcher.cost_models.cost_model import latency_range
from searcher.cost_models.fit import fit_table
from searcher.devices.device import Device
from searcher.errors import BadInputError
from searcher.spaces.architecture import Architecture
from searcher.spaces.block import CALL_OVERHEAD, BlockSpec
from searcher.spaces.drawn_networks import drawn_networks
from searcher.spaces.fbnet import FBNet
from searcher.spaces.fusion import UNFUSED
from searcher.spaces.nasbench201 import NasBench201
from searcher.tables.lookup_table import TABLE_DOCUMENT, KeyMismatchError, LookupTable, MissingBlockError
from searcher.tables.network_latencies import NetworkLatency
from searcher.workflows.calibrate import CalibrateRequest, calibrate, choose_networks
from tests.fakes import FakeTransport
from tests.searcher.builders import KEY, agent_program, table
from tests.searcher.calibrations import (
    RULE,
    SCALES,
    SPACE,
    TABLE,
    block_ms,
    calibration,
    fitted,
    network,
    network_ms,
    networks,
)


def test_the_fit_finds_the_rule_and_predicts_what_it_has_not_seen() -> None:
    fit = fitted(network_ms())
    assert fit.relus is not None
    assert (fit.relus.fusion, fit.relus.explained, fit.relus.networks) == (RULE, 30, 30)
    assert fit.held_out.mape < 0.5
    assert fit.held_out.raw_mape > 4
    assert (fit.held_out.within_5, fit.held_out.within_10, fit.refused) == (1.0, 1.0, None)
    assert fit.held_out.tau == pytest.approx(1.0, abs=0.02)
    # Ten networks pull the factors most of the way from 1 to what they are.
    for group in ("fixed", "relu_conv_bn-k3"):
        assert fit.scales[group] == pytest.approx(SCALES[group], abs=0.03)


def test_networks_stay_below_their_bounds() -> None:
    noisy = network_ms(noise_pct=2.0, seed=4)
    model = CalibratedModel(SPACE, calibration(fitted(noisy)))
    others = networks(300, 9, noisy)
    below = [one.median_ms <= model.upper_ms(SPACE.parse(text), 0.95) for text, one in others.items()]
    assert 0.92 <= np.mean(below) <= 1.0
    assert 1.0 < model.upper_ratio(0.95) < 1.1
    assert model.upper_ratio(0.8) < model.upper_ratio(0.95)
    with pytest.raises(BadInputError, match="99% takes 99 held-out networks, not 20"):
        model.upper_ms(SPACE.sample(np.random.default_rng(0)), 0.99)


def test_one_and_many_are_predicted_alike_and_the_fastest_is_found() -> None:
    model = CalibratedModel(SPACE, calibration(fitted(network_ms())))
    every = [one for one in SPACE.architectures() if SPACE.is_connected(one)]
    at_once = model.latencies_ms(np.array([one.genotype for one in every]))
    for index in range(0, len(every), 500):
        assert model.latency_ms(every[index]) == pytest.approx(at_once[index])
    found = latency_range(model)
    assert (found.low_ms, found.high_ms) == pytest.approx((at_once.min(), at_once.max()))


def test_networks_that_blocks_do_not_explain_are_refused() -> None:
    generator = np.random.default_rng(5)
    fit = fitted(lambda _architecture: float(generator.uniform(0.5, 5.0)))
    assert fit.refused is not None
    assert "of 20 held-out networks are predicted within 10%" in fit.refused
    with pytest.raises(NotAdditiveError, match="sums of blocks are not used on local: only"):
        CalibratedModel(SPACE, calibration(fit))


def test_networks_in_another_order_are_refused() -> None:
    # All within 5% of one latency: near the predictions, and in no order.
    flat = replace_prices(lambda _block: 1.0)
    generator = np.random.default_rng(6)

    def near(_architecture: Architecture) -> float:
        return 1.0 + float(generator.uniform(-0.05, 0.05))

    fit = fit_table(SPACE, flat, networks(10, 1, near), networks(20, 2, near))
    assert fit.refused is not None
    assert "rank correlation of 20 held-out networks with their predictions is" in fit.refused


def replace_prices(latency_ms: Callable[[str], float]) -> LookupTable:
    return replace(
        TABLE,
        entries={
            key: replace(entry, median_ms=latency_ms(key), interval_ms=(latency_ms(key),) * 2)
            for key, entry in TABLE.entries.items()
        },
    )


def test_graphs_that_no_rule_explains_leave_relus_as_the_table_has_them() -> None:
    generator = np.random.default_rng(7)
    exact = BlockSum(SPACE, TABLE).latency_ms
    shuffled = [
        {
            text: replace(one, operations=("Relu",) * int(generator.integers(1, 40)))
            for text, one in networks(count, count, exact).items()
        }
        for count in (10, 20)
    ]
    fit = fit_table(SPACE, TABLE, *shuffled)
    assert fit.relus is not None
    assert fit.relus.explained < fit.relus.networks == 30
    assert fit.relus.fusion == UNFUSED
    assert fit.held_out.mape < 0.1


def test_the_networks_to_fit_tell_more_than_random_ones_and_none_is_held_out(tmp_path: Path) -> None:
    request = CalibrateRequest(SPACE, tmp_path / "table.json", Device(), seed=3)
    chosen, held_out = choose_networks(request, TABLE)
    assert (len(chosen), len(held_out)) == (10, 20)
    assert len({SPACE.computation(one).text for one in chosen}) == 10
    assert not {one.genotype for one in chosen} & {one.genotype for one in held_out}
    assert all(SPACE.is_connected(one) for one in (*chosen, *held_out))
    assert choose_networks(request, TABLE) == (chosen, held_out)
    assert choose_networks(replace(request, seed=4), TABLE) != (chosen, held_out)
    # Every kind of block is told apart: some network is mostly of it, some has none.
    for operation in (1, 2, 3):
        counts = [SPACE.computation(one).operations[operation - 1][1] for one in chosen]
        assert min(counts) == 0
        assert max(counts) >= 2


@pytest.mark.parametrize(("changed", "complaint"), [({"held_out": 18}, "at least 19"), ({"fitted": 0}, "at least one")])
def test_too_few_networks_are_refused_before_any_work(changed: dict[str, int], complaint: str) -> None:
    with pytest.raises(BadInputError, match=complaint):
        replace(CalibrateRequest(SPACE, Path("table.json"), Device()), **changed)  # type: ignore[arg-type]


def run(lut: Path, latency_ms: Callable[[str], float], **key: str) -> Calibration:
    transport = FakeTransport(agent_program(latency_ms, replace(KEY, **key)))  # type: ignore[arg-type]
    work = calibrate(
        CalibrateRequest(SPACE, lut, Device(), fitted=4, held_out=19, rounds=6, samples=2), lambda _: transport
    )
    while True:
        try:
            next(work)
        except StopIteration as finished:
            made: Calibration = finished.value
            return made


def test_the_workflow_measures_fits_and_can_be_read_back(tmp_path: Path) -> None:
    TABLE_DOCUMENT.save(TABLE, tmp_path / "table.json")
    exact = BlockSum(SPACE, TABLE)
    made = run(tmp_path / "table.json", lambda text: 1.2 * exact.latency_ms(SPACE.parse(text)))
    assert (len(made.fitted), len(made.held_out.networks), made.refused) == (4, 19, None)
    assert made.held_out.raw_mape == pytest.approx(100 * (1 - 1 / 1.2), rel=1e-3)
    assert made.held_out.mape < made.held_out.raw_mape / 4
    path = tmp_path / "calibration.json"
    CALIBRATION_DOCUMENT.save(made, path)
    read = CALIBRATION_DOCUMENT.load(path)
    assert read == made
    one = SPACE.sample(np.random.default_rng(1))
    assert CalibratedModel(SPACE, read).latency_ms(one) == CalibratedModel(SPACE, made).latency_ms(one)


def test_another_device_than_the_tables_is_refused(tmp_path: Path) -> None:
    TABLE_DOCUMENT.save(TABLE, tmp_path / "table.json")
    with pytest.raises(KeyMismatchError, match="device_fingerprint"):
        run(tmp_path / "table.json", lambda _text: 1.0, device_fingerprint="aarch64-1")


def test_a_calibration_is_of_one_space_and_depth() -> None:
    made = calibration(fitted(network_ms()))
    with pytest.raises(BadInputError, match="with 2 cells per stage, not of nasbench201 with 3"):
        CalibratedModel(replace(SPACE, cells_per_stage=3), made)
    with pytest.raises(MissingBlockError, match="the calibration lacks"):
        CalibratedModel(NasBench201(cells_per_stage=2), made)


@pytest.mark.parametrize(
    ("place", "value", "complaint"),
    [
        (("held_out", "ratios"), [1.0, 0.0], "ratios of measured to predicted latency are positive"),
        (("scales", "fixed"), "nan", "finite"),
        (("block_ms",), {}, None),
        (("relus", "into"), ["conv", 3], "relus.into"),
        (("relus", "into"), ["conv", "pool"], "not of 'pool'"),
    ],
)
def test_a_spoilt_file_is_refused(tmp_path: Path, place: tuple[str, ...], value: object, complaint: str | None) -> None:
    plain = CALIBRATION_DOCUMENT.dump(calibration(fitted(network_ms())))
    spoilt = plain
    for name in place[:-1]:
        spoilt = spoilt[name]
    spoilt[place[-1]] = value
    text = json.dumps(plain)
    if complaint is None:
        with pytest.raises(MissingBlockError):
            CalibratedModel(SPACE, CALIBRATION_DOCUMENT.parse(text, "c.json"))
    else:
        with pytest.raises(BadInputError, match=complaint):
            CALIBRATION_DOCUMENT.parse(text, "c.json")


def test_blocks_that_convert_layouts_alone_are_priced_by_rows_of_them(tmp_path: Path) -> None:
    key = SPACE.cell_block("nor_conv_3x3", 1).key
    alone = TABLE.entries[key]
    converting = replace(alone, median_ms=alone.median_ms + 0.5, operations=("Relu", "ReorderInput", "Conv"))
    misled = replace(TABLE, entries={**TABLE.entries, key: replace(converting, interval_ms=(0.1, 1.0))})
    TABLE_DOCUMENT.save(misled, tmp_path / "table.json")
    exact = BlockSum(SPACE, TABLE)
    own_ms = alone.median_ms - block_ms(CALL_OVERHEAD)

    def latency_ms(name: str) -> float:
        block, star, copies = name.rpartition("*")
        if not star:
            return exact.latency_ms(SPACE.parse(name))
        assert block == key
        return 0.5 + block_ms(CALL_OVERHEAD) + int(copies) * own_ms

    made = run(tmp_path / "table.json", latency_ms)
    assert made.slopes == {key: pytest.approx(own_ms, rel=1e-3)}
    assert made.held_out.mape < 0.1
    assert made.held_out.raw_mape > 50
    assert set(made.fitted) | set(made.held_out.networks) <= {SPACE.format(one) for one in SPACE.architectures()}


def test_a_relu_that_a_row_fuses_is_not_saved_twice() -> None:
    # In a row each convolution but the first has its ReLU inside the one before.
    relu = SPACE.relu_block(1)
    convolution = SPACE.cell_block("nor_conv_3x3", 1)
    relu_ms, own_ms = (block_ms(one) - block_ms(CALL_OVERHEAD) for one in (relu, convolution))
    row = {convolution.chain_key(copies): NetworkLatency(0.5 + copies * (own_ms - relu_ms)) for copies in (SHORT, LONG)}
    slopes = slopes_ms(SPACE.all_blocks(), row)
    assert slopes == {convolution.key: pytest.approx(own_ms - relu_ms)}
    column = SPACE.all_blocks().index(convolution)
    assert Prices.of(SPACE, TABLE, RULE, slopes).block_ms[column] == pytest.approx(own_ms)
    assert Prices.of(SPACE, TABLE, UNFUSED, slopes).block_ms[column] == pytest.approx(own_ms - relu_ms)


def test_a_row_that_grows_no_slower_is_refused() -> None:
    convolution = SPACE.cell_block("nor_conv_3x3", 1)
    row = {convolution.chain_key(SHORT): NetworkLatency(1.0), convolution.chain_key(LONG): NetworkLatency(0.9)}
    exact = network_ms()
    fit = fit_table(SPACE, TABLE, networks(10, 1, exact), networks(20, 2, exact), row)
    assert fit.refused is not None
    assert convolution.key in fit.refused


def test_a_fit_that_makes_any_network_free_is_refused() -> None:
    # A call that takes longer than stem, reductions and head makes these cost less than nothing.
    def ms(block: BlockSpec) -> float:
        return 1e-6 if block in SPACE.skeleton else 0.05 + block_ms(block) - block_ms(CALL_OVERHEAD)

    entries = {
        block.key: replace(TABLE.entries[block.key], median_ms=ms(block), interval_ms=(ms(block),) * 2)
        for block in SPACE.all_blocks()
    }
    exact = BlockSum(SPACE, replace(TABLE, entries=entries))
    least = latency_range(exact).low_ms
    assert least < 0
    heavy = [one for one in drawn_networks(SPACE, 400, np.random.default_rng(1)) if exact.latency_ms(one) > 0.3]
    parts = [
        {SPACE.format(one): network(one, exact.latency_ms(one), UNFUSED) for one in part}
        for part in (heavy[:10], heavy[10:30])
    ]
    fit = fit_table(SPACE, replace(TABLE, entries=entries), *parts)
    assert fit.refused is not None
    assert "ms for a network of the space" in fit.refused


def test_only_what_converts_is_measured_in_rows() -> None:
    assert misleading_blocks(SPACE, TABLE) == ()
    every = {key: replace(entry, operations=("Conv", "ReorderOutput")) for key, entry in TABLE.entries.items()}
    chained = misleading_blocks(SPACE, replace(TABLE, entries=every))
    # Nine operations of the cells; sums take two inputs, and the others do not keep their shape.
    assert len(chained) == 9
    assert {block.operation for block in chained} == {"relu_conv_bn", "avg_pool"}


def test_shuffled_channels_are_no_conversion() -> None:
    space = FBNet(image_size=8, classes=3)
    plain = table(space, lambda _block: 1.0)
    entries = {
        block.key: replace(plain.entry(block.key), operations=("Conv", "Transpose")) for block in space.all_blocks()
    }
    chained = misleading_blocks(space, replace(plain, entries=entries))
    assert chained
    assert all(block.groups == 1 for block in chained)
