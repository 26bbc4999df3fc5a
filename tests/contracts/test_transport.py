"""What every way to a device must do, the fake too as far as it has a part in it."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from searcher.devices import transport as shared
from searcher.devices.counting import CountingTransport, Sent
from searcher.devices.local import LocalTransport
from searcher.devices.ssh import SshTransport
from searcher.devices.transport import RemoteProgramError, Transport, TransportError, UnsafePathError
from tests.fakes import FakeTransport
from tests.loopback_sshd import LoopbackSshd, is_running, wait_until
from tests.sshd import sshd_or_skip

SHOW_ARGUMENTS = (sys.executable, "-c", "import json, sys; print(json.dumps(sys.argv[1:]))")
FAIL = ("sh", "-c", "echo one; echo two; echo 'no such model' >&2; exit 3")
ODD_ARGUMENTS = [
    "two words",
    "",
    "it's",
    'a "quote"',
    "$(touch pwned) `touch pwned` $HOME",
    "semi; colon & | > <",
    "line\nbreak",
    "back\\slash \\' \\n",
    "* ? [a] ~ !!",
    "--",
    "-n",
    "größe 测量 🚀",
]


# Longer than any machine takes for what ends at once.
SOON_S = 60.0


@dataclass(frozen=True)
class Case:
    transport: Transport
    read: Callable[[str], bytes]
    root: Path


def scripted(arguments: Sequence[str], standard_input: bytes) -> Iterable[str]:
    if tuple(arguments) == ("cat",):
        yield from standard_input.decode().splitlines()
    elif tuple(arguments[:3]) == SHOW_ARGUMENTS:
        yield json.dumps(arguments[3:])
    elif tuple(arguments) == FAIL:
        yield from ("one", "two")
        raise RemoteProgramError("sh", "fake", 3, "no such model\n")


@pytest.fixture(scope="module")
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LoopbackSshd]:
    with sshd_or_skip(tmp_path_factory.mktemp("sshd")) as server:
        yield server


@pytest.fixture
def local(tmp_path: Path) -> Iterator[Case]:
    root = tmp_path / "device"
    with closing(LocalTransport(root)) as transport:
        yield Case(transport, lambda path: (root / path).read_bytes(), root)


@pytest.fixture
def ssh(sshd: LoopbackSshd, tmp_path: Path) -> Iterator[Case]:
    root = f"roots/{tmp_path.name} with spaces"
    connected = SshTransport.connect(sshd.address, identity=sshd.identity, known_hosts=sshd.known_hosts, root=root)
    with closing(connected) as transport:
        here = sshd.home / root
        yield Case(transport, lambda path: (here / path).read_bytes(), here)


@pytest.fixture
def fake(tmp_path: Path) -> Case:
    transport = FakeTransport(scripted)
    return Case(transport, transport.files.__getitem__, tmp_path)


@pytest.fixture
def counting(local: Case) -> Case:
    return replace(local, transport=CountingTransport(local.transport, Sent()))


@pytest.fixture(params=["local", "ssh", "counting", "fake"])
def case(request: pytest.FixtureRequest) -> Case:
    chosen: Case = request.getfixturevalue(request.param)
    return chosen


@pytest.fixture(params=["local", "ssh"])
def real(request: pytest.FixtureRequest) -> Case:
    chosen: Case = request.getfixturevalue(request.param)
    return chosen


def write(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


class TestTransport:
    def test_sends_files_into_new_folders(self, case: Case, tmp_path: Path) -> None:
        one, two = write(tmp_path / "1", b"one"), write(tmp_path / "2", bytes(range(256)) * 1000)
        assert not case.transport.exists("a/deep folder/two")
        assert case.transport.send({"one": one, "a/deep folder/two": two}) == 3 + 256_000
        assert case.read("one") == b"one"
        assert case.read("a/deep folder/two") == two.read_bytes()
        assert case.transport.exists("a/deep folder/two")
        assert case.transport.exists("a")
        assert not case.transport.exists("a/other")
        assert not case.transport.exists("one/below a file")

    def test_replaces_a_file(self, case: Case, tmp_path: Path) -> None:
        case.transport.send({"file": write(tmp_path / "1", b"old and long")})
        case.transport.send({"file": write(tmp_path / "2", b"")})
        assert case.read("file") == b""

    def test_says_what_it_cannot_read(self, case: Case, tmp_path: Path) -> None:
        with pytest.raises(TransportError, match="missing"):
            case.transport.send({"file": tmp_path / "missing"})
        assert not case.transport.exists("file")

    def test_refuses_paths_that_leave_the_root(self, case: Case, tmp_path: Path) -> None:
        source = write(tmp_path / "1", b"one")
        for path in ["", ".", "/etc/passwd", "..", "a/../../b", "a\nb", "a\0b"]:
            with pytest.raises(UnsafePathError):
                case.transport.exists(path)
            with pytest.raises(UnsafePathError):
                case.transport.send({"good": source, path: source})
        assert not case.transport.exists("good")

    def test_refuses_what_cannot_be_run(self, case: Case) -> None:
        for arguments in [[], [""], ["A=b"], ["echo", "a\0b"]]:
            with pytest.raises(TransportError):
                list(case.transport.run(arguments))
        for name in ["", "A=B", "A B", "1A", "A;B"]:
            with pytest.raises(TransportError, match="variable"):
                list(case.transport.run(["cat"], environment={name: "value"}))

    def test_feeds_standard_input_and_yields_lines(self, case: Case) -> None:
        sent = 'one\n\n  {"two": "ü"}\nlast, unfinished'
        assert list(case.transport.run(["cat"], sent.encode())) == sent.split("\n")
        assert list(case.transport.run(["cat"])) == []

    def test_passes_arguments_as_they_are(self, case: Case) -> None:
        (line,) = case.transport.run([*SHOW_ARGUMENTS, *ODD_ARGUMENTS])
        assert json.loads(line) == ODD_ARGUMENTS
        assert not case.transport.exists("pwned")

    def test_a_failure_comes_after_the_lines(self, case: Case) -> None:
        lines = case.transport.run(FAIL)
        assert [next(lines), next(lines)] == ["one", "two"]
        with pytest.raises(RemoteProgramError, match=r"sh on .* status 3: no such model") as caught:
            next(lines)
        assert caught.value.program_status == 3
        assert caught.value.standard_error == "no such model\n"
        assert caught.value.exit_status == 1

    def test_closes_twice(self, case: Case) -> None:
        case.transport.close()
        case.transport.close()
        assert case.transport.description


class TestRealTransport:
    def test_sets_variables_and_the_current_folder(self, real: Case) -> None:
        variables = {"PYTHONPATH": "agents/1", "ODD": "it's $HOME \\ `x`\nü"}
        show = 'printf "%s|" "$PYTHONPATH" "$ODD"; pwd'
        lines = list(real.transport.run(["sh", "-c", show], environment=variables))
        assert "\n".join(lines) == f"agents/1|{variables['ODD']}|{real.root}"

    def test_replaces_undecodable_bytes(self, real: Case) -> None:
        assert list(real.transport.run(["printf", r"a\377b\r\n\n\360"])) == ["a\ufffdb\r", "", "\ufffd"]

    def test_lines_come_while_the_program_runs(self, real: Case, tmp_path: Path) -> None:
        waits = "echo first; while ! [ -e go ]; do sleep 0.02; done; echo second"
        lines = real.transport.run(["sh", "-c", waits])
        assert next(lines) == "first"
        real.transport.send({"go": write(tmp_path / "go", b"")})
        assert list(lines) == ["second"]

    def test_large_streams_do_not_block_each_other(self, real: Case) -> None:
        floods = (
            "import sys\n"
            "for number in range(100):\n"
            "    sys.stderr.write('e' * 99_999 + '\\n')\n"
            "    print(str(number) + 'o' * 99_997)\n"
            "print(len(sys.stdin.buffer.read()))\n"
            "sys.exit('the end')"
        )
        lines, error = [], None
        try:
            for line in real.transport.run([sys.executable, "-c", floods], b"i" * 5_000_000):
                lines.append(line)
        except RemoteProgramError as e:
            error = e
        assert [line.rstrip("o") for line in lines[:-1]] == [str(number) for number in range(100)]
        assert lines[-1] == "5000000"
        assert error is not None
        assert error.standard_error.endswith("e\nthe end\n")
        assert len(error.standard_error) == shared.ERROR_TAIL_BYTES
        assert str(error).endswith("status 1: the end")

    def test_a_program_need_not_read_its_input(self, real: Case) -> None:
        assert list(real.transport.run(["echo", "done"], b"i" * 5_000_000)) == ["done"]

    def test_an_endless_line_is_refused(self, real: Case) -> None:
        endless = "import sys\nwhile True: sys.stdout.write('x' * 1_000_000)"
        with pytest.raises(TransportError, match="longer than 16777216 bytes, beginning 'xxx"):
            list(real.transport.run([sys.executable, "-c", endless]))

    def test_a_missing_program_says_so(self, real: Case) -> None:
        with pytest.raises(RemoteProgramError, match="no-such-program") as caught:
            list(real.transport.run(["no-such-program", "argument"]))
        assert caught.value.program_status == 127

    def test_a_killed_program_says_so(self, real: Case) -> None:
        with pytest.raises(RemoteProgramError) as caught:
            list(real.transport.run(["sh", "-c", "kill -KILL $$"]))
        assert caught.value.program_status == 128 + 9

    def test_control_characters_stay_out_of_messages(self, real: Case) -> None:
        with pytest.raises(RemoteProgramError) as caught:
            list(real.transport.run(["sh", "-c", r"printf '\033[2Jwiped' >&2; exit 1"]))
        assert str(caught.value).endswith("\ufffd[2Jwiped")

    def test_nobody_sees_half_a_file(self, real: Case, tmp_path: Path) -> None:
        content = bytes(4_000_000)
        source, target = write(tmp_path / "source", content), real.root / "folder" / "file"
        sizes: set[int] = set()
        finished = threading.Event()

        def watch() -> None:
            while not finished.wait(0.0002):
                if target.exists():
                    sizes.add(target.stat().st_size)

        watcher = threading.Thread(target=watch)
        watcher.start()
        for _ in range(3):
            real.transport.send({"folder/file": source})
        finished.set()
        watcher.join()
        assert sizes <= {len(content)}
        assert target.stat().st_size == len(content)
        assert [path.name for path in target.parent.iterdir()] == ["file"]


class TestEarlyEnd:
    def test_nothing_starts_before_the_first_line(self, real: Case) -> None:
        real.transport.run(["touch", "started"]).close()
        assert not real.transport.exists("started")

    def test_closing_ends_the_program_and_its_children(self, real: Case) -> None:
        lines = real.transport.run(["sh", "-c", "sleep 100 & echo $!; echo $$; wait"], b"input")
        process_ids = [int(next(lines)), int(next(lines))]
        assert all(map(is_running, process_ids))
        lines.close()
        assert wait_until(lambda: not any(map(is_running, process_ids)), SOON_S)

    def test_a_stubborn_program_is_killed(self, real: Case, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(shared, "GRACE_S", 0.3)
        lines = real.transport.run(["sh", "-c", "trap '' TERM; echo $$; while :; do sleep 0.05; done"])
        process_id = int(next(lines))
        lines.close()
        assert wait_until(lambda: not is_running(process_id), SOON_S)

    def test_a_program_gets_time_to_tidy_up(self, real: Case) -> None:
        tidy = "trap 'sleep 0.2; touch tidied; exit' TERM; echo ready; while :; do sleep 0.02; done"
        lines = real.transport.run(["sh", "-c", tidy])
        next(lines)
        lines.close()
        assert wait_until(lambda: real.transport.exists("tidied"), SOON_S)

    def test_what_a_program_leaves_behind_ends(self, real: Case) -> None:
        leave = "sleep 100 >/dev/null 2>&1 & echo $!"
        (line,) = real.transport.run(["sh", "-c", leave])
        assert wait_until(lambda: not is_running(int(line)), SOON_S)

    def test_what_has_its_own_session_goes_on(self, real: Case) -> None:
        detach = (
            "import subprocess\n"
            "quiet = subprocess.DEVNULL\n"
            "child = subprocess.Popen(['sleep', '100'], stdin=quiet, stdout=quiet, stderr=quiet,"
            " start_new_session=True)\n"
            "print(child.pid)"
        )
        (line,) = real.transport.run([sys.executable, "-c", detach])
        process_id = int(line)
        try:
            assert not wait_until(lambda: not is_running(process_id), 0.2)
        finally:
            os.kill(process_id, signal.SIGKILL)

    def test_the_fake_tells_that_its_program_ended(self) -> None:
        transport = FakeTransport(lambda arguments, standard_input: ["one", "two"])
        lines = transport.run(["program"], b"input", {"A": "b"})
        assert (len(transport.runs), next(lines), transport.ended) == (0, "one", 0)
        lines.close()
        assert transport.ended == 1
        assert transport.runs[0].standard_input == b"input"
