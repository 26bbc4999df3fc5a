"""The way to a device over SSH: files by SFTP, programs by commands that end when the connection does."""

from __future__ import annotations

import contextlib
import shlex
from collections.abc import Generator, Mapping, Sequence
from pathlib import Path

import paramiko

from searcher.devices import transport
from searcher.devices.sftp import DeviceFiles, answered, explained, was_lost
from searcher.devices.ssh_address import SshAddress, parse_address
from searcher.devices.ssh_login import ANSWER_S, LINK_FAILURES, TIMEOUT_S, log_in
from searcher.devices.ssh_route import Hop, Route
from searcher.devices.transport import (
    CHUNK_BYTES,
    NO_VARIABLES,
    AuthenticationError,
    ErrorTail,
    HostKeyError,
    RemoteProgramError,
    UnreachableError,
    check_program,
    split_lines,
    start_thread,
)

__all__ = [
    "AuthenticationError",
    "HostKeyError",
    "SshAddress",
    "SshTransport",
    "UnreachableError",
    "parse_address",
    "remote_command",
]

_ROOT = ".cache/profiler-agent"

# What paramiko reports for a command that was killed, shell and all, or whose end was never told.
_NO_STATUS = -1

# An SSH server does not end a command whose channel is closed or whose connection is lost: it only closes the
# command's standard input. So a watcher feeds the program its input from there and goes on reading; when the
# stream ends before the program does, the host is gone, and the watcher ends the whole process group. While it
# waits it takes no processor time. When the program ends first, the watcher is ended with the rest of the group;
# the shells keep quiet about that, as standard error belongs to the program. A signal may be lost while a shell
# sets a subshell up, so the program starts only when the watcher says that it is there.
# POSIX sh for dash, bash and busybox; it holds no ' and no backslash, in which login shells differ.
# Positional: the folder, the number of bytes of input, the grace in seconds, the program and its arguments.
_RUN_AND_WATCH = """
cd -- "$1" || exit 125
if ! kill -0 "-$$" 2>/dev/null; then
  echo "this SSH server starts commands without a process group of their own" >&2
  exit 125
fi
size=$2 grace=$3
shift 3
trap : TERM
exec 3>&2 2>/dev/null
{
  exec 3>&-
  echo ready
  head -c "$size"
  exec >/dev/null
  cat
  trap : TERM
  kill -TERM "-$$"
  sleep "$grace"
  kill -KILL "-$$"
} | {
  trap : TERM
  read -r ready
  "$@" 2>&3 3>&-
  status=$?
  kill -TERM "-$$"
  exit "$status"
}
"""


def remote_command(
    root: str,
    arguments: Sequence[str],
    input_bytes: int,
    environment: Mapping[str, str] = NO_VARIABLES,
    grace_s: float = transport.GRACE_S,
) -> str:
    """Return the command line that runs a program on a device and ends it when its standard input ends early.

    The command reads `input_bytes` bytes from standard input for the program, and expects it to stay open then.
    It must be started as the leader of a process group, as OpenSSH does.

    Raises:
        TransportError: the arguments or variables cannot be passed.
    """
    check_program(arguments, environment)
    # Servers drop most variables that a client sends; `env` is there everywhere.
    variables = [f"{name}={value}" for name, value in environment.items()]
    program = ["env", *variables, *arguments] if variables else list(arguments)
    settings = [root, str(input_bytes), f"{grace_s:g}"]
    return "exec " + shlex.join(["sh", "-c", _RUN_AND_WATCH, "run-and-watch", *settings, *program])


class SshTransport:
    """Runs programs on a device over one SSH connection, below a folder there; fits `Transport`.

    Args:
        connections: those on the way, which are closed with this; the last one leads to the device.
        address: of the device.
        files: below the folder, over the last connection.
    """

    def __init__(self, connections: Sequence[paramiko.Transport], address: SshAddress, files: DeviceFiles) -> None:
        self._connections = tuple(connections)
        self._connection = connections[-1]
        self._address = address
        self._files = files

    @classmethod
    def connect(
        cls,
        address: SshAddress,
        *,
        identity: Path | None = None,
        known_hosts: Path | None = None,
        root: str = _ROOT,
        timeout_s: float = TIMEOUT_S,
    ) -> SshTransport:
        """Log in to a device with a key, without looking into the user's SSH configuration; see `through`.

        Args:
            address: the server and the user.
            identity: a private key file; without one, ssh-agent and `~/.ssh` are asked.
            known_hosts: the file of host keys; `~/.ssh/known_hosts` unless given.
            root: the working root on the device.
            timeout_s: the longest wait for each step.
        """
        files = () if known_hosts is None else (known_hosts,)
        return cls.through(
            (Hop(address, known_hosts=files, known_hosts_demanded=True, identity=identity),),
            root=root,
            timeout_s=timeout_s,
        )

    @classmethod
    def through(cls, route: Route, *, root: str = _ROOT, timeout_s: float = TIMEOUT_S) -> SshTransport:
        """Log in to the last of several servers by way of the others, with keys, every host key verified.

        Args:
            route: the servers; the last one is the device.
            root: the working root on the device, relative to the user's home folder there, or absolute.
            timeout_s: the longest wait for each step of connecting and for each answer of SFTP, in seconds.

        Raises:
            UnreachableError: nothing that speaks SSH answers at one of them.
            HostKeyError: a server's key is unknown, revoked or changed.
            AuthenticationError: a key cannot be read, or a server accepts none.
            TransportError: the device offers no SFTP.
        """
        connections = log_in(route, timeout_s)
        address = route[-1].address
        try:
            files = DeviceFiles(connections[-1], str(address), root, timeout_s)
        except BaseException:
            _close(connections)
            raise
        return cls(connections, address, files)

    @property
    def description(self) -> str:
        """Return `ssh://user@host:port`."""
        return str(self._address)

    def exists(self, path: str) -> bool:
        """Say whether a file or folder is there; see `Transport.exists`."""
        return self._files.exists(path)

    def send(self, files: Mapping[str, Path]) -> int:
        """Put files below the root and return the bytes sent; see `Transport.send`."""
        return self._files.send(files)

    def run(
        self,
        arguments: Sequence[str],
        standard_input: bytes = b"",
        environment: Mapping[str, str] = NO_VARIABLES,
    ) -> Generator[str, None, None]:
        """Run a program and yield its lines; see `Transport.run`."""
        root = str(self._files.root)
        command = remote_command(root, arguments, len(standard_input), environment, transport.GRACE_S)
        self._files.make_root()
        with self._start(command, arguments[0]) as channel:
            start_thread(lambda: _feed(channel, standard_input))
            errors = ErrorTail(lambda: channel.recv_stderr(CHUNK_BYTES))
            yield from split_lines(lambda: channel.recv(CHUNK_BYTES))
            status = channel.recv_exit_status()
            if status == _NO_STATUS and was_lost(self._connection):
                raise UnreachableError(f"the connection to {self.description} was lost while {arguments[0]} ran there")
            if status != 0:
                raise RemoteProgramError(arguments[0], self.description, status, errors.text())

    def _start(self, command: str, program: str) -> paramiko.Channel:
        with explained(self._connection, self.description, f"run {program}"):
            channel = self._connection.open_session()
            with answered(channel, ANSWER_S):
                channel.exec_command(command.encode("utf-8", errors="surrogateescape"))
            return channel

    def close(self) -> None:
        """Close the connection; programs that still run over it are ended by the device."""
        _close(self._connections)


def _close(connections: Sequence[paramiko.Transport]) -> None:
    for connection in reversed(connections):
        connection.close()


def _feed(channel: paramiko.Channel, data: bytes) -> None:
    # A program may end before it has read everything; whether that is an error, its exit status tells.
    with contextlib.suppress(*LINK_FAILURES):
        for start in range(0, len(data), CHUNK_BYTES):
            channel.sendall(data[start : start + CHUNK_BYTES])
