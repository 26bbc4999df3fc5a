"""Hosts that are killed or interrupted while a board behind a real SSH server measures, and what they find later."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from profiler_agent.job_folder import JobFolder
from profiler_agent.journal import read_journal
from profiler_agent.lease import holder
from profiler_agent.records import Hello, format_event
from searcher.tables.journal import journal_path, partial_path
from searcher.tables.lookup_table import TABLE_DOCUMENT
from tests.agent.journal_checker import complaints
from tests.loopback_sshd import LoopbackSshd, wait_until
from tests.quiet_board import require_quiet
from tests.sshd import sshd_or_skip

# Fewer than eight rounds: none is done early.
MEASURING = ("--rounds", "4", "--samples", "2", "--no-costs")
BLOCKS = 20


@dataclass(frozen=True)
class Host:
    """A computer with a history of its own, and a board that it reaches by SSH or that is itself."""

    folder: Path
    board: Path
    way: tuple[str, ...]

    @property
    def table(self) -> Path:
        return self.folder / "pi.json"

    @property
    def environment(self) -> dict[str, str]:
        return {**os.environ, "PROFILER_HISTORY": str(self.folder / "history.sqlite")}

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "searcher.cli", *arguments]
        pipe = subprocess.PIPE
        return subprocess.Popen(
            command, cwd=self.folder, env=self.environment, stdout=pipe, stderr=pipe, text=True, start_new_session=True
        )

    def searcher(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        process = self.start(*arguments)
        out, err = process.communicate(timeout=300)
        return subprocess.CompletedProcess(arguments, process.returncode, out, err)

    def profile(self, *more: str) -> subprocess.CompletedProcess[str]:
        return self.searcher("profile", *self.way, *MEASURING, "--out", "pi.json", *more)

    def begin(self, events: int) -> subprocess.Popen[str]:
        """Start to profile, and wait until the host was told some events."""
        process = self.start("profile", *self.way, *MEASURING, "--out", "pi.json")
        assert wait_until(lambda: self.kept() >= events or process.poll() is not None, 120)
        assert process.poll() is None, process.communicate()[1]
        return process

    def kept(self) -> int:
        partial = partial_path(journal_path(self.table))
        return len(partial.read_text().splitlines()) if partial.exists() else 0

    def jobs(self, *more: str) -> list[dict[str, Any]]:
        listed = self.searcher("jobs", "list", "--json", *more)
        assert listed.returncode == 0, listed.stderr
        found: list[dict[str, Any]] = json.loads(listed.stdout)["jobs"]
        return found

    def check_complete(self, hellos: int) -> None:
        """Nothing is lost and nothing is there twice: board, journal and table tell the same."""
        (job,) = self.jobs()
        asked, measured = read_journal(JobFolder(self.board / "jobs" / job["job_id"]).journal)
        assert complaints(asked, measured) == []
        assert sum(isinstance(event, Hello) for event in measured) == hellos
        assert journal_path(self.table).read_text() == "".join(f"{format_event(event)}\n" for event in measured)
        assert len(TABLE_DOCUMENT.load(self.table).entries) == BLOCKS
        assert (job["state"], job["events"], job["table"]) == ("finished", len(measured), str(self.table))
        self.check_quiet()

    def check_quiet(self) -> None:
        require_quiet(self.board, patience_s=10)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LoopbackSshd]:
    with sshd_or_skip(tmp_path_factory.mktemp("sshd")) as started:
        yield started


@pytest.fixture
def host(server: LoopbackSshd, tmp_path: Path) -> Host:
    way = ("--device", str(server.address), "--python", sys.executable, "--identity", str(server.identity))
    return Host(tmp_path, server.home / ".cache" / "profiler-agent", (*way, "--known-hosts", str(server.known_hosts)))


@pytest.fixture
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    """A host that is its own board, below a working root of its own."""
    usual = Path(os.environ.get("PROFILER_CACHE", Path.home() / ".cache" / "profiler-agent"))
    cache = tmp_path / "cache"
    cache.mkdir()
    # What was exported once need not be exported again.
    (usual / "exports").mkdir(parents=True, exist_ok=True)
    (cache / "exports").symlink_to(usual / "exports")
    monkeypatch.setenv("PROFILER_CACHE", str(cache))
    return Host(tmp_path, cache / "device", ())


def test_a_host_that_was_killed_goes_on_where_the_board_is(host: Host) -> None:
    killed = host.begin(20)
    os.killpg(killed.pid, signal.SIGKILL)
    killed.wait()
    kept = partial_path(journal_path(host.table)).read_text()
    (job,) = host.jobs("--refresh")
    assert (job["state"], job["on_device"]) == ("running", "running")
    resumed = host.profile("--resume")
    assert resumed.returncode == 0, resumed.stderr
    assert f"going on with the job {job['job_id'][:8]}" in resumed.stderr
    whole_lines = kept[: kept.rfind("\n") + 1]
    assert journal_path(host.table).read_text().startswith(whole_lines)
    # The board never noticed.
    host.check_complete(hellos=1)


@pytest.mark.slow
def test_ctrl_c_leaves_the_board_at_work_and_attach_fetches_the_table(host: Host, tmp_path: Path) -> None:
    process = host.begin(20)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    (job,) = host.jobs()
    name = job["job_id"][:8]
    told = " ".join(errors.split())
    assert f"the job {name} goes on on {job['device']}: searcher jobs attach {name} follows it" in told
    assert "Traceback" not in errors
    attached = host.searcher("jobs", "attach", name)
    assert attached.returncode == 0, attached.stderr
    host.check_complete(hellos=1)
    before = host.table.read_bytes()
    rebuilt = host.searcher("jobs", "rebuild", name, "--out", "again.json")
    assert rebuilt.returncode == 0, rebuilt.stderr
    assert (tmp_path / "again.json").read_bytes() == before


def test_cancelling_leaves_neither_a_process_nor_a_lease(host: Host) -> None:
    process = host.begin(20)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    (job,) = host.jobs()
    assert holder(host.board / "lease") is not None
    # By its other name, which the agent tells people.
    cancelled = host.searcher("job", "cancel", job["job_id"][:6])
    assert cancelled.returncode == 0, cancelled.stderr
    host.check_quiet()
    assert host.jobs()[0]["state"] == "cancelled"
    refused = host.searcher("jobs", "attach", job["job_id"])
    assert (refused.returncode, len(refused.stderr.splitlines())) == (2, 1)


@pytest.mark.slow
def test_a_local_job_is_stopped_by_an_interrupt_and_resumed(alone: Host) -> None:
    process = alone.begin(20)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    alone.check_quiet()
    (job,) = alone.jobs()
    assert job["state"] == "stopped"
    assert f"the job {job['job_id'][:8]} can go on" in " ".join(errors.split())
    resumed = alone.profile("--resume")
    assert resumed.returncode == 0, resumed.stderr
    # Its agent began again, where it had been.
    alone.check_complete(hellos=2)
