"""The diagnosis of recorded machines, and of machines whose files are denied or hold garbage."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from profiler_agent.doctor import DISTURBS, OK, UNKNOWN, Finding, diagnose
from profiler_agent.report import diagnosis
from tests.agent.trees import (
    ANDROID,
    CONTAINER,
    CONTAINER_2,
    DENIED,
    JETSON,
    LAPTOP,
    RASPBERRY_PI,
    TREES,
    VIRTUAL_MACHINE,
    Tree,
    let_time_pass,
    write_tree,
)


def examine(
    root: Path, affinity: tuple[int, ...] | None = None, busy: int = 0, stolen: int = 0, bits: int | None = None
) -> dict[str, Finding]:
    def pause() -> None:
        if (root / "proc/stat").is_file():
            let_time_pass(root, busy, stolen)

    return {one.check: one for one in diagnose(affinity, root, pause, lambda: bits)}


def verdicts(findings: dict[str, Finding], verdict: str) -> set[str]:
    return {name for name, finding in findings.items() if finding.verdict == verdict}


def test_a_raspberry_pi_with_a_weak_supply(tmp_path: Path) -> None:
    findings = examine(write_tree(tmp_path, RASPBERRY_PI))
    assert verdicts(findings, DISTURBS) == {"undervoltage", "throttling", "heat", "governor"}
    assert verdicts(findings, UNKNOWN) == set()
    assert "voltage is too low" in findings["undervoltage"].sentence
    assert "it is throttled" in findings["throttling"].sentence
    assert "cpu-thermal is at 74.5 °C (no limit told, 80 °C assumed)" in findings["heat"].sentence
    assert findings["governor"].remedy == (
        "echo performance | sudo tee /sys/devices/system/cpu/cpufreq/policy*/scaling_governor"
    )


@pytest.mark.parametrize(
    ("bits", "undervoltage", "throttling"),
    [
        (0x0, "holds", "has not slowed"),
        (0x1, "voltage is too low", "has not slowed"),
        (0x50000, "was, since boot,", "slowed the machine since boot (it is throttled)"),
        (0xA, "holds", "the frequency is capped, the soft heat limit is active"),
    ],
)
def test_the_firmwares_bits(tmp_path: Path, bits: int, undervoltage: str, throttling: str) -> None:
    tree = {**RASPBERRY_PI, "sys/class/hwmon/hwmon1/in0_lcrit_alarm": "0\n"}
    findings = examine(write_tree(tmp_path, tree), bits=bits)
    assert undervoltage in findings["undervoltage"].sentence
    assert throttling in findings["throttling"].sentence


def test_a_raspberry_pi_whose_firmware_is_silent(tmp_path: Path) -> None:
    tree = {**RASPBERRY_PI}
    del tree["sys/devices/platform/soc/soc:firmware/get_throttled"], tree["sys/class/hwmon/hwmon1/name"]
    assert verdicts(examine(write_tree(tmp_path, tree)), UNKNOWN) == {"undervoltage", "throttling"}


def test_a_jetson_has_clusters_of_different_speed(tmp_path: Path) -> None:
    root = write_tree(tmp_path, JETSON)
    findings = examine(root)
    assert verdicts(findings, DISTURBS) == {"heat", "governor", "clusters"}
    assert "0 3 4 5 at 2035 MHz" in findings["clusters"].sentence
    assert findings["clusters"].remedy == "agent measure --affinity 0,3,4,5 …"
    assert examine(root, affinity=(1, 2))["clusters"].verdict == OK
    assert examine(root, affinity=(0, 1))["clusters"].verdict == DISTURBS
    assert examine(root, affinity=(9,))["clusters"].verdict == UNKNOWN


def test_a_phone_that_denies_access_is_unknown(tmp_path: Path) -> None:
    findings = examine(write_tree(tmp_path, ANDROID))
    hidden = {"access", "load", "cgroup_cpu", "cgroup_memory", "undervoltage", "throttling", "heat", "battery"}
    assert verdicts(findings, UNKNOWN) == {*hidden, "governor", "siblings", "clock_source"}
    assert verdicts(findings, DISTURBS) == {"swap", "clusters", "priority"}
    assert "Android denies /proc/stat" in findings["access"].sentence
    assert findings["access"].remedy == "adb shell dumpsys thermalservice"
    assert "2929 of 3906 MiB swap are used, with 488 MiB of memory available" in findings["swap"].sentence


def test_a_laptop_on_battery(tmp_path: Path) -> None:
    findings = examine(write_tree(tmp_path, LAPTOP))
    assert verdicts(findings, DISTURBS) == {
        "throttling", "battery", "governor", "turbo", "siblings", "clock_source",
    }  # fmt: skip
    assert verdicts(findings, UNKNOWN) == set()
    assert "7 times since boot" in findings["throttling"].sentence
    assert "at 61%" in findings["battery"].sentence
    assert findings["turbo"].remedy == "echo 1 | sudo tee /sys/devices/system/cpu/intel_pstate/no_turbo"
    assert findings["siblings"].remedy == "echo off | sudo tee /sys/devices/system/cpu/smt/control"
    assert findings["clock_source"].remedy.startswith("echo tsc | sudo tee /sys/devices/system/clocksource/")


def test_a_laptop_that_throttles_during_the_sample(tmp_path: Path) -> None:
    root = write_tree(tmp_path, LAPTOP)
    count = root / "sys/devices/system/cpu/cpu0/thermal_throttle/core_throttle_count"

    def pause() -> None:
        count.write_text("9")

    findings = {one.check: one for one in diagnose(None, root, pause)}
    assert "right now" in findings["throttling"].sentence


@pytest.mark.parametrize(
    ("status", "capacity", "verdict"),
    [("Full", "100", OK), ("Charging", "50", OK), ("Charging", "10", DISTURBS), ("?", "50", UNKNOWN)],
)
def test_batteries(tmp_path: Path, status: str, capacity: str, verdict: str) -> None:
    folder = "sys/class/power_supply/BAT0"
    tree = {**LAPTOP, f"{folder}/status": status, f"{folder}/capacity": capacity}
    assert examine(write_tree(tmp_path, tree))["battery"].verdict == verdict


def test_a_machine_that_is_well_set_has_nothing_to_mend(tmp_path: Path) -> None:
    cpu = "sys/devices/system/cpu"
    mended: Tree = {
        **LAPTOP,
        f"{cpu}/intel_pstate/no_turbo": "1",
        f"{cpu}/cpufreq/policy0/scaling_governor": "performance",
        f"{cpu}/cpufreq/policy1/scaling_governor": "performance",
        f"{cpu}/cpu0/thermal_throttle/core_throttle_count": "0",
        f"{cpu}/cpu1/thermal_throttle/core_throttle_count": "0",
        f"{cpu}/cpu0/topology/thread_siblings_list": "0",
        f"{cpu}/cpu1/topology/thread_siblings_list": "1",
        "sys/class/power_supply/BAT0/status": "Not charging",
        "sys/devices/system/clocksource/clocksource0/current_clocksource": "tsc",
    }
    findings = examine(write_tree(tmp_path, mended))
    assert verdicts(findings, OK) == set(findings)


def test_a_container_of_version_1(tmp_path: Path) -> None:
    findings = examine(write_tree(tmp_path, CONTAINER))
    assert verdicts(findings, DISTURBS) == {"cgroup_cpu", "cgroup_memory"}
    assert "a quota of 0.5 processors" in findings["cgroup_cpu"].sentence
    assert "stood still 7 times" in findings["cgroup_cpu"].sentence


def test_a_container_of_version_2_is_under_the_limits_of_the_groups_above(tmp_path: Path) -> None:
    findings = examine(write_tree(tmp_path, CONTAINER_2))
    assert "a quota of 1.5 processors" in findings["cgroup_cpu"].sentence
    assert findings["cgroup_memory"].verdict == OK
    assert "limits memory to 1.00 GiB; 0.09 GiB are used" in findings["cgroup_memory"].sentence


def test_a_virtual_machine_is_robbed_or_at_best_unknown(tmp_path: Path) -> None:
    root = write_tree(tmp_path, VIRTUAL_MACHINE)
    assert examine(root)["virtual_machine"].verdict == UNKNOWN
    write_tree(tmp_path, VIRTUAL_MACHINE)
    robbed = examine(root, stolen=6)["virtual_machine"]
    assert (robbed.verdict, "gives 10.0% of this" in robbed.sentence) == (DISTURBS, True)


def test_others_at_work_are_named(tmp_path: Path) -> None:
    finding = examine(write_tree(tmp_path, JETSON), affinity=(0,), busy=27)["load"]
    assert finding.verdict == DISTURBS
    assert "1 of 2 processors busy with others' work, 0 of them to be measured on" in finding.sentence
    assert "a (busy) one (process 4711, 90%) (load over the last minute 0.02)" in finding.sentence


@pytest.mark.parametrize(
    ("name", "text", "check", "verdict"),
    [
        ("proc/pressure/memory", "some avg10=2.50 avg60=0.00 avg300=0.00 total=5\n", "swap", DISTURBS),
        ("proc/self/stat", "7 (a) R" + " 0" * 20, "priority", UNKNOWN),
        ("proc/self/stat", "7 (a) R" + " 0" * 37 + " 5 0\n", "priority", DISTURBS),
        ("proc/self/stat", "7 (a) R" + " 0" * 15 + " 19" + " 0" * 21 + " 0 0\n", "priority", DISTURBS),
        ("sys/devices/system/cpu/cpufreq/boost", "1\n", "turbo", DISTURBS),
        ("sys/devices/system/cpu/cpufreq/policy0/boost", "0\n", "turbo", OK),
        ("sys/devices/system/cpu/cpufreq/boost", "on\n", "turbo", UNKNOWN),
    ],
)
def test_single_files(tmp_path: Path, name: str, text: str, check: str, verdict: str) -> None:
    assert examine(write_tree(tmp_path, {**JETSON, name: text}))[check].verdict == verdict


def test_the_diagnosis_is_one_line_a_finding_and_one_a_remedy() -> None:
    text = diagnosis([Finding("turbo", DISTURBS, "it is on", "echo 1"), Finding("load", OK, "nobody")])
    assert text.splitlines() == [
        "disturbs  turbo            it is on",
        "                           → echo 1",
        "ok        load             nobody",
    ]


@pytest.mark.parametrize("name", TREES)
def test_a_machine_that_denies_everything_is_unknown_throughout(tmp_path: Path, name: str) -> None:
    findings = examine(write_tree(tmp_path, dict.fromkeys(TREES[name], DENIED)))
    assert verdicts(findings, DISTURBS) == set()
    told = {"turbo", "battery", "undervoltage", "throttling"}  # where there is no such thing
    assert verdicts(findings, OK) <= told


GARBAGE = st.one_of(
    st.binary(max_size=60),
    st.text(max_size=60).map(lambda text: text.encode("utf-8", "surrogatepass")),
    st.sampled_from(
        [
            b"",
            b"\n",
            b"-1",
            b"0",
            b"1" * 5000,
            b"9" * 18,
            b"\xff\xfe",
            b"0-99999",
            b"nan",
            b"\xd9\xa3",
            b"max 0",
            b"0 0",
        ]
    ),
)


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_garbage_in_any_file_is_never_a_crash(data: st.DataObject) -> None:
    tree = TREES[data.draw(st.sampled_from(sorted(TREES)))]
    names = sorted(name for name, text in tree.items() if text is not DENIED)
    spoilt = data.draw(st.dictionaries(st.sampled_from(names), GARBAGE, max_size=8))
    meanwhile = data.draw(st.dictionaries(st.sampled_from(names), GARBAGE, max_size=3))
    affinity = data.draw(st.sampled_from([None, (0,), (1, 65535)]))
    with tempfile.TemporaryDirectory() as folder:
        root = write_tree(Path(folder), tree)
        for name, content in spoilt.items():
            (root / name).write_bytes(content)

        def pause() -> None:
            for name, content in meanwhile.items():
                (root / name).write_bytes(content)

        findings = diagnose(affinity, root, pause, lambda: None)
    assert {one.verdict for one in findings} <= {OK, DISTURBS, UNKNOWN}
    assert all(one.sentence and "\n" not in one.sentence for one in findings)


@pytest.mark.parametrize("garbage", [b"garbage", b"\xff\x00", b""])
@pytest.mark.parametrize("name", TREES)
def test_garbage_in_every_file_disturbs_nothing(tmp_path: Path, name: str, garbage: bytes) -> None:
    root = write_tree(tmp_path, TREES[name])
    for path in root.rglob("*"):
        if path.is_file():
            path.write_bytes(garbage)
    findings = {one.check: one for one in diagnose(None, root, lambda: None, lambda: None)}
    assert verdicts(findings, DISTURBS) == set()
    # Files are there, only their contents are strange; and some machines have neither switch, battery nor sensor.
    assert verdicts(findings, OK) <= {"access", "turbo", "battery", "undervoltage"}
