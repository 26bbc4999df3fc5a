"""`searcher profile` with several boards behind real SSH servers: played ones, whose answers are known, and real."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from benchmarks.fleet import boards
from searcher.artifacts import sha256_of
from searcher.devices.device import Device
from searcher.spaces.nasbench201 import NasBench201
from searcher.tables.journal import journal_path, partial_path
from searcher.tables.lookup_table import TABLE_DOCUMENT
from tests.loopback_sshd import wait_until
from tests.sshd import sshd_or_skip

MEASURING = ("--rounds", "4", "--samples", "2", "--no-costs")
BLOCKS = {block.key for block in NasBench201().all_blocks()}


@dataclass(frozen=True)
class Host:
    """A computer with a history of its own, and a shelf."""

    folder: Path
    devices: list[Device]

    @property
    def fleet(self) -> Path:
        """The file that lists the shelf."""
        path = self.folder / "shelf.toml"
        path.write_text("\n".join(_entry(index, device) for index, device in enumerate(self.devices)))
        return path

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        environment = {**os.environ, "PROFILER_HISTORY": str(self.folder / "history.sqlite")}
        command = [sys.executable, "-m", "searcher.cli", "profile", *arguments, *MEASURING, "--json"]
        pipe = subprocess.PIPE
        return subprocess.Popen(
            command, cwd=self.folder, env=environment, stdout=pipe, stderr=pipe, text=True, start_new_session=True
        )

    def profile(self, *arguments: str) -> tuple[int, dict[str, Any], str]:
        process = self.start(*arguments)
        out, err = process.communicate(timeout=400)
        return process.returncode, json.loads(out) if out else {}, err


def _entry(index: int, device: Device) -> str:
    lines = ["[[board]]", f'name = "board-{index}"', f'device = "{device.name}"', f'python = "{device.python}"']
    lines += [f'identity = "{device.identity}"', f'known_hosts = "{device.known_hosts}"']
    return "\n".join(lines)


@contextmanager
def played(folder: Path, *paces_s: float) -> Iterator[Host]:
    sshd_or_skip(folder / "sshd")
    with boards(folder / "boards", paces_s) as devices:
        yield Host(folder, devices)


@pytest.mark.slow
def test_a_fleet_with_a_dead_board_ends_with_the_tables_of_the_others(tmp_path: Path) -> None:
    with played(tmp_path, 0.5, 1.0, 0.5) as host:
        dead = host.devices[1]
        host.devices[1] = Device("ssh://root@127.0.0.1:1", dead.python, dead.identity, dead.known_hosts)
        status, told, errors = host.profile("--fleet", str(host.fleet), "--out", "tables")
    assert (status, told["devices"], told["complete"]) == (1, 3, 2), errors
    assert [one["state"] for one in told["boards"]] == ["complete", "failed", "complete"]
    assert "127.0.0.1" in told["boards"][1]["reason"]
    assert "searcher: 2 of 3 boards are complete; board-1: " in errors
    for name in ("board-0", "board-2"):
        table = TABLE_DOCUMENT.load(tmp_path / "tables" / f"{name}.json")
        assert set(table.entries) == BLOCKS
        assert table.provenance.journal_sha256 == sha256_of(journal_path(tmp_path / "tables" / f"{name}.json"))
        assert f"{name} …" in errors


def test_boards_of_a_kind_share_one_table_over_ssh(tmp_path: Path) -> None:
    with played(tmp_path, 0.5, 0.5) as host:
        status, told, errors = host.profile("--fleet", str(host.fleet), "--shard", "--out", "kind.json")
    assert (status, told["complete"], told["table"]) == (0, 2, "kind.json"), errors
    table = TABLE_DOCUMENT.load(tmp_path / "kind.json")
    assert set(table.entries) == BLOCKS
    assert table.provenance.shares is not None
    assert sorted(len(share.blocks) for share in table.provenance.shares) == [9, 11]
    for share in table.provenance.shares:
        assert share.journal_sha256 == sha256_of(journal_path(tmp_path / share.table))


@pytest.mark.slow
def test_ctrl_c_leaves_the_boards_at_work_and_resume_fetches_their_tables(tmp_path: Path) -> None:
    with played(tmp_path, 15, 15) as host:
        arguments = ("--fleet", str(host.fleet), "--out", "tables")
        process = host.start(*arguments)
        partials = [partial_path(journal_path(tmp_path / "tables" / f"board-{index}.json")) for index in range(2)]
        begun = wait_until(lambda: all(one.exists() for one in partials) or process.poll() is not None, 100)
        assert begun
        assert process.poll() is None, process.communicate()[1]
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 130
        for index, device in enumerate(host.devices):
            assert f"board-{index}: the job " in errors
            assert f" goes on on {device.name}: searcher jobs attach " in errors
        assert "Traceback" not in errors
        kept = [one.read_text() for one in partials]
        status, told, errors = host.profile(*arguments, "--resume")
    assert (status, told["complete"]) == (0, 2), errors
    for index, before in enumerate(kept):
        assert f"board-{index}: going on with the job" in errors
        journal = journal_path(tmp_path / "tables" / f"board-{index}.json").read_text()
        assert journal.startswith(before[: before.rfind("\n") + 1])


@contextmanager
def real(folder: Path) -> Iterator[Host]:
    with ExitStack() as running:
        servers = [running.enter_context(sshd_or_skip(folder / f"sshd-{index}")) for index in range(2)]
        yield Host(folder, [Device(str(one.address), sys.executable, one.identity, one.known_hosts) for one in servers])


@pytest.mark.slow
def test_two_real_agents_measure_at_once(tmp_path: Path) -> None:
    with real(tmp_path) as host:
        arguments = ("--fleet", str(host.fleet), "--out", "tables")
        status, told, errors = host.profile(*arguments)
        assert (status, told["complete"]) == (0, 2), errors
        tables = [TABLE_DOCUMENT.load(tmp_path / "tables" / f"board-{index}.json") for index in range(2)]
        assert [set(table.entries) for table in tables] == [BLOCKS] * 2
        assert tables[0].key == tables[1].key
        assert all(one["sent_bytes"] > 100_000 for one in told["boards"])
        status, told, errors = host.profile(*arguments, "--resume")
        assert (status, [one["sent_bytes"] for one in told["boards"]]) == (0, [0, 0]), errors


@pytest.mark.slow
def test_two_real_agents_share_a_table_only_as_far_as_they_agree(tmp_path: Path) -> None:
    with real(tmp_path) as host:
        _, told, errors = host.profile("--fleet", str(host.fleet), "--shard", "--out", "kind.json")
    states = [one["state"] for one in told["boards"]]
    # Both are this one machine, which may be disturbed: then the other board, or nobody, measures in the end.
    if told["table"] is None:
        assert "complete" not in states, errors
        assert "blocks were not measured" in told["problem"]
        return
    table = TABLE_DOCUMENT.load(tmp_path / "kind.json")
    assert set(table.entries) == BLOCKS
    assert table.provenance.shares is not None
    assert sorted(key for share in table.provenance.shares for key in share.blocks) == sorted(BLOCKS)
    for share in table.provenance.shares:
        assert share.journal_sha256 == sha256_of(journal_path(tmp_path / share.table))
        assert abs(share.sentinel_off_pct) <= 3
