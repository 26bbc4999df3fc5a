"""The rails of boards, as trees of the files that they tell their power in, and what their readings add up to."""

from __future__ import annotations

import itertools
import threading
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from profiler_agent.energy import NoEnergyError, PowerLog, PowerReading, energy_of
from profiler_agent.power import Meter, find_meter
from tests.agent.trees import DENIED, Tree, write_tree

_HWMON = "sys/bus/i2c/drivers/ina3221/1-0040/hwmon/hwmon3"
# As a Jetson Orin Nano tells it: the input of the module, two of its parts, and what the driver itself adds up.
ORIN: Tree = {
    f"{_HWMON}/in1_label": "VDD_IN\n",
    f"{_HWMON}/in1_input": "4976\n",
    f"{_HWMON}/curr1_input": "1016\n",
    f"{_HWMON}/in2_label": "VDD_CPU_GPU_CV\n",
    f"{_HWMON}/in2_input": "4968\n",
    f"{_HWMON}/curr2_input": "152\n",
    f"{_HWMON}/in3_label": "VDD_SOC\n",
    f"{_HWMON}/in3_input": "4968\n",
    f"{_HWMON}/curr3_input": "304\n",
    f"{_HWMON}/in7_label": "Sum of shunt voltages\n",
    f"{_HWMON}/in7_input": "4\n",
}
# As an AGX Orin: no rail feeds the whole, and a channel is not connected.
AGX: Tree = {
    f"{_HWMON}/in1_label": "VDD_GPU_SOC\n",
    f"{_HWMON}/in1_input": "19000\n",
    f"{_HWMON}/curr1_input": "100\n",
    f"{_HWMON}/in2_label": "NC\n",
    f"{_HWMON}/in2_input": "0\n",
    f"{_HWMON}/curr2_input": "0\n",
    "sys/bus/i2c/drivers/ina3221/1-0041/hwmon/hwmon4/in2_label": "VDDQ_VDD2_1V8AO\n",
    "sys/bus/i2c/drivers/ina3221/1-0041/hwmon/hwmon4/in2_input": "19000\n",
    "sys/bus/i2c/drivers/ina3221/1-0041/hwmon/hwmon4/curr2_input": "50\n",
}
_TX2 = "sys/devices/3160000.i2c/i2c-0/0-0041/iio_device"
TX2: Tree = {f"{_TX2}/in_power0_input": "3512\n", f"{_TX2}/rail_name_0": "VDD_IN\n"}
INA226: Tree = {
    "sys/class/hwmon/hwmon0/name": "amdgpu\n",
    "sys/class/hwmon/hwmon0/power1_average": "90000000\n",
    "sys/class/hwmon/hwmon1/name": "ina226\n",
    "sys/class/hwmon/hwmon1/power1_input": "2450000\n",
    "sys/class/hwmon/hwmon2/name": "cpu_thermal\n",
}
_ZONE = "sys/class/powercap/intel-rapl:"
LAPTOP: Tree = {
    f"{_ZONE}0/name": "package-0\n",
    f"{_ZONE}0/energy_uj": "262143000000\n",
    f"{_ZONE}0/max_energy_range_uj": "262143328850\n",
    f"{_ZONE}0:0/name": "core\n",
    f"{_ZONE}0:0/energy_uj": "5\n",
    f"{_ZONE}1/name": "psys\n",
    f"{_ZONE}1/energy_uj": "5\n",
}
PMIC = """\
 3V7_WL_SW_A current(0)=0.00195210A
   3V3_SYS_A current(1)=0.05855800A
  VDD_CORE_A current(7)=1.72840000A
 3V7_WL_SW_V volt(8)=3.72194000V
   3V3_SYS_V volt(9)=3.32116000V
  VDD_CORE_V volt(15)=0.88207800V
     EXT5V_V volt(24)=5.10256000V
"""


def no_tool(_arguments: tuple[str, ...]) -> None:
    return None


@pytest.mark.parametrize(
    ("tree", "rails", "milliwatts"),
    [
        (ORIN, "INA3221: VDD_IN", 4976 * 1016 / 1000),
        (AGX, "INA3221: VDD_GPU_SOC, VDDQ_VDD2_1V8AO", 1900 + 950),
        (TX2, "INA3221 (iio): VDD_IN", 3512),
        (INA226, "hwmon: ina226", 2450),
    ],
)
def test_rails_are_found_and_read(tmp_path: Path, tree: Tree, rails: str, milliwatts: float) -> None:
    meter = find_meter(write_tree(tmp_path, tree), no_tool)
    assert meter is not None
    assert meter.rails == rails
    assert meter.read_mw(0.0) == pytest.approx(milliwatts)


def test_a_raspberry_pi_5_tells_currents_and_voltages(tmp_path: Path) -> None:
    answers = itertools.chain([PMIC, PMIC], itertools.repeat(None))
    meter = find_meter(tmp_path, lambda arguments: next(answers) if arguments[0] == "vcgencmd" else None)
    assert meter is not None
    assert meter.rails == "Raspberry Pi PMIC: 3V7_WL_SW, 3V3_SYS, VDD_CORE"
    expected = 1000 * (0.0019521 * 3.72194 + 0.058558 * 3.32116 + 1.7284 * 0.882078)
    assert meter.read_mw(0.0) == pytest.approx(expected)
    assert meter.read_mw(1.0) is None


def test_the_counter_of_a_processor_becomes_power_and_begins_anew(tmp_path: Path) -> None:
    meter = find_meter(write_tree(tmp_path, LAPTOP), no_tool)
    assert meter is not None
    assert meter.rails == "RAPL: 1 package(s)"
    counter = tmp_path / f"{_ZONE}0/energy_uj"
    assert meter.read_mw(10.0) is None
    counter.write_text("262143100000")
    assert meter.read_mw(10.5) == pytest.approx(200.0)
    counter.write_text("71150")
    assert meter.read_mw(11.5) == pytest.approx(300.0)
    counter.unlink()
    assert meter.read_mw(12.0) is None


@pytest.mark.parametrize(
    "tree",
    [
        {},
        {f"{_HWMON}/in1_label": "VDD_IN\n", f"{_HWMON}/in1_input": DENIED, f"{_HWMON}/curr1_input": "5"},
        {f"{_ZONE}0/name": "package-0\n", f"{_ZONE}0/energy_uj": DENIED},
        {f"{_TX2}/in_power0_input": "nonsense"},
    ],
)
def test_a_board_that_tells_nothing_has_no_meter(tmp_path: Path, tree: Tree) -> None:
    assert find_meter(write_tree(tmp_path, tree), no_tool) is None


@given(st.text(max_size=200))
def test_any_answer_of_the_tool_is_read_or_left(tmp_path_factory: pytest.TempPathFactory, told: str) -> None:
    find_meter(tmp_path_factory.getbasetemp() / "nothing", lambda _arguments: told)


def readings(*milliwatts: float, start_s: float = 0.0) -> list[PowerReading]:
    return [PowerReading(start_s + 0.02 * index, value) for index, value in enumerate(milliwatts)]


def test_energy_is_the_power_above_idle_times_the_latency() -> None:
    energy = energy_of(readings(*[999, 1001] * 20), readings(*[2990, 3010] * 30), latency_s=0.005)
    assert (energy.idle_power_mw, energy.power_mw) == (1000, 3000)
    assert energy.energy_mj == pytest.approx(10.0)
    assert energy.samples == 60
    assert energy.hz == pytest.approx(50)
    # Both means' standard errors, and 1.96 of them: 10.08²/60 + 1.01²/40.
    assert energy.half_width_mj == pytest.approx(1.96 * 1.3113 * 0.005, rel=1e-2)


@pytest.mark.parametrize(
    ("idle", "busy", "why"),
    [
        ([999, 1001] * 20, [2990, 3010] * 4, "8 fresh readings .* fewer than 10"),
        ([1000] * 40, [2990, 3010] * 20, "1 fresh readings"),
        ([], [], "0 fresh readings"),
        ([900, 1100] * 20, [920, 1120] * 20, r"rose by 20 mW, and its readings are no more certain than ±44 mW"),
        ([2990, 3010] * 20, [999, 1001] * 20, "rose by -2000 mW"),
    ],
)
def test_too_few_or_too_noisy_readings_are_no_energy(idle: list[float], busy: list[float], why: str) -> None:
    with pytest.raises(NoEnergyError, match=why):
        energy_of(readings(*idle), readings(*busy), 0.005)


def test_repeated_values_of_a_slow_sensor_count_once() -> None:
    slow = [value for value in [2990.0, 3010.0] * 6 for _ in range(10)]
    energy = energy_of(readings(*[999, 1001] * 20), readings(*slow), 0.001)
    assert energy.samples == 12


def test_a_log_reads_in_its_thread_until_it_is_left() -> None:
    threads = set()

    def read_mw(now_s: float) -> float | None:
        threads.add(threading.current_thread())
        return None if now_s % 2 < 1 else 5.0

    seconds = itertools.count()
    with PowerLog(Meter("fake", read_mw), lambda: float(next(seconds))) as log:
        while len(log.between(0, 1000)) < 3:
            time.sleep(0.01)
    assert threading.current_thread() not in threads
    assert not any(thread.is_alive() for thread in threads)
    assert [one.at_s for one in log.between(0, 4)] == [1.0, 3.0]
