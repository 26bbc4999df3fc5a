"""Opening a verified, authenticated SSH connection; each way it can fail ends in one sentence that says what to do.

Only keys are used, never a password: from a given file and ssh-agent, or from ssh-agent and `~/.ssh`.
"""

from __future__ import annotations

import getpass
import logging
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import paramiko
from cryptography.exceptions import UnsupportedAlgorithm

from searcher.devices.host_keys import KnownKeys, known_keys
from searcher.devices.ssh_address import SshAddress
from searcher.devices.transport import AuthenticationError, UnreachableError, printable

KEEP_ALIVE_S = 15

# A link over which nothing is acknowledged for this long is given up, instead of after the kernel's 15 minutes.
LINK_TIMEOUT_S = 60

# What paramiko raises when a connection fails or a server answers with nonsense.
LINK_FAILURES = (paramiko.SSHException, paramiko.SFTPError, OSError, EOFError)

_DEFAULT_KEYS = ("id_ed25519", "id_ecdsa", "id_rsa")

# paramiko logs each failure a second time, with a traceback; without a handler that would reach standard error.
logging.getLogger("paramiko").addHandler(logging.NullHandler())


def log_in(
    address: SshAddress, identity: Path | None, known_hosts: Path | None, timeout_s: float
) -> paramiko.Transport:
    """Connect to a server, verify its host key, and log in with a key.

    Args:
        address: the server and the user.
        identity: a private key file; without one, the usual keys in `~/.ssh` are tried. ssh-agent's always are.
        known_hosts: the file of host keys; `~/.ssh/known_hosts` unless given.
        timeout_s: the longest wait for each step, in seconds.

    Raises:
        UnreachableError: nothing that speaks SSH answers there.
        HostKeyError: the server's key is unknown, revoked or changed.
        AuthenticationError: the key cannot be read, or the server accepts none.
    """
    known = known_keys(address, known_hosts)
    user = address.user or _local_user(address)
    connection = paramiko.Transport(_dial(address, timeout_s))
    try:
        _agree(connection, known, timeout_s)
        known.verify(connection.get_remote_server_key())
        _KeyLogin(connection, address, user).attempt(identity)
        connection.set_keepalive(KEEP_ALIVE_S)
    except BaseException:
        connection.close()
        raise
    return connection


def _local_user(address: SshAddress) -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError) as e:
        raise AuthenticationError(f"the local user has no name; name one: ssh://user@{address.host}") from e


def _dial(address: SshAddress, timeout_s: float) -> socket.socket:
    try:
        link = socket.create_connection((address.host, address.port), timeout_s)
    except (socket.gaierror, UnicodeError) as e:
        raise UnreachableError(f"the name {address.host!r} does not resolve to an address") from e
    except ConnectionRefusedError as e:
        raise UnreachableError(
            f"{address} refuses the connection: no SSH server listens on port {address.port} there"
        ) from e
    except TimeoutError as e:
        raise UnreachableError(
            f"{address} does not answer within {timeout_s:g} s; is it switched on and on this network?"
        ) from e
    except OSError as e:
        raise UnreachableError(f"{address} cannot be reached: {e.strerror or e}") from e
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        link.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, LINK_TIMEOUT_S * 1000)
    return link


def _agree(connection: paramiko.Transport, known: KnownKeys, timeout_s: float) -> None:
    """Exchange keys with the server, which proves that it owns the host key it shows."""
    connection.banner_timeout = timeout_s
    connection.handshake_timeout = timeout_s
    connection.auth_timeout = timeout_s
    connection.channel_timeout = timeout_s
    options = connection.get_security_options()
    options.key_types = known.preferred(tuple(options.key_types))
    try:
        connection.start_client(timeout=timeout_s)
        # start_client returns silently when its time is over; asking for the key then fails.
        connection.get_remote_server_key()
    except paramiko.ssh_exception.IncompatiblePeer as e:
        raise UnreachableError(f"{known.address} and this machine share no SSH algorithm: {e}") from e
    except LINK_FAILURES as e:
        raise UnreachableError(
            f"what listens at {known.address} does not answer as an SSH server: {printable(str(e))}"
        ) from e


class _KeyLogin:
    """One login with all keys there are, remembering what became of each."""

    def __init__(self, connection: paramiko.Transport, address: SshAddress, user: str) -> None:
        self._connection = connection
        self._address = address
        self._user = user
        self._tried: list[str] = []

    def attempt(self, identity: Path | None) -> None:
        """Offer the keys one by one until the server is content.

        Raises:
            AuthenticationError: the identity cannot be read, or no key is accepted.
        """
        agent = _agent()
        try:
            for label, key in self._keys(identity, agent.get_keys() if agent else ()):
                if self._accepts(label, key):
                    return
        finally:
            if agent:
                agent.close()
        raise self._refused("; ".join(self._tried) or "there is no key in ssh-agent nor in ~/.ssh")

    def _keys(
        self, identity: Path | None, agent_keys: tuple[paramiko.AgentKey, ...]
    ) -> Iterator[tuple[str, paramiko.PKey]]:
        if identity is not None:
            # An encrypted file is no obstacle when ssh-agent, which may hold its key, has something to offer.
            key = self._load(identity, must_load=not agent_keys)
            if key is not None:
                yield f"the key {identity}", key
        for agent_key in agent_keys:
            yield f"ssh-agent's key {printable(agent_key.comment) or agent_key.fingerprint}", agent_key
        for name in _DEFAULT_KEYS if identity is None else ():
            path = Path(os.path.expanduser("~/.ssh")) / name
            if path.exists() and (key := self._load(path, must_load=False)) is not None:
                yield f"the key {path}", key

    def _load(self, path: Path, *, must_load: bool) -> paramiko.PKey | None:
        try:
            return paramiko.PKey.from_path(path)
        except (TypeError, paramiko.PasswordRequiredException) as e:
            # cryptography's way to say that a password is missing.
            reason = f"the key {path} is encrypted; hand it to ssh-agent with: ssh-add {path}"
            cause: Exception = e
        except OSError as e:
            reason, cause = f"the key {path} cannot be read: {e.strerror}", e
        except (ValueError, UnsupportedAlgorithm, paramiko.SSHException) as e:
            reason, cause = f"{path} holds no private key that can be used here", e
        except paramiko.pkey.UnknownKeyType as e:
            reason, cause = f"the key {path} is of a kind that cannot be used here", e
        if must_load:
            raise AuthenticationError(reason) from cause
        self._tried.append(reason)
        return None

    def _accepts(self, label: str, key: paramiko.PKey) -> bool:
        try:
            more = self._connection.auth_publickey(self._user, key)
        except paramiko.BadAuthenticationType as e:
            ways = ", ".join(map(printable, e.allowed_types)) or "nothing"
            raise self._refused(f"the server takes no keys, but {ways}") from e
        except LINK_FAILURES as e:
            if not self._connection.is_active():
                tried = "; ".join([*self._tried, f"{label} (the server then hung up)"])
                raise self._refused(tried) from e
            self._tried.append(f"{label} was refused")
            return False
        if more:
            ways = ", ".join(map(printable, more))
            raise self._refused(f"after {label} the server wants {ways} too")
        return True

    def _refused(self, reason: str) -> AuthenticationError:
        return AuthenticationError(f"{self._address} does not let the user {self._user!r} in: {reason}")


def _agent() -> paramiko.Agent | None:
    try:
        return paramiko.Agent()
    except (paramiko.SSHException, OSError):
        # A stale socket, or something else behind it: the same as no agent.
        return None
