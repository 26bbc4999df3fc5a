"""Many boards profiled at once: how long it takes beyond the slowest of them, and what that costs the host.

`python -m benchmarks.fleet` starts a real OpenSSH server on the loopback address for each board, with a working root of
its own; behind it `benchmarks/fake_board.py` plays the agent's part, at a pace that is drawn for each board. All boards
are profiled as by `searcher profile --fleet`, first a few and then all, to show how the cost grows. This machine plays
the boards too: starting their interpreters is most of what goes beyond the slowest board's own seconds.

The last line is one JSON object: `devices`, `complete` (boards with a whole table), `seconds` (of the whole),
`slowest_seconds` (the slowest board's own), `seconds_over_slowest` (their ratio), `seconds_beyond_slowest` (their
difference), `host_processor_seconds` (what the host itself used), and of the host's process `peak_threads` and
`peak_resident_bytes` beside `threads_before` and `resident_bytes_before`; `fewer` holds the same for the few.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import os
import random
import re
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.machine import describe_machine
from profiler_agent.records import Settings
from searcher.devices.device import Device
from searcher.reports.shelf import COMPLETE, ShelfReport
from searcher.spaces.nasbench201 import NasBench201
from searcher.tables.lookup_table import TABLE_DOCUMENT
from searcher.workflows.profile_shelf import profile_shelf
from searcher.workflows.profile_space import ProfileRequest, plan_job
from tests.loopback_sshd import LoopbackSshd, NoSshdError

_SETTINGS = Settings(rounds=6, samples=2, costs=False)
_WORKING_ROOT = Path(".cache", "profiler-agent")
_LOOK_S = 0.05


@dataclass
class HostCost:
    """What the host's process took at most while it was watched."""

    threads_before: int = 0
    resident_bytes_before: int = 0
    peak_resident_bytes: int = 0
    peak_threads: int = 0


def main() -> None:
    """Run the benchmark and print its result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--devices", type=int, default=50, help="boards at once")
    parser.add_argument("--fewer", type=int, default=10, help="boards at once the first time; 0 for no first time")
    parser.add_argument("--fastest", type=float, default=30.0, help="the least seconds of a board")
    parser.add_argument("--slowest", type=float, default=90.0, help="the most seconds of a board")
    parser.add_argument("--seed", type=int, default=0, help="of the boards' seconds")
    options = parser.parse_args()
    generator = random.Random(options.seed)
    paces = [generator.uniform(options.fastest, options.slowest) for _ in range(options.devices)]
    try:
        with tempfile.TemporaryDirectory() as folder:
            # What is tried out here is none of the user's jobs.
            os.environ["PROFILER_HISTORY"] = str(Path(folder, "history.sqlite"))
            fewer = measure_fleet(paces[: options.fewer]) if options.fewer else None
            all_of_them = measure_fleet(paces)
    except NoSshdError as e:
        sys.exit(f"benchmarks.fleet needs real SSH servers: {e}")
    result = {
        "benchmark": "fleet",
        "machine": describe_machine(),
        "settings": dataclasses.asdict(_SETTINGS),
        "seed": options.seed,
        "board_seconds": [options.fastest, options.slowest],
        "ssh_servers": "one for each board",
        **all_of_them,
        "fewer": fewer,
    }
    print(json.dumps(result))


def measure_fleet(paces_s: Sequence[float]) -> dict[str, Any]:
    """Profile boards at once and return what the benchmark tells of it.

    Args:
        paces_s: how long each board takes for its job, in s.

    Raises:
        NoSshdError: this machine has no SSH server.
    """
    space = NasBench201()
    # Not part of what is measured: files that are exported once for all boards.
    for _ in plan_job(space, "", _SETTINGS, None, "digits"):
        pass
    with tempfile.TemporaryDirectory() as scratch, boards(Path(scratch), paces_s) as devices:
        requests = {
            f"board-{index}": ProfileRequest(space, device, _SETTINGS, Path(scratch, f"board-{index}.json"))
            for index, device in enumerate(devices)
        }
        began_s, used_s = time.monotonic(), time.process_time()
        with watched() as cost:
            report = finished(requests)
        seconds, used_s = time.monotonic() - began_s, time.process_time() - used_s
        complete = sum(is_complete(request.table, space) for request in requests.values())
    if complete != report.complete:
        sys.exit(f"{report.complete} boards are told to be complete, but {complete} have a whole table")
    for board in report.boards:
        if board.state != COMPLETE:
            print(f"{board.name}: {board.reason}", file=sys.stderr)
    return {
        "devices": len(paces_s),
        "complete": complete,
        "seconds": round(seconds, 2),
        "slowest_seconds": round(max(paces_s), 2),
        "seconds_over_slowest": round(seconds / max(paces_s), 3),
        "seconds_beyond_slowest": round(seconds - max(paces_s), 2),
        "host_processor_seconds": round(used_s, 2),
        **dataclasses.asdict(cost),
    }


def finished(requests: dict[str, ProfileRequest]) -> ShelfReport:
    """Profile a shelf to its end."""
    work = profile_shelf(requests)
    while True:
        try:
            next(work)
        except StopIteration as end:
            report: ShelfReport = end.value
            return report


def is_complete(path: Path, space: NasBench201) -> bool:
    """Say whether a table is there and holds every block."""
    if not path.is_file():
        return False
    return set(TABLE_DOCUMENT.load(path).entries) == {block.key for block in space.all_blocks()}


@contextlib.contextmanager
def boards(folder: Path, paces_s: Sequence[float]) -> Iterator[list[Device]]:
    """Run a real SSH server for each board, with a played board behind it."""
    folder.mkdir(parents=True, exist_ok=True)
    player = folder / "python"
    # The played board needs nothing but the standard library: without site packages it starts sooner.
    program = Path(__file__).with_name("fake_board.py")
    player.write_text(f'#!/bin/sh\nexec "{sys.executable}" -S "{program}" "$@"\n')
    player.chmod(0o755)
    with contextlib.ExitStack() as running:
        devices = []
        for index, pace_s in enumerate(paces_s):
            server = running.enter_context(LoopbackSshd(folder / f"sshd-{index}"))
            root = server.home / _WORKING_ROOT
            root.mkdir(parents=True)
            (root / "seconds").write_text(str(pace_s))
            devices.append(Device(str(server.address), str(player), server.identity, server.known_hosts))
        yield devices


@contextlib.contextmanager
def watched() -> Iterator[HostCost]:
    """Look at this process again and again while the body runs."""
    cost = HostCost(_status("Threads"), _status("VmRSS") * 1024)
    over = threading.Event()

    def look() -> None:
        while not over.wait(_LOOK_S):
            cost.peak_resident_bytes = max(cost.peak_resident_bytes, _status("VmRSS") * 1024)
            # Without the thread that looks.
            cost.peak_threads = max(cost.peak_threads, _status("Threads") - 1)

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        yield cost
    finally:
        over.set()
        thread.join()


def _status(name: str) -> int:
    found = re.search(rf"^{name}:\s+(\d+)", Path("/proc/self/status").read_text(), re.MULTILINE)
    if found is None:
        raise RuntimeError(f"this system does not tell {name} of a process")
    return int(found[1])


if __name__ == "__main__":
    main()
