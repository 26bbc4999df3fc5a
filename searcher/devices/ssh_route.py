"""The way to an SSH server as the user's SSH configuration describes it: aliases, keys, and servers in between.

OpenSSH's file `~/.ssh/config`, what it includes, and nothing of the whole system's. Host keys are always verified,
whatever the file says of that.
"""

from __future__ import annotations

import glob
import os
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import paramiko
from paramiko.ssh_exception import ConfigParseError, CouldNotCanonicalize

from searcher.devices.ssh_address import DEFAULT_PORT, SshAddress, names_port, parse_address
from searcher.errors import BadInputError

_DEEPEST = 8
_INCLUDE = re.compile(r"\s*include(?:\s+|\s*=\s*)(.+)", re.IGNORECASE)
_HOST = re.compile(r"\s*host\b", re.IGNORECASE)
_BLOCK = re.compile(r"\s*(host|match)\b", re.IGNORECASE)
# paramiko takes criteria that it does not know for met, and runs the commands of `exec`.
_CRITERIA = re.compile(
    r"\s*match(\s+(!?(host|originalhost|user|localuser)\s+\S+|canonical|final|all))+\s*", re.IGNORECASE
)


@dataclass(frozen=True)
class Hop:
    """One SSH server on the way to a device, which is the last of them.

    Attributes:
        address: where it listens, seen from the server before it.
        key_name: what known_hosts files call it; None for the usual name.
        known_hosts: the files; empty for `~/.ssh/known_hosts`.
        known_hosts_demanded: whether they must exist, as one that the user names on the command line.
        identity: a key that the user demands; it must be readable.
        identities: keys to try beside ssh-agent's; empty for the usual ones.
        only_identities: whether ssh-agent's other keys are left out.
        timeout_s: the longest wait for each step of connecting; None for the usual one.
    """

    address: SshAddress
    key_name: str | None = None
    known_hosts: tuple[Path, ...] = ()
    known_hosts_demanded: bool = False
    identity: Path | None = None
    identities: tuple[Path, ...] = ()
    only_identities: bool = False
    timeout_s: float | None = None


Route = tuple[Hop, ...]


class SshConfiguration:
    """What an OpenSSH configuration file says.

    Args:
        file: None for the one that `$PROFILER_SSH_CONFIG` names, else `~/.ssh/config` if it is there.

    Raises:
        BadInputError: the file cannot be read or understood.
    """

    def __init__(self, file: Path | None = None) -> None:
        named = file or (Path(named) if (named := os.environ.get("PROFILER_SSH_CONFIG")) else None)
        self._file = named or Path(os.path.expanduser("~/.ssh/config"))
        lines = _lines(self._file, 0) if named is not None or self._file.exists() else iter(())
        try:
            self._config = paramiko.SSHConfig.from_text("\n".join(lines))
        except ConfigParseError as e:
            raise self._bad(str(e)) from e

    def route_to(self, address: SshAddress, port_given: bool) -> Route:
        """Return the servers on the way to one, and itself at the end.

        Args:
            address: of the server; its host may be an alias of the file.
            port_given: whether the user named the port; else the file may.

        Raises:
            BadInputError: the file's words for it cannot be followed.
        """
        return self._route(address, port_given, 0)

    def _route(self, address: SshAddress, port_given: bool, depth: int) -> Route:
        if depth > _DEEPEST:
            raise self._bad(f"the way to {address.host} goes through more than {_DEEPEST} servers, or in a circle")
        told = self._told(address.host)
        jumps = _words(told.get("proxyjump", ""))
        if not jumps and told.get("proxycommand") is not None:
            raise self._bad(f"it reaches {address.host} by a ProxyCommand; only ProxyJump is followed")
        route: Route = ()
        if jumps and jumps[0].lower() != "none":
            first, *others = (_jump(text) for text in ",".join(jumps).split(","))
            # `Host *` with a ProxyJump means the jump host too, which is not reached through itself.
            if first[0].host != address.host:
                # Only the first may have servers before itself: the others are reached through the ones before them.
                route = self._route(*first, depth + 1)
                route += tuple(self._hop(*one, self._told(one[0].host)) for one in others)
        return (*route, self._hop(address, port_given, told))

    def _told(self, host: str) -> dict[str, Any]:
        try:
            return dict(self._config.lookup(host))
        except (ConfigParseError, CouldNotCanonicalize, ValueError, KeyError) as e:
            raise self._bad(f"what it says of {host} cannot be followed ({e})") from e

    def _hop(self, address: SshAddress, port_given: bool, told: dict[str, Any]) -> Hop:
        try:
            port = address.port if port_given else int(told.get("port", DEFAULT_PORT))
            timeout_s = float(told["connecttimeout"]) if "connecttimeout" in told else None
        except ValueError as e:
            raise self._bad(f"a number of {address.host} is none ({e})") from e
        if not 0 < port < 2**16 or (timeout_s is not None and timeout_s <= 0):
            raise self._bad(f"port or time-out of {address.host} is out of range")
        identities = [name for name in told.get("identityfile", ()) if name.lower() != "none"]
        user = address.user if address.user is not None else told.get("user")
        return Hop(
            address=SshAddress(user, told["hostname"].lower(), port),
            key_name=told.get("hostkeyalias"),
            known_hosts=tuple(_home(name) for name in _words(told.get("userknownhostsfile", ""))),
            identities=tuple(_home(name) for name in identities),
            only_identities=told.get("identitiesonly", "no").lower() == "yes",
            timeout_s=timeout_s,
        )

    def _bad(self, reason: str) -> BadInputError:
        return BadInputError(f"the SSH configuration {self._file} cannot be used: {reason}")


def with_choices(route: Route, identity: Path | None, known_hosts: Path | None) -> Route:
    """Return a route with what the user chose beside the file.

    Args:
        route: as the file describes it.
        identity: the key for the last server.
        known_hosts: the file of all servers' host keys.
    """
    if known_hosts is not None:
        route = tuple(replace(hop, known_hosts=(known_hosts,), known_hosts_demanded=True) for hop in route)
    return (*route[:-1], replace(route[-1], identity=identity))


def _jump(text: str) -> tuple[SshAddress, bool]:
    url = text if text.startswith("ssh://") else f"ssh://{text}"
    return parse_address(url), names_port(url)


def _home(name: str) -> Path:
    return Path(os.devnull) if name.lower() == "none" else Path(os.path.expanduser(name))


def _words(text: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError as e:
        raise BadInputError(f"the SSH configuration holds an open quotation: {text!r}") from e


def _lines(file: Path, depth: int) -> Iterator[str]:
    """Yield the lines of a file and of those that it includes, which paramiko leaves out."""
    if depth > _DEEPEST:
        raise BadInputError(f"the SSH configuration {file} is included within itself")
    try:
        lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError as e:
        raise BadInputError(f"the SSH configuration {file} cannot be read: {e.strerror or e}") from e
    block = "Host *"
    for line in lines:
        if _BLOCK.match(line) and line.strip().lower().startswith("match") and not _CRITERIA.fullmatch(line):
            raise BadInputError(f"the SSH configuration {file} cannot be followed where it says {line.strip()!r}")
        included = _INCLUDE.fullmatch(line)
        if included is None:
            # Addresses come in lower case.
            line = line.lower() if _HOST.match(line) else line
            block = line if _BLOCK.match(line) else block
            yield line
            continue
        for pattern in _words(included.group(1)):
            for path in sorted(glob.glob(os.path.join(os.path.expanduser("~/.ssh"), os.path.expanduser(pattern)))):
                yield from _lines(Path(path), depth + 1)
        # What follows belongs to the block that the included file may have ended.
        yield block
