"""The machine's signs, read from recorded trees and from this machine."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from profiler_agent.records import NO_SIGNS
from profiler_agent.signs import Counters, read_counters, signs_between

MS = 1_000_000
EARLIER = Counters(
    wall_ns=0,
    own_ns=0,
    waited_ns=0,
    busy_ns=0,
    stolen_ns=0,
    tick_ns=10 * MS,
    preemptions=0,
    throttlings=0,
    quota_stops=0,
)


def write_tree(root: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


BOARD = {
    "proc/stat": "cpu  9 9 9 9 9 9 9 9 0 0\ncpu0 10 0 5 900 1 2 3 4 0 0\ncpu1 20 0 10 800 1 0 0 7 0 0\nintr 1\n",
    "proc/self/task/1/schedstat": "500 70 3\n",
    "proc/self/task/2/schedstat": "500 30 3\n",
    "proc/self/cgroup": "0::/user.slice\n",
    "sys/fs/cgroup/user.slice/cpu.max": "150000 100000\n",
    "sys/fs/cgroup/user.slice/cpu.stat": "usage_usec 1\nnr_throttled 6\n",
    "sys/devices/system/cpu/cpu0/thermal_throttle/core_throttle_count": "2\n",
    "sys/devices/system/cpu/cpu1/thermal_throttle/core_throttle_count": "3\n",
    "sys/devices/system/cpu/cpufreq/policy0/related_cpus": "0\n",
    "sys/devices/system/cpu/cpufreq/policy0/scaling_cur_freq": "1500000\n",
    "sys/devices/system/cpu/cpufreq/policy1/related_cpus": "1\n",
    "sys/devices/system/cpu/cpufreq/policy1/scaling_cur_freq": "600000\n",
    "sys/class/thermal/thermal_zone0/type": "cpu-thermal\n",
    "sys/class/thermal/thermal_zone0/temp": "71500\n",
    "sys/class/thermal/thermal_zone0/trip_point_0_type": "critical\n",
    "sys/class/thermal/thermal_zone0/trip_point_0_temp": "110000\n",
    "sys/class/thermal/thermal_zone0/trip_point_1_type": "passive\n",
    "sys/class/thermal/thermal_zone0/trip_point_1_temp": "80000\n",
    "sys/class/thermal/thermal_zone1/temp": "-274000\n",
}


def test_counters_are_read_from_the_kernels_files(tmp_path: Path) -> None:
    write_tree(tmp_path, BOARD)
    counters = read_counters((0,), tmp_path)
    tick_ns = counters.tick_ns
    assert counters.waited_ns == 100
    assert counters.busy_ns == (10 + 5 + 2 + 3 + 20 + 10) * tick_ns
    assert counters.stolen_ns == 4 * tick_ns
    assert (counters.throttlings, counters.quota_stops) == (5, 6)


def test_the_quota_of_the_first_version_of_control_groups_is_found(tmp_path: Path) -> None:
    files = {
        "proc/self/cgroup": "4:memory:/a\n3:cpu,cpuacct:/box\n",
        "sys/fs/cgroup/cpu/box/cpu.cfs_quota_us": "50000\n",
        "sys/fs/cgroup/cpu/box/cpu.cfs_period_us": "100000\n",
        "sys/fs/cgroup/cpu/box/cpu.stat": "nr_throttled 9\n",
        "sys/fs/cgroup/memory/a/cpu.stat": "nr_throttled 1\n",
    }
    write_tree(tmp_path, files)
    assert read_counters((0,), tmp_path).quota_stops == 9


def test_frequency_and_heat_are_those_of_the_usable_processors_and_the_limiting_sensor(tmp_path: Path) -> None:
    write_tree(tmp_path, BOARD)
    signs = signs_between(EARLIER, EARLIER, replace(EARLIER, wall_ns=MS), (0,), tmp_path)
    assert (signs.frequency_mhz, signs.temperature_c, signs.heat_margin_c) == (1500, 71.5, 8.5)


def test_the_clock_is_that_of_the_processor_that_ran_the_thread(tmp_path: Path) -> None:
    write_tree(tmp_path, BOARD)
    # Unknown, it is that of the fastest: an idle neighbour is slow and innocent.
    assert signs_between(EARLIER, EARLIER, EARLIER, (0, 1), tmp_path).frequency_mhz == 1500
    before_it = " ".join(["S", *["0"] * 35])
    write_tree(tmp_path, {"proc/thread-self/stat": f"7 (a name) with) {before_it} 1 0 0\n"})
    assert signs_between(EARLIER, EARLIER, EARLIER, (0, 1), tmp_path).frequency_mhz == 600


def test_differences_become_shares_of_the_time(tmp_path: Path) -> None:
    later = Counters(
        wall_ns=1000 * MS,
        own_ns=800 * MS,
        waited_ns=50 * MS,
        busy_ns=1510 * MS,
        stolen_ns=40 * MS,
        tick_ns=10 * MS,
        preemptions=7,
        throttlings=1,
        quota_stops=2,
    )
    sampling = replace(EARLIER, wall_ns=500 * MS, waited_ns=30 * MS, preemptions=4)
    signs = signs_between(EARLIER, sampling, later, (0,), tmp_path)
    # 20 of 500 ms waited while samples were taken; 40 of 1,000 ms stolen, less a tick.
    assert signs.lost_pct == pytest.approx(4.0 + 3.0)
    assert signs.others_pct == pytest.approx(70.0)  # 1,510 ms busy less its own 800 and a tick
    assert (signs.preemptions, signs.throttlings, signs.quota_stops) == (3, 1, 2)


def test_a_machine_that_tells_nothing_gives_no_signs(tmp_path: Path) -> None:
    before = read_counters((0,), tmp_path)
    signs = signs_between(before, before, read_counters((0,), tmp_path), (0,), tmp_path)
    assert replace(signs, preemptions=None) == NO_SIGNS


def test_files_full_of_garbage_give_no_signs(tmp_path: Path) -> None:
    write_tree(tmp_path, dict.fromkeys(BOARD, "\0garbage: 1e9 \xff -\n" * 3))
    before = read_counters((0,), tmp_path)
    signs = signs_between(before, before, read_counters((0,), tmp_path), (0,), tmp_path)
    assert replace(signs, preemptions=None) == NO_SIGNS


def test_this_machine_sees_a_process_work() -> None:
    usable = tuple(sorted(os.sched_getaffinity(0)))
    before = read_counters(usable)
    while read_counters(usable).own_ns - before.own_ns < 50 * MS:
        pass
    after = read_counters(usable)
    assert after.wall_ns > before.wall_ns
    assert before.busy_ns is not None
    assert after.busy_ns is not None
    assert after.busy_ns > before.busy_ns
