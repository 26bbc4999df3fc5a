"""Readers of the machine, on recorded trees."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from profiler_agent.environment import fingerprint, read_boot_id, read_environment, read_machine, read_state

PI_CPUINFO = """processor\t: 0
BogoMIPS\t: 108.00
Features\t: fp asimd evtstrm crc32 cpuid
CPU implementer\t: 0x41
CPU architecture: 8
CPU variant\t: 0x0
CPU part\t: 0xd08
CPU revision\t: 3

Model\t\t: Raspberry Pi 4 Model B Rev 1.4
"""


def write(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def raspberry_pi(root: Path) -> Path:
    policy = "sys/devices/system/cpu/cpufreq/policy0"
    return write(
        root,
        {
            "proc/cpuinfo": PI_CPUINFO,
            "proc/device-tree/model": "Raspberry Pi 4 Model B Rev 1.4\0",
            "proc/loadavg": "0.42 0.30 0.20 1/200 4242\n",
            "proc/meminfo": "MemTotal:  4096000 kB\nMemFree: 1 kB\nMemAvailable:  2048000 kB\n",
            "proc/sys/kernel/random/boot_id": "1111-2222\n",
            f"{policy}/related_cpus": "0 1 2 3\n",
            f"{policy}/cpuinfo_max_freq": "1800000\n",
            f"{policy}/scaling_cur_freq": "600000\n",
            f"{policy}/scaling_governor": "ondemand\n",
            "sys/class/thermal/thermal_zone0/temp": "48312\n",
            "sys/class/thermal/thermal_zone1/temp": "-274000\n",
        },
    )


def test_a_raspberry_pi_is_read(tmp_path: Path) -> None:
    environment = read_environment(raspberry_pi(tmp_path))
    machine, state = environment.machine, environment.state
    assert machine.board == "Raspberry Pi 4 Model B Rev 1.4"
    assert machine.cpu_model == "Raspberry Pi 4 Model B Rev 1.4 (3)"
    assert machine.clusters == ("0 1 2 3",)
    assert state.max_frequencies_mhz == (1800.0,)
    assert state.governors == ("ondemand",)
    assert state.frequencies_mhz == (600.0,)
    assert state.temperature_c == 48.312
    assert state.load_1m == 0.42
    assert state.memory_available_bytes == 2048000 * 1024
    assert environment.memory_bytes == 4096000 * 1024
    assert environment.virtual_machine is False
    assert read_boot_id(tmp_path) == "1111-2222"


def test_big_and_little_clusters_keep_the_kernels_order(tmp_path: Path) -> None:
    base = "sys/devices/system/cpu/cpufreq"
    files = {}
    for index, processors, khz in ((10, "10", 2850000), (0, "0 1 2 3", 1800000), (4, "4 5", 2250000)):
        files[f"{base}/policy{index}/related_cpus"] = processors
        files[f"{base}/policy{index}/cpuinfo_max_freq"] = str(khz)
    machine = read_machine(write(tmp_path, files))
    assert machine.clusters == ("0 1 2 3", "4 5", "10")


def test_a_machine_that_tells_nothing_is_unknown_not_wrong(tmp_path: Path) -> None:
    environment = read_environment(tmp_path)
    assert environment.state == replace(
        environment.state, load_1m=None, governors=(), frequencies_mhz=(), max_frequencies_mhz=(), temperature_c=None
    )
    assert environment.memory_bytes is None
    assert environment.virtual_machine is None
    assert read_boot_id(tmp_path) is None


def test_the_fingerprint_names_what_a_machine_is_not_its_state(tmp_path: Path) -> None:
    root = raspberry_pi(tmp_path)
    before = fingerprint(read_machine(root))
    state = read_state(root)
    write(root, {"sys/class/thermal/thermal_zone0/temp": "80000", "proc/loadavg": "3 2 1 1/2 3"})
    assert read_state(root) != state
    assert fingerprint(read_machine(root)) == before
    # Switching turbo off changes the greatest frequency, not the machine.
    write(root, {"sys/devices/system/cpu/cpufreq/policy0/cpuinfo_max_freq": "1500000"})
    assert fingerprint(read_machine(root)) == before
    write(root, {"proc/device-tree/model": "Raspberry Pi 5 Model B Rev 1.0"})
    assert fingerprint(read_machine(root)) != before
