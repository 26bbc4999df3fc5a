"""What a search costs: exact sums with a clock, counters and files of the test's own."""

from __future__ import annotations

from pathlib import Path

import pytest

from searcher.errors import BadInputError
from searcher.reports.terminal import spent
from searcher.search.accounting import (
    Account,
    RaplMeter,
    Rates,
    Session,
    add_up,
    co2_g,
    processor_seconds,
    strubell_co2_lb,
)

RANGE_UJ = 262_143_328_850


class Zone:
    """A counter of energy as the kernel shows it."""

    def __init__(self, root: Path, name: str, folder: str, energy_uj: int) -> None:
        self.folder = root / "sys/class/powercap" / folder
        self.folder.mkdir(parents=True)
        (self.folder / "name").write_text(f"{name}\n")
        (self.folder / "max_energy_range_uj").write_text(f"{RANGE_UJ}\n")
        self.set(energy_uj)

    def set(self, energy_uj: int) -> None:
        (self.folder / "energy_uj").write_text(f"{energy_uj}\n")


def test_the_energy_of_all_packages_is_counted_and_nothing_twice(tmp_path: Path) -> None:
    first, second = (Zone(tmp_path, f"package-{n}", f"intel-rapl:{n}", 5_000_000) for n in (0, 1))
    core = Zone(tmp_path, "core", "intel-rapl:0:0", 1_000_000)
    whole = Zone(tmp_path, "psys", "intel-rapl:2", 1_000_000)
    meter = RaplMeter(100.0, tmp_path)
    assert meter(100.0) == 0.0
    first.set(9_000_000)
    second.set(5_500_000)
    core.set(900_000_000)
    whole.set(900_000_000)
    assert meter(110.0) == 4.5
    first.set(10_000_000)
    assert meter(120.0) == 5.5


def test_a_counter_that_begins_anew_goes_on(tmp_path: Path) -> None:
    zone = Zone(tmp_path, "package-0", "intel-rapl:0", RANGE_UJ - 1_000_000)
    meter = RaplMeter(0.0, tmp_path)
    zone.set(2_000_000)
    assert meter(10.0) == 3.0


def test_a_counter_that_may_have_begun_anew_twice_tells_nothing(tmp_path: Path) -> None:
    zone = Zone(tmp_path, "package-0", "intel-rapl:0", 0)
    meter = RaplMeter(0.0, tmp_path)
    zone.set(7_000_000)
    # 600 W fill the range in 437 s.
    assert meter(436.0) == 7.0
    assert meter(436.0 + 437.0) is None
    assert meter(874.0) is None


def test_a_counter_that_cannot_be_read_tells_nothing(tmp_path: Path) -> None:
    assert RaplMeter(0.0, tmp_path)(1.0) is None
    zone = Zone(tmp_path, "package-0", "intel-rapl:0", 0)
    meter = RaplMeter(0.0, tmp_path)
    (zone.folder / "energy_uj").unlink()
    assert meter(1.0) is None
    zone.set(1_000_000)
    # What was used meanwhile would be missing.
    assert meter(2.0) is None
    (zone.folder / "max_energy_range_uj").unlink()
    assert RaplMeter(0.0, tmp_path)(1.0) is None


def test_one_unreadable_package_of_two_is_no_measurement(tmp_path: Path) -> None:
    Zone(tmp_path, "package-0", "intel-rapl:0", 0)
    hidden = Zone(tmp_path, "package-1", "intel-rapl:1", 0)
    (hidden.folder / "energy_uj").unlink()
    assert RaplMeter(0.0, tmp_path)(1.0) is None


def test_an_account_counts_from_where_it_was_opened() -> None:
    now, used = [1000.0], [7.0]
    account = Account(lambda: now[0], lambda: used[0], lambda at_s: 2 * (at_s - 1000.0))
    now[0], used[0] = 1010.0, 19.0
    assert account.elapsed_s == 10.0
    account.go_on((Session(60.0, 90.0, None), Session(5.0, 1.0, None)))
    assert account.session(cached=3) == Session(10.0, 12.0, 20.0, 3)
    assert account.elapsed_s == 75.0


def test_measured_energy_is_added_up_and_turned_into_co2() -> None:
    sessions = (Session(10.0, 20.0, 1.8e6, 3), Session(5.0, 8.0, 1.8e6, 2))
    total = add_up(sessions, Rates(grid_g_per_kwh=100.0), (1.0, 2.0))
    assert (total.sessions, total.wall_s, total.processor_s) == (2, 15.0, 28.0)
    assert (total.energy_j, total.energy_method, total.watts_per_core) == (3.6e6, "rapl", None)
    # One kWh.
    assert (total.co2_g, total.grid_g_per_kwh) == (100.0, 100.0)
    assert total.strubell_co2_lb == pytest.approx(1.58 * 0.954, rel=1e-15)
    assert (total.cached, total.generation_s) == (5, (1.0, 2.0))


@pytest.mark.parametrize("energies", [(None,), (4.0, None)])
def test_without_a_counter_in_every_session_all_energy_is_an_estimate(energies: tuple[float | None, ...]) -> None:
    total = add_up([Session(10.0, 100.0, energy) for energy in energies], Rates(watts_per_core=12.0))
    assert total.energy_j == 1200.0 * len(energies)
    assert (total.energy_method, total.watts_per_core) == ("estimate", 12.0)


def test_the_methods_in_figures_of_the_sources() -> None:
    assert co2_g(3.6e6, 475.0) == 475.0
    # Strubell et al., Table 3: BERT base on 64 GPUs, 1507 kWh with the overhead of 1.58, 1438 pounds.
    assert strubell_co2_lb(1507 / 1.58 * 3.6e6) == pytest.approx(1438, abs=0.5)


@pytest.mark.parametrize("rates", [{"watts_per_core": 0.0}, {"watts_per_core": float("inf")}, {"grid_g_per_kwh": -1.0}])
def test_rates_that_are_none_are_refused(rates: dict[str, float]) -> None:
    with pytest.raises(BadInputError, match="number of"):
        Rates(**rates)
    assert Rates(grid_g_per_kwh=0.0).grid_g_per_kwh == 0.0


def test_what_a_person_reads() -> None:
    assert spent(add_up((Session(9.96, 20.0, None),), Rates())) == (
        "spent 10.0 s, 20.0 s of processors, 240 J (estimated at 12 W a core), 0.0317 g CO₂ at 475 g/kWh"
    )
    twice = add_up((Session(1.0, 2.0, 5.0),) * 2, Rates(grid_g_per_kwh=20.0))
    assert spent(twice).startswith("spent 2.0 s in 2 sessions, 4.0 s of processors, 10 J (measured), ")


def test_this_process_s_own_time_grows_with_its_work() -> None:
    before = processor_seconds()
    while processor_seconds() == before:
        sum(range(10_000))
    assert processor_seconds() > before
