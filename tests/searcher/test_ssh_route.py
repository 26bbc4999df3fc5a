"""The user's SSH configuration: what it says, and real connections that follow it."""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from searcher.devices import ssh_login
from searcher.devices.device import Device, connect, meet
from searcher.devices.ssh import SshTransport
from searcher.devices.ssh_address import SshAddress
from searcher.devices.ssh_route import SshConfiguration
from searcher.devices.transport import AuthenticationError, HostKeyError, UnreachableError
from searcher.errors import BadInputError
from searcher.workflows.prepare_device import meet_device
from tests.loopback_sshd import LoopbackSshd, agent_with, make_key, wait_until
from tests.sshd import sshd_or_skip


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home folder without keys, and no agent: the user's own must not decide a test."""
    folder = tmp_path / "home"
    (folder / ".ssh").mkdir(parents=True)
    monkeypatch.setenv("HOME", str(folder))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    monkeypatch.delenv("PROFILER_SSH_CONFIG", raising=False)
    return folder


class TestConfiguration:
    @staticmethod
    def read(home: Path, text: str) -> SshConfiguration:
        (home / ".ssh" / "config").write_text(text)
        return SshConfiguration()

    def test_no_file_changes_nothing(self) -> None:
        address = SshAddress("pi", "board.lab", 22)
        (hop,) = SshConfiguration().route_to(address, False)
        assert (hop.address, hop.known_hosts, hop.identities) == (address, (), ())

    def test_an_alias(self, home: Path) -> None:
        text = """
        Host Board
          HostName 10.0.0.7
          Port 2222
          User pi
          IdentityFile ~/.ssh/board
          UserKnownHostsFile ~/.ssh/lab "/etc/lab hosts"
          HostKeyAlias the-board
          IdentitiesOnly yes
          ConnectTimeout 3
        """
        (hop,) = self.read(home, text).route_to(SshAddress(None, "board"), False)
        assert hop.address == SshAddress("pi", "10.0.0.7", 2222)
        assert hop.identities == (home / ".ssh" / "board",)
        assert hop.known_hosts == (home / ".ssh" / "lab", Path("/etc/lab hosts"))
        assert (hop.key_name, hop.only_identities, hop.timeout_s) == ("the-board", True, 3)
        # What the user gives wins.
        (hop,) = self.read(home, text).route_to(SshAddress("me", "board", 22), True)
        assert hop.address == SshAddress("me", "10.0.0.7", 22)

    def test_jumps_in_their_order_with_words_of_their_own(self, home: Path) -> None:
        text = """
        Host gate
          HostName gate.lab
          ProxyJump outer
        Host board
          ProxyJump gate,me@middle:2200
        Host outer
          Port 1022
        """
        route = self.read(home, text).route_to(SshAddress("pi", "board"), False)
        named = [(hop.address.user, hop.address.host, hop.address.port) for hop in route]
        assert named == [(None, "outer", 1022), (None, "gate.lab", 22), ("me", "middle", 2200), ("pi", "board", 22)]

    def test_no_jump_where_none_is_said(self, home: Path) -> None:
        text = "Host board\n  ProxyJump none\nHost *\n  ProxyJump gate\n"
        assert len(self.read(home, text).route_to(SshAddress("pi", "board"), False)) == 1

    def test_a_jump_host_for_all_is_reached_by_itself(self, home: Path) -> None:
        configuration = self.read(home, "Host *\n  ProxyJump gate\n")
        hosts = [hop.address.host for hop in configuration.route_to(SshAddress("pi", "board"), False)]
        assert hosts == ["gate", "board"]

    def test_matches(self, home: Path) -> None:
        text = "Match originalhost board,other user me\n  Port 2200\nMatch all\n  Port 2300\n"
        configuration = self.read(home, "Host board\n  User me\n" + text)
        assert configuration.route_to(SshAddress(None, "board"), False)[0].address == SshAddress("me", "board", 2200)
        assert configuration.route_to(SshAddress(None, "gate"), False)[0].address == SshAddress(None, "gate", 2300)

    def test_included_files(self, home: Path) -> None:
        (home / ".ssh" / "lab.conf").write_text("Host board\n  HostName 10.0.0.7\n")
        configuration = self.read(home, "Include lab.conf missing*\nPort 2200\n")
        assert configuration.route_to(SshAddress("pi", "board"), False)[0].address == SshAddress("pi", "10.0.0.7", 2200)
        # What stands behind an included file is no part of its last block.
        assert configuration.route_to(SshAddress("pi", "other"), False)[0].address == SshAddress("pi", "other", 2200)

    @pytest.mark.parametrize(
        ("text", "said"),
        [
            ("ProxyCommand nc %h %p", "only ProxyJump is followed"),
            ("Host board\n  ProxyJump a\nHost a\n  ProxyJump board", "in a circle"),
            ("Port seven", "a number of board is none"),
            ("Port 70000", "out of range"),
            ("ConnectTimeout 0", "out of range"),
            ("Include config", "included within itself"),
            ("Match host x exec true\n  Port 5", "cannot be followed where it says"),
            ("Match tagged red", "cannot be followed where it says"),
            ("ProxyJump pi:secret@gate", "password"),
            ('UserKnownHostsFile "open', "open quotation"),
            ("Host", "cannot be used"),
        ],
    )
    def test_what_cannot_be_followed_is_refused(self, home: Path, text: str, said: str) -> None:
        with pytest.raises(BadInputError, match=said):
            self.read(home, text).route_to(SshAddress("pi", "board"), False)

    def test_named_files_must_exist(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        with pytest.raises(BadInputError, match=r"--ssh-config .* cannot be read"):
            Device("ssh://pi@board", ssh_config=tmp_path / "missing")
        monkeypatch.setenv("PROFILER_SSH_CONFIG", str(tmp_path / "missing"))
        with pytest.raises(BadInputError, match="missing cannot be read"):
            Device("ssh://pi@board")


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[LoopbackSshd, LoopbackSshd]]:
    """A jump host and a board, each with a host key and a user's key of its own."""
    folder = tmp_path_factory.mktemp("servers")
    with sshd_or_skip(folder / "gate") as gate, sshd_or_skip(folder / "board") as board:
        yield gate, board


def words(name: str, server: LoopbackSshd, *more: str) -> str:
    lines = [
        f"HostName {server.address.host}",
        f"Port {server.address.port}",
        f"User {server.address.user}",
        f"IdentityFile {server.identity}",
        f"UserKnownHostsFile {server.known_hosts}",
        *more,
    ]
    return "\n  ".join([f"Host {name}", *lines]) + "\n"


def device(tmp_path: Path, name: str, *blocks: str) -> Device:
    (tmp_path / "ssh_config").write_text("".join(blocks))
    return Device(f"ssh://{name}", ssh_config=tmp_path / "ssh_config")


Servers = tuple[LoopbackSshd, LoopbackSshd]


class TestConnections:
    def test_an_alias(self, servers: Servers, tmp_path: Path) -> None:
        # As ssh does, which has a second file in mind that hardly anybody has.
        block = words("my-board", servers[1]).replace("known_hosts\n", f"known_hosts {tmp_path}/missing\n")
        with closing(connect(device(tmp_path, "my-board", block))) as transport:
            assert transport.description == str(servers[1].address)
            assert list(transport.run(["echo", "there"])) == ["there"]

    def test_a_jump_and_another(self, servers: Servers, tmp_path: Path) -> None:
        gate, board = servers
        blocks = (words("gate", gate), words("board", board, "ProxyJump gate"))
        far = words("far", gate, "ProxyJump gate,board-too")
        (tmp_path / "file").write_bytes(bytes(300_000))
        for name, route_length in (("board", 2), ("far", 3)):
            wanted = device(tmp_path, name, *blocks, far, words("board-too", board))
            assert len(wanted.route()) == route_length
            transport = connect(wanted)
            assert isinstance(transport, SshTransport)
            with closing(transport):
                assert transport.send({"file": tmp_path / "file"}) == 300_000
                assert list(transport.run(["wc", "-c", "file"])) == ["300000 file"]

    def test_without_its_jump_host_it_is_not_reached(self, servers: Servers, tmp_path: Path) -> None:
        board = servers[1]
        with sshd_or_skip(tmp_path / "gate") as gate:
            wanted = device(tmp_path, "board", words("gate", gate), words("board", board, "ProxyJump gate"))
            with closing(connect(wanted)) as transport:
                gate.drop_connections()
                with pytest.raises(UnreachableError, match="was lost"):
                    list(transport.run(["echo"]))
        with pytest.raises(UnreachableError, match=f"{gate.address} refuses the connection"):
            connect(wanted)

    def test_a_jump_host_says_that_nobody_listens_behind_it(self, servers: Servers, tmp_path: Path) -> None:
        with socket.socket() as bound:
            bound.bind(("127.0.0.1", 0))
            closed = f"Host board\n  HostName 127.0.0.1\n  Port {bound.getsockname()[1]}\n  ProxyJump gate\n"
            with pytest.raises(UnreachableError, match="cannot be reached through the jump host"):
                connect(device(tmp_path, "pi@board", words("gate", servers[0]), closed))

    def test_every_hop_is_verified(self, servers: Servers, tmp_path: Path) -> None:
        board = servers[1]
        with sshd_or_skip(tmp_path / "gate") as gate:
            blocks = (words("gate", gate), words("board", board, "ProxyJump gate"))
            gate.change_host_key()
            with pytest.raises(HostKeyError, match=f"THE HOST KEY OF {gate.address} HAS CHANGED"):
                connect(device(tmp_path, "board", *blocks))
            gate.remember_host_key(tmp_path / "gate" / "host_key")
            known = board.known_hosts.read_text()
            try:
                board.remember_host_key(make_key(tmp_path / "other"))
                with pytest.raises(HostKeyError, match=f"THE HOST KEY OF {board.address} HAS CHANGED"):
                    connect(device(tmp_path, "board", *blocks))
            finally:
                board.known_hosts.write_text(known)
            connect(device(tmp_path, "board", *blocks)).close()

    def test_an_alias_for_the_host_key(self, servers: Servers, tmp_path: Path) -> None:
        board = servers[1]
        known = tmp_path / "known"
        known.write_text(board.known_hosts.read_text().replace(board.address.host_key_name, "phone-7"))
        block = words("board", board).replace(str(board.known_hosts), str(known))
        with pytest.raises(HostKeyError, match="unknown"):
            connect(device(tmp_path, "board", block))
        connect(device(tmp_path, "board", block + "  HostKeyAlias phone-7\n")).close()

    def test_new_keys_are_accepted_once_and_written_down(self, servers: Servers, tmp_path: Path) -> None:
        gate = servers[0]
        known = tmp_path / "new folder" / "known_hosts"
        with sshd_or_skip(tmp_path / "board") as board:
            blocks = (words("gate", gate), words("board", board, "ProxyJump gate"))
            (tmp_path / "config").write_text("".join(blocks))
            wanted = Device("ssh://board", known_hosts=known, ssh_config=tmp_path / "config", accept_new_host_key=True)
            with pytest.raises(HostKeyError, match="does not exist"):
                connect(wanted)
            sentences = list(meet(wanted))
            assert len(sentences) == 2
            assert str(gate.address) in sentences[0]
            assert str(board.address) in sentences[1]
            assert all("SHA256:" in sentence and str(known) in sentence for sentence in sentences)
            assert known.read_text() == gate.known_hosts.read_text() + board.known_hosts.read_text()
            assert (known.stat().st_mode & 0o777, known.parent.stat().st_mode & 0o777) == (0o600, 0o700)
            assert list(meet(wanted)) == []
            connect(wanted).close()
            board.change_host_key()
            with pytest.raises(HostKeyError, match="HAS CHANGED"):
                list(meet(wanted))
            with pytest.raises(HostKeyError, match="HAS CHANGED"):
                connect(wanted)
            assert len(known.read_text().splitlines()) == 2

    def test_an_accepted_key_is_told_before_the_login_that_fails(self, servers: Servers, tmp_path: Path) -> None:
        board = servers[1]
        known, wrong = tmp_path / "known_hosts", make_key(tmp_path / "wrong")
        told = meet_device(Device(str(board.address), identity=wrong, known_hosts=known, accept_new_host_key=True))
        note = next(told).note
        assert "accepted the new host key of" in note
        assert "SHA256:" in note
        assert known.read_text() == board.known_hosts.read_text()
        with pytest.raises(AuthenticationError, match="was refused"):
            next(told)

    def test_a_time_out_of_its_own(self, tmp_path: Path) -> None:
        with socket.create_server(("127.0.0.1", 0)) as mute:
            block = f"Host board\n  HostName 127.0.0.1\n  Port {mute.getsockname()[1]}\n  ConnectTimeout 1\n"
            began_s = time.monotonic()
            with pytest.raises(UnreachableError, match="does not answer as an SSH server"):
                connect(device(tmp_path, "pi@board", block))
            assert time.monotonic() - began_s < ssh_login.TIMEOUT_S

    def test_only_the_named_keys_of_the_agent(self, servers: Servers, tmp_path: Path) -> None:
        """A server gives up after a few keys: an agent full of others must not use them up."""
        board = servers[1]
        others = [make_key(tmp_path / f"other{number}") for number in range(7)]
        public = tmp_path / "chosen.pub"
        public.write_text(board.identity.with_suffix(".pub").read_text())
        block = words("board", board).replace(str(board.identity), str(tmp_path / "chosen"))
        with agent_with(tmp_path / "socket", *others, board.identity):
            with pytest.raises(AuthenticationError):
                connect(device(tmp_path, "board", block))
            connect(device(tmp_path, "board", block + "  IdentitiesOnly yes\n")).close()

    def test_nothing_is_accepted_unless_the_user_wants_it(self, servers: Servers, tmp_path: Path) -> None:
        board = servers[1]
        (tmp_path / "known").write_text("")
        wanted = Device(str(board.address), identity=board.identity, known_hosts=tmp_path / "known")
        assert list(meet(wanted)) == []
        with pytest.raises(HostKeyError, match=r"unknown.*--accept-new-host-key"):
            connect(wanted)
        assert (tmp_path / "known").read_text() == ""

    def test_a_server_that_stops_answering_is_noticed(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Its kernel acknowledges what is sent, so that the link itself looks alive."""
        monkeypatch.setattr(ssh_login, "KEEP_ALIVE_S", 0.2)
        monkeypatch.setattr(ssh_login, "ANSWER_S", 1.2)
        with sshd_or_skip(tmp_path / "board") as board:
            with closing(connect(device(tmp_path, "board", words("board", board)))) as transport:
                lines = transport.run(["sh", "-c", "echo; sleep 1.5; echo; sleep 100"])
                next(lines)
                # A program that is silent for longer than that is not lost.
                next(lines)
                stopped = stop_connections(board)
                monkeypatch.setattr(ssh_login, "ANSWER_S", 0.2)
                began_s = time.monotonic()
                with pytest.raises(UnreachableError, match="was lost while sh ran"):
                    next(lines)
                assert time.monotonic() - began_s < ssh_login.LINK_TIMEOUT_S
            for process_id in stopped:
                os.kill(process_id, signal.SIGCONT)


def stop_connections(server: LoopbackSshd) -> list[int]:
    """Let the server's processes for connections stop, as on a machine that hangs."""
    stopped = server.connections()
    for process_id in stopped:
        os.kill(process_id, signal.SIGSTOP)
    assert stopped
    assert wait_until(lambda: all("T" in _state(process_id) for process_id in stopped), 30)
    return stopped


def _state(process_id: int) -> str:
    return Path(f"/proc/{process_id}/stat").read_text().rpartition(")")[2].split()[0]
