"""The benchmark of a fleet, with five boards behind real SSH servers."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from benchmarks.fleet import measure_fleet, watched
from tests.sshd import sshd_or_skip


def test_five_boards_at_once_take_less_than_one_after_the_other(tmp_path: Path) -> None:
    sshd_or_skip(tmp_path / "sshd")
    paces_s = [6.0, 5.0, 6.0, 5.5, 5.0]
    told = measure_fleet(paces_s)
    assert (told["devices"], told["complete"]) == (5, 5)
    assert max(paces_s) <= told["seconds"] < sum(paces_s)
    assert told["slowest_seconds"] == 6.0
    assert told["seconds_over_slowest"] == pytest.approx(told["seconds"] / 6, abs=0.01)
    assert told["seconds_beyond_slowest"] == pytest.approx(told["seconds"] - 6, abs=0.01)
    # Of each board: its own thread, its connection's, and those of programs there, one of which may be ending.
    assert told["threads_before"] + 5 <= told["peak_threads"] <= told["threads_before"] + 5 * 6
    assert told["peak_resident_bytes"] >= told["resident_bytes_before"] > 0


def test_what_the_process_takes_is_seen_while_it_takes_it() -> None:
    with watched() as cost:
        ballast = bytearray(b"x" * 200_000_000)
        time.sleep(1)
    assert cost.peak_resident_bytes > cost.resident_bytes_before + len(ballast) // 2
    assert cost.peak_threads >= 1
