"""Whether the way to a device changes what is measured: SSH against local, beside local against local.

`python -m benchmarks.transport` profiles the NAS-Bench-201 blocks on this machine three times in one run: locally,
through a real OpenSSH server on the loopback address, and locally again. The last line is one JSON object: for each
block the ratio of medians SSH ÷ first local run, beside second ÷ first local run, which is the noise.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import statistics
import sys
import tempfile
from collections import deque
from pathlib import Path

from benchmarks.machine import describe_machine
from profiler_agent.records import Settings
from searcher.devices.device import Device
from searcher.spaces.nasbench201 import NasBench201
from searcher.tables.lookup_table import TABLE_DOCUMENT, LookupTable
from searcher.workflows.profile_space import ProfileRequest, profile_space
from tests.loopback_sshd import LoopbackSshd, NoSshdError


def main() -> None:
    """Run the benchmark and print its result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=Settings().rounds, help="the most fresh processes for a block")
    options = parser.parse_args()
    settings = Settings(rounds=options.rounds)
    try:
        first, remote, second = three_tables(settings)
    except NoSshdError as e:
        sys.exit(f"benchmarks.transport needs a real SSH server: {e}")
    ratios = {
        block: {
            "ssh_over_local": round(remote.entry(block).median_ms / entry.median_ms, 4),
            "local_over_local": round(second.entry(block).median_ms / entry.median_ms, 4),
        }
        for block, entry in first.entries.items()
    }
    result = {
        "benchmark": "transport",
        "machine": describe_machine(),
        "settings": dataclasses.asdict(settings),
        "table_key": dataclasses.asdict(first.key),
        "space": first.space,
        "versions": dict(first.provenance.versions),
        "sentinel_ms": [table.sentinel_ms for table in (first, remote, second)],
        "same_key": first.key == remote.key == second.key,
        "same_blocks": set(first.entries) == set(remote.entries) == set(second.entries),
        "median_deviation_pct_ssh": deviation_pct(ratios, "ssh_over_local"),
        "median_deviation_pct_local": deviation_pct(ratios, "local_over_local"),
        "ratios": ratios,
    }
    print(json.dumps(result))


def three_tables(settings: Settings) -> tuple[LookupTable, LookupTable, LookupTable]:
    """Profile locally, over SSH, and locally again.

    Raises:
        NoSshdError: this machine has no SSH server.
    """
    with tempfile.TemporaryDirectory() as folder, LoopbackSshd(Path(folder, "sshd")) as server:
        # What is tried out here is none of the user's jobs.
        os.environ["PROFILER_HISTORY"] = str(Path(folder, "history.sqlite"))
        over_ssh = Device(str(server.address), sys.executable, server.identity, server.known_hosts)
        first = profile(Device(), settings, Path(folder, "first.json"))
        # Compared is the way, not the hour: both later runs wait for the machine to be as fast as in the first.
        as_fast = dataclasses.replace(
            settings, sentinel_ns=None if first.sentinel_ms is None else first.sentinel_ms * 1e6
        )
        remote = profile(over_ssh, as_fast, Path(folder, "remote.json"))
        return first, remote, profile(Device(), as_fast, Path(folder, "second.json"))


def profile(device: Device, settings: Settings, path: Path) -> LookupTable:
    """Profile the space and return the table that was written."""
    deque(profile_space(ProfileRequest(NasBench201(), device, settings, path)), maxlen=0)
    return TABLE_DOCUMENT.load(path)


def deviation_pct(ratios: dict[str, dict[str, float]], name: str) -> float:
    """Return the median over blocks of how far the ratio is from 1, in percent."""
    return round(100 * statistics.median(abs(ratio[name] - 1) for ratio in ratios.values()), 2)


if __name__ == "__main__":
    main()
