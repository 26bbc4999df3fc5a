"""What networks, boards and hosts do to a job, against a real SSH server and a real agent.

In all: nothing that was journalled is lost, nothing is measured twice, and neither a process nor a lease is left.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import pytest

from profiler_agent.job_folder import JobFolder
from profiler_agent.journal import read_journal
from profiler_agent.lease import holder
from profiler_agent.records import Event, Hello, Measured, Settings
from searcher.artifacts import ExportedModel, sha256_of
from searcher.devices.deploy import deploy_agent
from searcher.devices.driver import Assignment, measure_on
from searcher.devices.link import Link
from searcher.devices.prepare import PythonSetup
from searcher.devices.ssh import SshTransport
from searcher.devices.transport import TransportError, UnreachableError
from tests.agent.journal_checker import complaints
from tests.agent.models import write_convolution, write_identity
from tests.cutting_proxy import CuttingProxy
from tests.loopback_sshd import LoopbackSshd
from tests.quiet_board import require_quiet
from tests.sshd import sshd_or_skip

QUICK = Settings(runtime="onnx", rounds=10, samples=3, target_half_width_pct=1e-9, costs=False)
Cut = Callable[[int, int, int], bool]


def never(_number: int, _sent: int, _got: int) -> bool:
    return False


def _sent_more_than(limit_bytes: int, _number: int, sent: int, _got: int) -> bool:
    return sent > limit_bytes


@dataclass
class Lab:
    """A board behind SSH, some models, and a host."""

    server: LoopbackSshd
    root: str
    models: list[ExportedModel]
    patience_s: float = 30
    links: list[Link] = field(default_factory=list)

    @property
    def folder(self) -> Path:
        return self.server.home / self.root

    def assignment(self, settings: Settings = QUICK) -> Assignment:
        return Assignment(self.models, settings)

    def link(self, port: int | None = None, root: str | None = None) -> Link:
        address = self.server.address if port is None else replace(self.server.address, port=port)
        known_hosts = self.server.known_hosts.with_name(f"known_hosts_{address.port}")
        if not known_hosts.exists():
            key = self.server.known_hosts.read_text().split(maxsplit=1)[1]
            known_hosts.write_text(f"{address.host_key_name} {key}")
        made = Link(
            lambda: SshTransport.connect(
                address, identity=self.server.identity, known_hosts=known_hosts, root=root or self.root
            ),
            patience_s=self.patience_s,
        )
        self.links.append(made)
        return made

    def measured(self, link: Link, assignment: Assignment) -> list[Event]:
        return list(measure_on(link, PythonSetup(sys.executable), assignment))

    def check(self, assignment: Assignment, events: list[Event]) -> None:
        """Compare what the host was told with what lies on the board."""
        job, journalled = read_journal(JobFolder(self.folder / "jobs" / assignment.job_id).journal)
        assert tuple(events) == journalled
        assert complaints(job, events) == []
        self.check_quiet()

    def check_quiet(self) -> None:
        require_quiet(self.folder)

    def agent_pid(self, assignment: Assignment) -> int:
        note = holder(self.folder / "jobs" / assignment.job_id / "running")
        assert note is not None
        pid = note["pid"]
        assert isinstance(pid, int)
        return pid


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LoopbackSshd]:
    with sshd_or_skip(tmp_path_factory.mktemp("sshd")) as started:
        yield started


@pytest.fixture
def lab(server: LoopbackSshd, tmp_path: Path) -> Iterator[Lab]:
    paths = [write_convolution(tmp_path / "conv.onnx"), write_identity(tmp_path / "identity.onnx")]
    models = [ExportedModel(path.stem, path, sha256_of(path)) for path in paths]
    made = Lab(server, f"root_{tmp_path.name}", models)
    yield made
    for link in made.links:
        link.close()


@pytest.mark.parametrize(
    "cut",
    [
        pytest.param(lambda number, sent, _got: number < 2 and sent > 60_000, id="twice in the upload"),
        pytest.param(lambda number, _sent, got: number < 3 and got > 9_000 + 5_000 * number, id="while it is told"),
        pytest.param(
            lambda number, sent, _got: number == 0 and sent > 5_000, id="at the beginning", marks=pytest.mark.slow
        ),
    ],
)
def test_a_link_that_is_cut_loses_nothing(lab: Lab, cut: Cut) -> None:
    assignment = lab.assignment()
    with CuttingProxy(lab.server.address.port, cut) as proxy:
        events = lab.measured(lab.link(proxy.port), assignment)
        assert proxy.connections > 1
    lab.check(assignment, events)


def test_a_link_that_is_cut_anywhere_in_an_upload_is_lost_and_no_refusal(lab: Lab) -> None:
    rng = random.Random(20)
    for attempt in range(40):
        cut = partial(_sent_more_than, rng.randrange(9_000, 150_000))
        with CuttingProxy(lab.server.address.port, cut) as proxy, pytest.raises(UnreachableError):
            deploy_agent(lab.link(proxy.port, f"{lab.root}_{attempt}").transport, sys.executable)


def test_a_board_that_cannot_be_reached_for_a_while_goes_on_measuring(lab: Lab) -> None:
    assignment = lab.assignment()
    events = []
    with CuttingProxy(lab.server.address.port, never) as proxy:
        for event in measure_on(lab.link(proxy.port), PythonSetup(sys.executable), assignment):
            events.append(event)
            if isinstance(event, Measured) and event.round == 1 and event.position == 0:
                lab.server.stop()
                threading.Timer(3, lab.server.start).start()
    lab.check(assignment, events)


@pytest.mark.parametrize("kills", [1, pytest.param(3, marks=pytest.mark.slow)])
def test_an_agent_that_is_killed_goes_on(lab: Lab, kills: int) -> None:
    # Rounds enough that there is an agent left to kill, however late the host hears of a batch.
    assignment = lab.assignment(replace(QUICK, rounds=20 * kills))
    events: list[Event] = []
    for event in measure_on(lab.link(), PythonSetup(sys.executable), assignment):
        events.append(event)
        hellos = sum(isinstance(one, Hello) for one in events)
        if isinstance(event, Measured) and hellos <= kills and not isinstance(events[-2], Hello):
            os.kill(lab.agent_pid(assignment), signal.SIGKILL)
    assert sum(isinstance(event, Hello) for event in events) == kills + 1
    lab.check(assignment, events)


@pytest.mark.slow
def test_a_second_host_is_told_who_measures(lab: Lab) -> None:
    first, second = lab.assignment(), lab.assignment()
    events = []
    for event in measure_on(lab.link(), PythonSetup(sys.executable), first):
        events.append(event)
        if isinstance(event, Measured) and event.round == 0 and event.position == 0:
            with pytest.raises(TransportError, match=r"busy: the job [0-9a-f]+ of \S+@\S+ runs here"):
                lab.measured(lab.link(), second)
    lab.check(first, events)
    lab.check(second, lab.measured(lab.link(), second))


@pytest.mark.slow
def test_two_hosts_that_begin_at_once_do_not_disturb_each_other(lab: Lab) -> None:
    told: dict[str, list[Event] | TransportError] = {}

    def host(assignment: Assignment) -> None:
        try:
            told[assignment.job_id] = lab.measured(lab.link(), assignment)
        except TransportError as e:
            told[assignment.job_id] = e

    assignments = [lab.assignment() for _ in range(2)]
    threads = [threading.Thread(target=host, args=(one,)) for one in assignments]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    for assignment in assignments:
        result = told[assignment.job_id]
        if isinstance(result, list):
            lab.check(assignment, result)
        else:
            assert "busy: the job" in str(result)
    assert any(isinstance(result, list) for result in told.values())


def test_a_host_that_gives_up_leaves_nothing_running(lab: Lab) -> None:
    assignment = lab.assignment(replace(QUICK, rounds=500))
    with closing(measure_on(lab.link(), PythonSetup(sys.executable), assignment)) as events:  # type: ignore[type-var]
        next(event for event in events if isinstance(event, Measured))
    lab.check_quiet()
    # What was journalled is there for another time.
    events_again = lab.measured(lab.link(), replace(assignment, budget_s=0.1))
    assert sum(isinstance(event, Hello) for event in events_again) == 2
    lab.check_quiet()


@pytest.mark.slow
def test_a_job_is_told_from_its_beginning_to_a_host_that_starts_anew(lab: Lab) -> None:
    assignment = lab.assignment()
    events = lab.measured(lab.link(), assignment)
    assert lab.measured(lab.link(), assignment) == events
    lab.check(assignment, events)


@pytest.mark.slow
def test_a_full_disk_is_told_and_the_job_goes_on_when_there_is_room(lab: Lab, tmp_path: Path) -> None:
    lab.folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(lab.folder)], capture_output=True, check=False
    )
    if mounted.returncode != 0:
        pytest.skip("this user may not mount a small disk")
    try:
        first, second = lab.assignment(), lab.assignment(replace(QUICK, rounds=25))
        lab.check(first, lab.measured(lab.link(), first))
        filler = lab.folder / "filler"
        room = os.statvfs(lab.folder)
        filler.write_bytes(bytes(room.f_bavail * room.f_frsize - 24_000))
        told: list[Event] = []
        with pytest.raises(TransportError, match=r"says: cannot write the journal \S+: No space left on device"):
            told.extend(measure_on(lab.link(), PythonSetup(sys.executable), second))
        lab.check_quiet()
        filler.unlink()
        events = lab.measured(lab.link(), second)
        assert events[: len(told)] == told
        assert sum(isinstance(event, Hello) for event in events) == 2
        lab.check(second, events)
    finally:
        subprocess.run(["umount", str(lab.folder)], check=True)


@pytest.mark.slow
def test_a_poor_radio_link_loses_nothing(lab: Lab) -> None:
    # What a fifth of all packets lost becomes above TCP: chunks that come a second late, and all behind them.
    dice = random.Random(0)
    assignment = lab.assignment()
    with CuttingProxy(lab.server.address.port, never, lambda: 0.15 + (1.0 if dice.random() < 0.2 else 0.0)) as proxy:
        events = lab.measured(lab.link(proxy.port), assignment)
    lab.check(assignment, events)


@pytest.mark.slow
def test_a_clock_that_is_set_back_changes_nothing(lab: Lab, tmp_path: Path) -> None:
    jump = tmp_path / "jump"
    (tmp_path / "sitecustomize.py").write_text(
        f"import os, time\nright = time.time\ntime.time = lambda: right() - 86_400 * os.path.exists({str(jump)!r})\n"
    )
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\nPYTHONPATH={tmp_path}:$PYTHONPATH exec {sys.executable} "$@"\n')
    python.chmod(0o755)
    assignment, events = lab.assignment(), []
    for event in measure_on(lab.link(), PythonSetup(str(python)), assignment):
        events.append(event)
        if isinstance(event, Measured) and event.round == 2:
            jump.touch()
    received_s = [event.unix_s for event in events if isinstance(event, Measured)]
    assert received_s[0] - received_s[-1] > 80_000
    lab.check(assignment, events)
