"""Reaching devices over SSH: connections, host keys, logins, files, and what goes wrong with each."""

from __future__ import annotations

import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import paramiko
import pytest

from searcher.devices import ssh, ssh_login
from searcher.devices.sftp import explained
from searcher.devices.ssh import SshAddress, SshTransport
from searcher.devices.transport import AuthenticationError, HostKeyError, TransportError, UnreachableError
from tests.loopback_sshd import LoopbackSshd, agent_with, is_running, make_key, wait_until
from tests.sshd import sshd_or_skip


@pytest.fixture(scope="module")
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LoopbackSshd]:
    with sshd_or_skip(tmp_path_factory.mktemp("sshd")) as server:
        yield server


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home folder without keys, and no agent: the user's own must not decide a test."""
    folder = tmp_path / "user's home"
    (folder / ".ssh").mkdir(parents=True)
    monkeypatch.setenv("HOME", str(folder))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    return folder


def connect(server: LoopbackSshd, identity: Path | None = None) -> closing[SshTransport]:
    chosen = identity or server.identity
    return closing(SshTransport.connect(server.address, identity=chosen, known_hosts=server.known_hosts))


def fingerprint(public_key: Path) -> str:
    command = ["ssh-keygen", "-lf", str(public_key)]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[1]


class TestUnreachable:
    def test_nobody_listens(self, sshd: LoopbackSshd) -> None:
        with socket.socket() as bound:
            bound.bind(("127.0.0.1", 0))
            port = bound.getsockname()[1]
            with pytest.raises(UnreachableError, match=f"refuses the connection.* port {port}") as caught:
                SshTransport.connect(SshAddress("pi", "127.0.0.1", port), known_hosts=sshd.known_hosts)
        assert caught.value.exit_status == 1

    def test_the_name_does_not_resolve(self) -> None:
        with pytest.raises(UnreachableError, match="does not resolve"):
            SshTransport.connect(SshAddress("pi", f"{'x' * 70}.invalid"))

    @pytest.mark.parametrize("greeting", [b"", b"HTTP/1.1 400 Bad Request\r\n\r\n", b"SSH-2.0-mute\r\n"])
    def test_something_else_answers(self, greeting: bytes, capfd: pytest.CaptureFixture[str]) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            address = SshAddress("pi", "127.0.0.1", listener.getsockname()[1])
            with (
                pytest.raises(UnreachableError, match="does not answer as an SSH server"),
                _greeting(listener, greeting),
            ):
                SshTransport.connect(address, timeout_s=0.5)
        # The exception says it; paramiko's own log must not say it again.
        assert capfd.readouterr().err == ""

    def test_it_does_not_answer_in_time(self) -> None:
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            listener.listen(0)
            address = SshAddress("pi", *listener.getsockname())
            # A full queue makes the kernel ignore further calls.
            full = socket.create_connection(listener.getsockname())
            with full, pytest.raises(UnreachableError, match=r"not answer within 0\.3 s"):
                SshTransport.connect(address, timeout_s=0.3)


class TestHostKey:
    def test_an_unknown_one_is_refused_with_advice(self, sshd: LoopbackSshd, home: Path) -> None:
        with pytest.raises(HostKeyError, match="unknown") as caught:
            SshTransport.connect(sshd.address, identity=sshd.identity)
        message = str(caught.value)
        assert f"ssh-ed25519 {fingerprint(sshd.known_hosts)}" in message
        advice = message.partition("add it with: ")[2]
        subprocess.run(["sh", "-c", advice], check=True, stderr=subprocess.DEVNULL)
        assert (home / ".ssh" / "known_hosts").exists()
        SshTransport.connect(sshd.address, identity=sshd.identity).close()

    def test_a_changed_one_is_refused_loudly(self, tmp_path: Path) -> None:
        with sshd_or_skip(tmp_path / "sshd") as server:
            old = fingerprint(server.known_hosts)
            server.change_host_key()
            with pytest.raises(HostKeyError, match="HAS CHANGED") as caught, connect(server):
                pass
            message = str(caught.value)
            new = fingerprint(tmp_path / "sshd" / "host_key.pub")
            assert "attack" in message
            assert f"expected ssh-ed25519 {old} from {server.known_hosts}, got ssh-ed25519 {new}" in message
            advice = message.partition("remove the old one with: ")[2]
            subprocess.run(["sh", "-c", advice], check=True, capture_output=True)
            with pytest.raises(HostKeyError, match="unknown"), connect(server):
                pass

    def test_the_named_file_must_exist(self, sshd: LoopbackSshd, tmp_path: Path) -> None:
        with pytest.raises(HostKeyError, match="does not exist"):
            SshTransport.connect(sshd.address, known_hosts=tmp_path / "missing")


class TestLogin:
    def test_two_connections_at_once(self, sshd: LoopbackSshd) -> None:
        with connect(sshd) as one, connect(sshd) as two:
            lines_of_one = one.run(["sh", "-c", "echo 1; read -r line; echo $line"], b"end of 1\n")
            assert next(lines_of_one) == "1"
            assert list(two.run(["echo", "2"])) == ["2"]
            assert list(lines_of_one) == ["end of 1"]

    def test_a_refused_key_is_named(self, sshd: LoopbackSshd, tmp_path: Path) -> None:
        other = make_key(tmp_path / "other")
        with (
            pytest.raises(AuthenticationError, match=f"not let .* in: the key {other} was refused"),
            connect(sshd, other),
        ):
            pass

    def test_no_key_at_all(self, sshd: LoopbackSshd) -> None:
        with pytest.raises(AuthenticationError, match=r"no key in ssh-agent nor in ~/\.ssh"):
            SshTransport.connect(sshd.address, known_hosts=sshd.known_hosts)

    def test_the_usual_keys_are_tried(self, sshd: LoopbackSshd, home: Path) -> None:
        make_key(home / ".ssh" / "id_rsa", passphrase="secret")
        make_key(home / ".ssh" / "id_ed25519")
        with pytest.raises(AuthenticationError, match=r"id_ed25519 was refused; .*id_rsa is encrypted"):
            SshTransport.connect(sshd.address, known_hosts=sshd.known_hosts)
        shutil.copy(sshd.identity, home / ".ssh" / "id_ecdsa")
        SshTransport.connect(sshd.address, known_hosts=sshd.known_hosts).close()

    @pytest.mark.parametrize("form", ["RFC4716", "PEM", "PKCS8"])
    def test_an_encrypted_identity_needs_the_agent(self, sshd: LoopbackSshd, tmp_path: Path, form: str) -> None:
        encrypted = make_key(tmp_path / "encrypted", passphrase="secret", kind="ecdsa")
        command = ["ssh-keygen", "-q", "-p", "-P", "secret", "-N", "secret", "-m", form, "-f", str(encrypted)]
        subprocess.run(command, check=True, capture_output=True)
        with pytest.raises(AuthenticationError, match=r"is encrypted; .*ssh-add"), connect(sshd, encrypted):
            pass

    def test_the_agent_has_keys(self, sshd: LoopbackSshd, tmp_path: Path) -> None:
        encrypted = make_key(tmp_path / "encrypted", passphrase="secret")
        with agent_with(tmp_path / "socket", sshd.identity), connect(sshd, encrypted) as transport:
            assert list(transport.run(["echo", "in"])) == ["in"]

    def test_identities_that_cannot_be_read(self, sshd: LoopbackSshd, tmp_path: Path) -> None:
        garbage = tmp_path / "garbage"
        garbage.write_text("no key")
        expected = {
            tmp_path / "missing": "cannot be read: No such file",
            tmp_path: "cannot be read: Is a directory",
            garbage: "holds no private key",
            sshd.identity.with_suffix(".pub"): "holds no private key",
        }
        for path, message in expected.items():
            with pytest.raises(AuthenticationError, match=message), connect(sshd, path):
                pass

    def test_a_failed_login_leaves_no_thread(self, sshd: LoopbackSshd, tmp_path: Path) -> None:

        with pytest.raises(AuthenticationError):
            SshTransport.connect(sshd.address, known_hosts=sshd.known_hosts)
        assert wait_until(
            lambda: not any(isinstance(thread, paramiko.Transport) for thread in threading.enumerate()), 30
        )


class TestFilesAndPrograms:
    def test_where_the_root_lies(self, sshd: LoopbackSshd, tmp_path: Path) -> None:
        with connect(sshd) as transport:
            assert list(transport.run(["pwd"])) == [str(sshd.home / ".cache" / "profiler-agent")]
        elsewhere = SshTransport.connect(
            sshd.address, identity=sshd.identity, known_hosts=sshd.known_hosts, root=str(tmp_path / "new")
        )
        with closing(elsewhere) as transport:
            assert list(transport.run(["pwd"])) == [str(tmp_path / "new")]

    @pytest.mark.parametrize("sftp", ["/nonexistent", "echo 'a greeting from .bashrc'"])
    def test_no_sftp(self, tmp_path: Path, sftp: str) -> None:
        server = sshd_or_skip(tmp_path / "sshd", sftp=sftp)
        with server, pytest.raises(TransportError, match="could not offer SFTP"), connect(server):
            pass

    def test_mute_sftp(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        # The login, which may be slow, keeps its usual time.
        monkeypatch.setattr(ssh, "log_in", lambda route, _timeout_s: ssh_login.log_in(route))
        server = sshd_or_skip(tmp_path / "sshd", sftp="sleep 5")
        keys = server.identity, server.known_hosts
        with server, pytest.raises(UnreachableError, match="stopped answering when it should offer SFTP"):
            SshTransport.connect(server.address, identity=keys[0], known_hosts=keys[1], timeout_s=0.5)

    def test_a_home_folder_whose_name_commands_the_terminal(self, tmp_path: Path) -> None:
        odd = tmp_path / "\033[31mhome"
        odd.mkdir()
        server = sshd_or_skip(tmp_path / "sshd", sftp=f"internal-sftp -d {odd}")
        with server, pytest.raises(TransportError, match=r"calls its home folder .*, which is no path") as caught:
            SshTransport.connect(server.address, identity=server.identity, known_hosts=server.known_hosts)
        assert "\033" not in str(caught.value)

    def test_the_device_refuses_to_write(self, sshd: LoopbackSshd, tmp_path: Path) -> None:
        (tmp_path / "source").write_text("text")
        with connect(sshd) as transport:
            transport.send({"file": tmp_path / "source"})
            with pytest.raises(TransportError, match=r"could not write .*/file/below"):
                transport.send({"file/below": tmp_path / "source"})

    def test_a_full_disk(self, sshd: LoopbackSshd, tmp_path: Path) -> None:
        (tmp_path / "large").write_bytes(bytes(3_000_000))
        (tmp_path / "small").write_bytes(bytes(1000))
        with _small_disk(tmp_path / "disk") as disk:
            connected = SshTransport.connect(
                sshd.address, identity=sshd.identity, known_hosts=sshd.known_hosts, root=str(disk / "root")
            )
            with closing(connected) as transport:
                with pytest.raises(TransportError, match=r"disk of ssh://.* is full: large needs 3000000 bytes"):
                    transport.send({"large": tmp_path / "large"})
                assert list((disk / "root").iterdir()) == []
                assert transport.send({"small": tmp_path / "small"}) == 1000

    def test_a_server_that_never_starts_the_program(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(ssh, "ANSWER_S", 0.3)
        identity = make_key(tmp_path / "identity")
        known = tmp_path / "known"
        with _reluctant_server(make_key(tmp_path / "host"), known) as address:
            connected = SshTransport.connect(address, identity=identity, known_hosts=known, root="/")
            with closing(connected) as transport:
                began_s = time.monotonic()
                with pytest.raises(UnreachableError, match="stopped answering when it should run echo"):
                    list(transport.run(["echo"]))
                assert time.monotonic() - began_s < 5

    def test_a_lost_link_is_noticed_at_both_ends(self, tmp_path: Path) -> None:
        with sshd_or_skip(tmp_path / "sshd") as server, connect(server) as transport:
            lines = transport.run(["sh", "-c", "echo $$; sleep 100"])
            process_id = int(next(lines))
            server.drop_connections()
            with pytest.raises(UnreachableError, match=r"connection .* was lost while sh ran"):
                next(lines)
            assert wait_until(lambda: not is_running(process_id), 3)
            with pytest.raises(UnreachableError, match=r"connection .* was lost"):
                transport.exists("file")
            with pytest.raises(UnreachableError, match=r"connection .* was lost"):
                list(transport.run(["echo"]))


@contextmanager
def _greeting(listener: socket.socket, greeting: bytes) -> Iterator[None]:
    """Let a server say one thing and hold the line."""

    links: list[socket.socket] = []

    def serve() -> None:
        links.append(listener.accept()[0])
        links[0].sendall(greeting)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield
    finally:
        thread.join()
        links[0].close()


class _Reluctant(paramiko.ServerInterface):
    """Lets everybody in, serves files, and never answers to a command."""

    def __init__(self, over: threading.Event) -> None:
        self._over = over

    def check_auth_publickey(self, username: str, key: paramiko.PKey) -> int:
        return paramiko.common.AUTH_SUCCESSFUL

    def get_allowed_auths(self, username: str) -> str:
        return "publickey"

    def check_channel_request(self, kind: str, chanid: int) -> int:
        return paramiko.common.OPEN_SUCCEEDED

    def check_channel_exec_request(self, channel: paramiko.Channel, command: bytes) -> bool:
        self._over.wait(30)
        return False


class _AnyFile(paramiko.SFTPServerInterface):
    def stat(self, path: str) -> paramiko.SFTPAttributes:
        return paramiko.SFTPAttributes()


@contextmanager
def _reluctant_server(host_key: Path, known_hosts: Path) -> Iterator[SshAddress]:
    over = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = SshAddress("pi", *listener.getsockname())
        known_hosts.write_text(f"{address.host_key_name} {host_key.with_suffix('.pub').read_text()}")
        servers: list[paramiko.Transport] = []

        def serve() -> None:
            servers.append(paramiko.Transport(listener.accept()[0]))
            servers[0].add_server_key(paramiko.PKey.from_path(host_key))
            servers[0].set_subsystem_handler("sftp", paramiko.SFTPServer, _AnyFile)
            servers[0].start_server(server=_Reluctant(over))

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield address
        finally:
            over.set()
            thread.join()
            servers[0].close()


@contextmanager
def _small_disk(folder: Path) -> Iterator[Path]:
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)], capture_output=True)
    if mounted.returncode != 0:
        pytest.skip("this user may not mount a small disk")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


class _EndingSoon(paramiko.Transport):
    """A connection whose end is known to the thread that reads it a little later than to the one that writes."""

    def __init__(self) -> None:
        threading.Thread.__init__(self, daemon=True)

    def run(self) -> None:
        time.sleep(0.2)

    def is_active(self) -> bool:
        return self.is_alive()


@pytest.mark.parametrize("failure", [EOFError(), OSError("Socket is closed"), ConnectionResetError(104, "reset")])
def test_a_connection_that_is_just_ending_is_lost_and_no_refusal(failure: Exception) -> None:
    connection = _EndingSoon()
    connection.start()
    with (
        pytest.raises(UnreachableError, match=r"the connection to board was lost when it should write agent\.py"),
        explained(connection, "board", "write agent.py"),
    ):
        raise failure
