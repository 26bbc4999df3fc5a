"""A real OpenSSH server on the loopback address, with keys, configuration and home folder of its own.

Benchmarks use it too, so it knows nothing of pytest; tests start it by way of sshd.py.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NoReturn, Self

from searcher.devices.ssh_address import SshAddress

_SEARCHED = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin", "/sbin"])
_START_TIMEOUT_S = 10

_CONFIGURATION = """
ListenAddress 127.0.0.1
Port {port}
HostKey {folder}/host_key
AuthorizedKeysFile {folder}/authorized_keys
PidFile none
UsePAM no
StrictModes no
UseDNS no
AuthenticationMethods publickey
PubkeyAuthentication yes
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin prohibit-password
PrintMotd no
MaxStartups 100
Subsystem sftp {sftp}
"""


class NoSshdError(Exception):
    """This machine has no OpenSSH server, or no program that makes keys."""


class LoopbackSshd:
    """Runs sshd while used as a context manager.

    Args:
        folder: where its files lie; made.
        sftp: the command that serves SFTP, instead of a sound one.
        user: who logs in, instead of the current user.
        first: lines of configuration that go before all others, which then do not count.

    Raises:
        NoSshdError: this machine has none.

    Attributes:
        address: where it listens, for the current user.
        identity: a private key file that it accepts.
        known_hosts: a file with its host key.
        home: the folder that relative SFTP paths, and so relative working roots, start from.
    """

    def __init__(self, folder: Path, *, sftp: str | None = None, user: str | None = None, first: str = "") -> None:
        self._program = shutil.which("sshd", path=_SEARCHED) or _no_sshd()
        if shutil.which("ssh-keygen") is None:
            _no_sshd()
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        self.home = folder / "home"
        self.home.mkdir(parents=True)
        self.identity = make_key(folder / "identity")
        self.known_hosts = folder / "known_hosts"
        self.address = SshAddress(user or pwd.getpwuid(os.getuid()).pw_name, "127.0.0.1", _free_port())
        shutil.copy(folder / "identity.pub", folder / "authorized_keys")
        own_sftp = f"internal-sftp -d {self.home}"
        self._configuration = folder / "sshd_config"
        self._configuration.write_text(
            first + _CONFIGURATION.format(port=self.address.port, folder=folder, sftp=sftp or own_sftp) + self._extra()
        )
        self.remember_host_key(make_key(folder / "host_key"))

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Start the server and wait until it answers."""
        self._process = subprocess.Popen(self._command())
        if not wait_until(self._answers, _START_TIMEOUT_S):
            self.stop()
            raise RuntimeError(f"sshd does not start: {(self._folder / 'sshd.log').read_text()}")

    def stop(self) -> None:
        """End the server, its connections and what they started, each by its process id."""
        if self._process is None:
            return
        started = _descendants(self._process.pid)
        self._process.terminate()
        self._process.wait()
        self._process = None
        for process_id in started:
            _kill(process_id)

    def drop_connections(self) -> None:
        """End the server's side of all connections at once, as a lost link does; their programs go on."""
        for process_id in self.connections():
            _kill(process_id)

    def connections(self) -> list[int]:
        """Return the server's processes for connections that are open."""
        descendants = [] if self._process is None else _descendants(self._process.pid)
        return [process_id for process_id in descendants if _name(process_id).startswith("sshd")]

    def change_host_key(self) -> None:
        """Restart with another host key, which `known_hosts` does not hold."""
        self.stop()
        make_key(self._folder / "host_key")
        self.start()

    def remember_host_key(self, host_key: Path) -> None:
        """Write the server's host key into `known_hosts`."""
        kind, key = host_key.with_suffix(".pub").read_text().split()[:2]
        self.known_hosts.write_text(f"{self.address.host_key_name} {kind} {key}\n")

    def _command(self) -> list[str]:
        return [self._program, "-D", "-f", str(self._configuration), "-E", str(self._folder / "sshd.log")]

    def _extra(self) -> str:
        # sshd as root insists on this folder, which only the system's own start-up script makes.
        if os.geteuid() == 0:
            Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
        # From OpenSSH 9.8 on, failed logins would lock the loopback address out; older ones know no such line.
        extra = "PerSourcePenalties no\n"
        check = [self._program, "-T", "-f", "/dev/null", "-o", extra.strip(), "-h", str(self.identity)]
        return extra if subprocess.run(check, capture_output=True).returncode == 0 else ""

    def _answers(self) -> bool:
        try:
            with socket.create_connection((self.address.host, self.address.port), 1) as link:
                return link.recv(4) == b"SSH-"
        except OSError:
            return False


def make_key(path: Path, *, passphrase: str = "", kind: str = "ed25519") -> Path:
    """Make a key pair at `path` and `path`.pub, over an earlier one."""
    path.unlink(missing_ok=True)
    command = ["ssh-keygen", "-q", "-t", kind, "-N", passphrase, "-C", "test", "-f", str(path)]
    subprocess.run(command, check=True)
    return path


@contextlib.contextmanager
def agent_with(path: Path, *keys: Path) -> Iterator[None]:
    """Run an ssh-agent that holds keys, at a socket that the environment names meanwhile."""
    agent = subprocess.Popen(["ssh-agent", "-D", "-a", str(path)], stdout=subprocess.DEVNULL)
    os.environ["SSH_AUTH_SOCK"] = str(path)
    try:
        if not wait_until(path.exists, _START_TIMEOUT_S):
            raise RuntimeError("ssh-agent does not start")
        subprocess.run(["ssh-add", "-q", *map(str, keys)], check=True)
        yield
    finally:
        del os.environ["SSH_AUTH_SOCK"]
        agent.terminate()
        agent.wait()


def wait_until(condition: Callable[[], bool], timeout_s: float) -> bool:
    """Say whether a condition becomes true in time."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def is_running(process_id: int) -> bool:
    """Say whether a process exists and is no zombie, which a container's first process may never collect."""
    try:
        state = Path(f"/proc/{process_id}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state not in "ZX"


def _no_sshd() -> NoReturn:
    raise NoSshdError("no sshd on this machine: install openssh-server and openssh-client")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def _descendants(ancestor: int) -> list[int]:
    children: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            parent = int(stat.read_text().rpartition(")")[2].split()[1])
            children.setdefault(parent, []).append(int(stat.parent.name))
    found: list[int] = []
    waiting = [ancestor]
    while waiting:
        waiting += (below := children.get(waiting.pop(), []))
        found += below
    return found


def _name(process_id: int) -> str:
    try:
        return Path(f"/proc/{process_id}/comm").read_text().strip()
    except OSError:
        return ""


def _kill(process_id: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(process_id, signal.SIGKILL)
