"""A new device from ten networks: made-up devices of known physics, refusals, accidents, and a published column."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from benchmarks.published_cells import Cells
from benchmarks.transfer import COLUMNS
from searcher.cost_models.agreement import spearman
from searcher.cost_models.cost_model import BoundedCostModel
from searcher.cost_models.known_devices import KnownDevices
from searcher.cost_models.transfer import Experience, Transfer
from searcher.errors import BadInputError
from searcher.spaces.architecture import Architecture
from tests.searcher.known_devices import CELLS, CONNECTED, SPACE, latencies_file, made_up_devices, made_up_ms


@pytest.fixture(scope="module")
def experience() -> Experience:
    return Experience(made_up_devices())


def pool_of(seed: int, size: int = 300) -> NDArray[np.int64]:
    return np.random.default_rng(seed).choice(len(CELLS), size, replace=False)


def chosen_from(experience: Experience, pool: NDArray[np.int64], count: int = 10) -> NDArray[np.int64]:
    return pool[experience.informative(CELLS[pool], count)]


def errors_of(experience: Experience, rows: NDArray[np.int64], latency_ms: NDArray[np.float64]) -> NDArray[np.float64]:
    model = Transfer(experience, CELLS[rows], latency_ms[rows])
    return np.asarray(np.abs(model.latencies_ms(CELLS[CONNECTED]) / latency_ms[CONNECTED] - 1))


@pytest.mark.parametrize("rule", ["all", "summed"])
@pytest.mark.parametrize("seed", [20, 21])
def test_a_device_like_the_known_ones_is_predicted(experience: Experience, rule: str, seed: int) -> None:
    latency_ms = made_up_ms(seed, rule)
    chosen = chosen_from(experience, pool_of(seed))
    assert np.median(errors_of(experience, chosen, latency_ms)) < 0.04
    model = Transfer(experience, CELLS[chosen], latency_ms[chosen])
    assert (spearman(model.latencies_ms(CELLS), latency_ms) or 0.0) > 0.97


def test_a_faster_device_is_the_same_device(experience: Experience) -> None:
    latency_ms = made_up_ms(22, "all")
    chosen = chosen_from(experience, pool_of(1))
    slow, fast = (Transfer(experience, CELLS[chosen], scale * latency_ms[chosen]) for scale in (1000.0, 0.001))
    assert slow.latencies_ms(CELLS) == pytest.approx(1e6 * fast.latencies_ms(CELLS), rel=1e-9)
    assert slow.intervals_ms(CELLS, 0.9) == pytest.approx(1e6 * fast.intervals_ms(CELLS, 0.9), rel=1e-9)


def test_chosen_networks_tell_more_than_others(experience: Experience) -> None:
    chosen, drawn = [], []
    for seed in range(30, 36):
        latency_ms, pool = made_up_ms(seed, "all"), pool_of(seed)
        pool = pool[CONNECTED[pool]]
        chosen.append(errors_of(experience, chosen_from(experience, pool), latency_ms).mean())
        drawn.append(errors_of(experience, pool[:10], latency_ms).mean())
    assert np.mean(chosen) < 0.8 * np.mean(drawn)


def test_disconnected_networks_are_neither_chosen_nor_learnt_from(experience: Experience) -> None:
    latency_ms = made_up_ms(23, "all")
    constants = np.flatnonzero(~CONNECTED)[:40]
    pool = np.concatenate([constants, pool_of(2, 60)])
    chosen = chosen_from(experience, pool, 20)
    assert CONNECTED[chosen].all()
    assert len(set(chosen.tolist())) == 20
    with_constants = np.concatenate([chosen, constants])
    floored = np.where(CONNECTED, latency_ms, 1e-3)
    one = Transfer(experience, CELLS[with_constants], floored[with_constants])
    other = Transfer(experience, CELLS[chosen], latency_ms[chosen])
    assert np.array_equal(one.latencies_ms(CELLS), other.latencies_ms(CELLS))


def test_intervals_hold_as_often_as_they_say_and_bounds_too(experience: Experience) -> None:
    held, below = [], []
    for seed in range(40, 50):
        latency_ms = made_up_ms(seed, "summed" if seed % 3 == 0 else "all")
        chosen = chosen_from(experience, pool_of(seed))
        model: BoundedCostModel = (transfer := Transfer(experience, CELLS[chosen], latency_ms[chosen]))
        low, high = transfer.intervals_ms(CELLS[CONNECTED], 0.9).T
        predicted = model.latencies_ms(CELLS[CONNECTED])
        assert (low > 0).all()
        assert (low <= predicted).all()
        assert (predicted <= high).all()
        held.append(((low <= latency_ms[CONNECTED]) & (latency_ms[CONNECTED] <= high)).mean())
        below.append((latency_ms[CONNECTED] <= model.uppers_ms(CELLS[CONNECTED], 0.95)).mean())
    assert 0.84 < np.mean(held) < 0.97
    assert 0.9 < np.mean(below) < 0.99


def test_noisier_devices_have_wider_intervals() -> None:
    widths = []
    for noise in (0.01, 0.1):
        noisy = Experience(made_up_devices(4, noise))
        latency_ms = made_up_ms(24, "all", noise)
        chosen = chosen_from(noisy, pool_of(3))
        low, high = Transfer(noisy, CELLS[chosen], latency_ms[chosen]).intervals_ms(CELLS, 0.9).T
        widths.append(np.median((high - low) / low))
    assert widths[1] > 2 * widths[0]


def test_one_architecture_is_answered_as_the_population_is(experience: Experience) -> None:
    chosen = chosen_from(experience, pool_of(4))
    model = Transfer(experience, CELLS[chosen], made_up_ms(25, "all")[chosen])
    cell = Architecture(SPACE.name, tuple(CELLS[7].tolist()))
    assert model.latency_ms(cell) == pytest.approx(model.latencies_ms(CELLS)[7])
    assert model.upper_ms(cell, 0.9) == pytest.approx(model.uppers_ms(CELLS, 0.9)[7])
    assert model.upper_ms(cell, 0.5) < model.upper_ms(cell, 0.99)
    found = model.latency_range()
    predicted = model.latencies_ms(CELLS[CONNECTED])
    assert (found.low_ms, found.high_ms) == pytest.approx((predicted.min(), predicted.max()))
    assert model.latency_ms(found.slowest) == pytest.approx(found.high_ms)
    assert model.latency_range(0.9).low_ms > found.low_ms
    with pytest.raises(BadInputError, match="not an architecture of nasbench201"):
        model.latency_ms(replace(cell, space="fbnet"))


def test_an_interrupted_measurement_is_not_believed(experience: Experience) -> None:
    latency_ms = made_up_ms(26, "all")
    chosen = chosen_from(experience, pool_of(5))
    clean = Transfer(experience, CELLS[chosen], latency_ms[chosen])
    assert clean.not_believed == ()
    for place in range(len(chosen)):
        interrupted = latency_ms.copy()
        interrupted[chosen[place]] *= 5
        model = Transfer(experience, CELLS[chosen], interrupted[chosen])
        assert model.not_believed == (Architecture(SPACE.name, tuple(CELLS[chosen[place]].tolist())),)
        rest = CONNECTED.copy()
        rest[chosen] = False
        errors = np.abs(model.latencies_ms(CELLS[rest]) / latency_ms[rest] - 1)
        assert np.median(errors) < 0.06


def test_what_cannot_be_transferred_is_told(experience: Experience) -> None:
    latency_ms, chosen = made_up_ms(27, "all"), chosen_from(experience, pool_of(6))
    with pytest.raises(BadInputError, match="5 connected networks at least, not 4"):
        Transfer(experience, CELLS[chosen[:4]], latency_ms[chosen[:4]])
    with pytest.raises(BadInputError, match="one positive latency"):
        Transfer(experience, CELLS[chosen], -latency_ms[chosen])
    with pytest.raises(BadInputError, match="one positive latency"):
        Transfer(experience, CELLS[chosen], latency_ms[chosen[:9]])
    with pytest.raises(BadInputError, match="500 networks at most, not 501"):
        Transfer(experience, CELLS[:501], latency_ms[:501])
    twice = np.append(chosen, chosen[3])
    with pytest.raises(BadInputError, match="is there twice"):
        Transfer(experience, CELLS[twice], latency_ms[twice])
    with pytest.raises(BadInputError, match="between 5 and all are chosen, not 4"):
        experience.informative(CELLS, 4)
    model = Transfer(experience, CELLS[chosen], latency_ms[chosen])
    with pytest.raises(BadInputError, match="a confidence lies between 0 and 1"):
        model.intervals_ms(CELLS, 1.5)
    with pytest.raises(BadInputError, match="held-out networks"):
        model.uppers_ms(CELLS, 1 - 1e-9)
    unknown = next(cell for cell in SPACE.architectures() if not np.equal(CELLS, cell.genotype).all(axis=1).any())
    with pytest.raises(BadInputError, match="not all known devices have a latency of the cell"):
        model.latency_ms(unknown)


def test_known_devices_that_teach_nothing_are_refused() -> None:
    known = made_up_devices(4)
    with pytest.raises(BadInputError, match="3 known ones at least, not 2"):
        Experience(KnownDevices(SPACE, known.names[:2], CELLS, known.latency_ms[:, :2]))
    with pytest.raises(BadInputError, match="'device 0' is there twice"):
        KnownDevices(SPACE, ("device 0", "device 1", "device 0", "device 3"), CELLS, known.latency_ms)
    with pytest.raises(BadInputError, match="'device 1' and 'device 3' have the very same latencies"):
        KnownDevices(SPACE, known.names, CELLS, known.latency_ms[:, [0, 1, 2, 1]])
    with pytest.raises(BadInputError, match="connected networks in common, and it takes 500"):
        KnownDevices(SPACE, known.names, CELLS[:100], known.latency_ms[:100])
    with pytest.raises(BadInputError, match="a network of the known devices is there twice"):
        KnownDevices(SPACE, known.names, np.repeat(CELLS, 2, axis=0), np.repeat(known.latency_ms, 2, axis=0))
    with pytest.raises(BadInputError, match="not positive"):
        KnownDevices(SPACE, known.names, CELLS, known.latency_ms - known.latency_ms.max())
    with pytest.raises(BadInputError, match="do not fit"):
        KnownDevices(SPACE, known.names[:3], CELLS, known.latency_ms)


def test_files_are_taken_where_all_of_them_know_a_network() -> None:
    known, rows = made_up_devices(3), np.arange(len(CELLS))
    files = [latencies_file(name, rows, known.latency_ms[:, one]) for one, name in enumerate(known.names)]
    files[1] = latencies_file("device 1", rows[200:], known.latency_ms[:, 1])
    files[2] = latencies_file("device 2", rows[::-1], known.latency_ms[:, 2])
    shared = KnownDevices.of(SPACE, files)
    assert shared.names == known.names
    assert np.array_equal(shared.genotypes, CELLS[200:])
    assert np.array_equal(shared.latency_ms, known.latency_ms[200:])
    with pytest.raises(BadInputError, match="of the space 'fbnet', not of 'nasbench201'"):
        KnownDevices.of(SPACE, [*files, replace(files[0], space="fbnet")])
    with pytest.raises(BadInputError, match="3 known ones at least, not 2"):
        KnownDevices.of(SPACE, files[:2])
    with pytest.raises(BadInputError, match="no network in common"):
        KnownDevices.of(SPACE, [files[0], files[2], latencies_file("device 1", rows[:0], known.latency_ms[:, 1])])


def test_a_file_of_the_new_device_is_fitted(experience: Experience) -> None:
    latency_ms, chosen = made_up_ms(28, "all"), chosen_from(experience, pool_of(7))
    file = latencies_file("new", chosen, latency_ms)
    model = Transfer(experience, CELLS[chosen], latency_ms[chosen])
    assert np.array_equal(Transfer.of(experience, file).latencies_ms(CELLS), model.latencies_ms(CELLS))
    with pytest.raises(BadInputError, match="'device 2' is one of the known ones"):
        Transfer.of(experience, replace(file, device="device 2"))
    with pytest.raises(BadInputError, match="of the space 'fbnet'"):
        Transfer.of(experience, replace(file, space="fbnet"))
    with pytest.raises(BadInputError, match="5 connected networks at least, not 0"):
        Transfer.of(experience, replace(file, networks={}))


@pytest.mark.parametrize(("name", "least"), [("raspi4", 0.96), ("eyeriss", 0.9)])
def test_ten_cells_of_a_published_column_tell_the_rest(data_dir: Path, name: str, least: float) -> None:
    cells = Cells.read(data_dir, COLUMNS)
    others = [one for one in COLUMNS if one != name]
    known_ms = np.stack([cells.latency_ms[one] for one in others], axis=1)
    experience = Experience(KnownDevices(SPACE, tuple(others), cells.genotypes, known_ms))
    pool = np.random.default_rng(100).choice(np.flatnonzero(cells.connected), 300, replace=False)
    chosen = pool[experience.informative(cells.genotypes[pool])]
    column = cells.latency_ms[name]
    model = Transfer(experience, cells.genotypes[chosen], column[chosen])
    assert len(chosen) == 10
    assert (spearman(model.latencies_ms(cells.genotypes), column) or 0.0) > least
    low, high = model.intervals_ms(cells.genotypes, 0.9).T
    assert ((low <= column) & (column <= high)).mean() > 0.85
