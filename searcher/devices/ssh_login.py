"""Opening a verified, authenticated SSH connection; each way it can fail ends in one sentence that says what to do.

Only keys are used, never a password: from a given file and ssh-agent, or from ssh-agent and the SSH configuration's
or the usual files.
"""

from __future__ import annotations

import contextlib
import getpass
import logging
import os
import socket
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import paramiko
from cryptography.exceptions import UnsupportedAlgorithm

from searcher.devices.host_keys import KnownKeys, known_keys
from searcher.devices.ssh_address import SshAddress
from searcher.devices.ssh_route import Hop, Route
from searcher.devices.transport import AuthenticationError, UnreachableError, printable, start_thread

# How often a server is asked whether it is there, and how long its answer may take: a dead link, or a server that
# hangs while its kernel still acknowledges, is noticed within their sum.
KEEP_ALIVE_S = 15.0
ANSWER_S = 45.0

# A link over which nothing is acknowledged for this long is given up, instead of after the kernel's 15 minutes.
LINK_TIMEOUT_S = 60

# The longest wait for each step of connecting, unless the SSH configuration says otherwise.
TIMEOUT_S = 10.0

# What paramiko raises when a connection fails or a server answers with nonsense.
LINK_FAILURES = (paramiko.SSHException, paramiko.SFTPError, OSError, EOFError)

_DEFAULT_KEYS = ("id_ed25519", "id_ecdsa", "id_rsa")

# paramiko logs each failure a second time, with a traceback; without a handler that would reach standard error.
logging.getLogger("paramiko").addHandler(logging.NullHandler())


def log_in(route: Route, timeout_s: float = TIMEOUT_S) -> tuple[paramiko.Transport, ...]:
    """Connect to a server by way of others, verify each one's host key, and log in with keys.

    Args:
        route: the servers in the order in which they are met.
        timeout_s: the longest wait for each step, in seconds.

    Returns:
        The connections to close, in the route's order; the last one leads to the route's end.

    Raises:
        UnreachableError: nothing that speaks SSH answers at one of the servers.
        HostKeyError: a server's key is unknown, revoked or changed.
        AuthenticationError: a key cannot be read, or a server accepts none.
    """
    with contextlib.ExitStack() as unfinished:
        connections: list[paramiko.Transport] = []
        for hop in route:
            known = _known(hop, may_lack=not hop.known_hosts_demanded)
            connection = _agreed(hop, known, connections, timeout_s, unfinished)
            known.verify(connection.get_remote_server_key())
            _KeyLogin(connection, hop, _user(hop.address)).attempt()
            connections.append(connection)
        unfinished.pop_all()
    last = connections[-1]
    start_thread(lambda: _watch(last))
    return tuple(connections)


def introduce(route: Route, timeout_s: float = TIMEOUT_S) -> Iterator[str]:
    """Meet the servers of a route for the first time: keys of those that are not known are accepted and written down.

    Args:
        route: the servers in the order in which they are met.
        timeout_s: the longest wait for each step, in seconds.

    Yields:
        A sentence for each key as soon as it is written down: the login that follows may fail.

    Raises:
        TransportError: as for `log_in`; keys that are not those of before are refused here too.
    """
    with contextlib.ExitStack() as unfinished:
        connections: list[paramiko.Transport] = []
        for hop in route:
            known = _known(hop, may_lack=True)
            connection = _agreed(hop, known, connections, timeout_s, unfinished)
            sentence = known.remember(connection.get_remote_server_key())
            if sentence is not None:
                yield sentence
            _KeyLogin(connection, hop, _user(hop.address)).attempt()
            connections.append(connection)


def _known(hop: Hop, *, may_lack: bool) -> KnownKeys:
    return known_keys(hop.address, hop.known_hosts, hop.key_name, may_lack=may_lack)


def _agreed(
    hop: Hop,
    known: KnownKeys,
    before: Sequence[paramiko.Transport],
    timeout_s: float,
    unfinished: contextlib.ExitStack,
) -> paramiko.Transport:
    """Connect to a server, through those before it, and let it prove that it owns the host key that it shows."""
    wait_s = hop.timeout_s or timeout_s
    link = _tunnel(before[-1], hop, wait_s) if before else _dial(hop.address, wait_s)
    connection = paramiko.Transport(link)
    unfinished.callback(connection.close)
    _agree(connection, known, wait_s)
    return connection


def _watch(connection: paramiko.Transport) -> None:
    """Close a connection whose server stops answering; ends with the connection."""
    while True:
        connection.join(KEEP_ALIVE_S)
        if not connection.is_alive():
            return
        impatience = threading.Timer(ANSWER_S, connection.close)
        impatience.daemon = True
        impatience.start()
        # A server that knows no such request says so, which is an answer too.
        with contextlib.suppress(*LINK_FAILURES):
            connection.global_request("keepalive@openssh.com", wait=True)
        impatience.cancel()


def _user(address: SshAddress) -> str:
    """Return who logs in: the user that the address names, else the local one."""
    if address.user is not None:
        return address.user
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


def _tunnel(through: paramiko.Transport, hop: Hop, timeout_s: float) -> paramiko.Channel:
    target = (hop.address.host, hop.address.port)
    try:
        return through.open_channel("direct-tcpip", target, ("127.0.0.1", 0), timeout=timeout_s)
    except LINK_FAILURES as e:
        raise UnreachableError(f"{hop.address} cannot be reached through the jump host: {printable(str(e))}") from e


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
        raise UnreachableError(f"{known.address} and this machine share no SSH algorithm: {printable(str(e))}") from e
    except LINK_FAILURES as e:
        raise UnreachableError(
            f"what listens at {known.address} does not answer as an SSH server: {printable(str(e))}"
        ) from e


class _KeyLogin:
    """One login with all keys there are, remembering what became of each."""

    def __init__(self, connection: paramiko.Transport, hop: Hop, user: str) -> None:
        self._connection = connection
        self._hop = hop
        self._user = user
        self._tried: list[str] = []

    def attempt(self) -> None:
        """Offer the keys one by one until the server is content.

        Raises:
            AuthenticationError: the identity cannot be read, or no key is accepted.
        """
        agent = _agent()
        try:
            for label, key in self._keys(agent.get_keys() if agent else ()):
                if self._accepts(label, key):
                    return
        finally:
            if agent:
                agent.close()
        raise self._refused("; ".join(self._tried) or "there is no key in ssh-agent nor in ~/.ssh")

    def _keys(self, agent_keys: tuple[paramiko.AgentKey, ...]) -> Iterator[tuple[str, paramiko.PKey]]:
        identity = self._hop.identity
        if identity is not None:
            # An encrypted file is no obstacle when ssh-agent, which may hold its key, has something to offer.
            key = self._load(identity, must_load=not agent_keys)
            if key is not None:
                yield f"the key {identity}", key
        chosen = _public_keys(self._hop.identities) if self._hop.only_identities else None
        for agent_key in agent_keys:
            if chosen is None or agent_key.get_base64() in chosen:
                yield f"ssh-agent's key {printable(agent_key.comment) or agent_key.fingerprint}", agent_key
        usual = tuple(Path(os.path.expanduser("~/.ssh")) / name for name in _DEFAULT_KEYS)
        for path in (self._hop.identities or usual) if identity is None else ():
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
        return AuthenticationError(f"{self._hop.address} does not let the user {self._user!r} in: {reason}")


def _public_keys(identities: tuple[Path, ...]) -> set[str]:
    """Return the public halves of key files, in base64, as far as they lie beside them."""
    found = set()
    for path in identities:
        with contextlib.suppress(OSError, IndexError):
            found.add(Path(f"{path}.pub").read_text(encoding="utf-8", errors="replace").split()[1])
    return found


def _agent() -> paramiko.Agent | None:
    try:
        return paramiko.Agent()
    except (paramiko.SSHException, OSError):
        # A stale socket, or something else behind it: the same as no agent.
        return None
