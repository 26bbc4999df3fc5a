"""Strict verification of SSH servers against a known_hosts file, with errors that say what to do.

paramiko's own reader stops at `@cert-authority` lines, keeps one key of a kind for a host and asks the server
for one kind only, so that good servers look changed; only its parser of single lines is used here.
"""

from __future__ import annotations

import os
import re
import shlex
from dataclasses import dataclass
from pathlib import Path

import paramiko
from paramiko.hostkeys import HostKeyEntry, HostKeys, InvalidHostKey

from searcher.devices.ssh_address import DEFAULT_PORT, SshAddress
from searcher.devices.transport import HostKeyError

_RSA_SIGNATURES = ("rsa-sha2-512", "rsa-sha2-256")


@dataclass(frozen=True)
class KnownKeys:
    """What a known_hosts file says about one server.

    Attributes:
        address: the server.
        file: the known_hosts file; it need not exist.
        trusted: the keys that the server may show.
        revoked: the keys that it must never show.
    """

    address: SshAddress
    file: Path
    trusted: tuple[paramiko.PKey, ...]
    revoked: tuple[paramiko.PKey, ...]

    def preferred(self, offered: tuple[str, ...]) -> list[str]:
        """Order signature algorithms so that the server shows a key of a known kind if it has one."""
        kinds = {key.get_name() for key in self.trusted}
        if "ssh-rsa" in kinds:
            kinds.update(_RSA_SIGNATURES)
        return sorted(offered, key=lambda algorithm: algorithm not in kinds)

    def verify(self, key: paramiko.PKey) -> None:
        """Accept the key that the server proved to own, or refuse it.

        Raises:
            HostKeyError: the key is unknown, revoked, or not the one that the file has for this server.
        """
        if key in self.revoked:
            raise HostKeyError(
                f"{self.address} shows a host key that {self.file} marks as revoked ({_named(key)}): do not connect"
            )
        if not self.trusted:
            raise HostKeyError(self._unknown(key))
        if key not in self.trusted:
            raise HostKeyError(self._changed(key))

    def _unknown(self, key: paramiko.PKey) -> str:
        port = "" if self.address.port == DEFAULT_PORT else f"-p {self.address.port} "
        scan = f"ssh-keyscan {port}{shlex.quote(self.address.host)} >> {shlex.quote(str(self.file))}"
        return (
            f"the host key of {self.address} is unknown ({_named(key)}): compare the fingerprint with that on the"
            f" device (ssh-keygen -lf on its /etc/ssh/ssh_host_*_key.pub), then add it with: {scan}"
        )

    def _changed(self, key: paramiko.PKey) -> str:
        expected = " or ".join(_named(known) for known in self.trusted)
        remove = f"ssh-keygen -f {shlex.quote(str(self.file))} -R {shlex.quote(self.address.host_key_name)}"
        return (
            f"THE HOST KEY OF {self.address} HAS CHANGED, which may be an attack on the connection: expected"
            f" {expected} from {self.file}, got {_named(key)}; nothing was sent; only if you know why it changed,"
            f" remove the old one with: {remove}"
        )


def known_keys(address: SshAddress, file: Path | None) -> KnownKeys:
    """Read what a known_hosts file (`~/.ssh/known_hosts` unless given) says about a server.

    Lines that cannot be read are passed over: a key that is not understood is not trusted.

    Raises:
        HostKeyError: the file was named but cannot be read, or it exists and may not be read.
    """
    path = file or Path(os.path.expanduser("~/.ssh/known_hosts"))
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except FileNotFoundError as e:
        if file is not None:
            raise HostKeyError(f"the known_hosts file {path} does not exist") from e
        lines = []
    except OSError as e:
        raise HostKeyError(f"the known_hosts file {path} cannot be read: {e.strerror}") from e
    keys: dict[str, list[paramiko.PKey]] = {"": [], "@revoked": []}
    for line in lines:
        marker, entry = _parsed(line)
        if entry is not None and marker in keys and _names_match(entry.hostnames, address.host_key_name):
            keys[marker].append(entry.key)
    return KnownKeys(address, path, tuple(keys[""]), tuple(keys["@revoked"]))


def _parsed(line: str) -> tuple[str, HostKeyEntry | None]:
    fields = line.split()
    marker = fields.pop(0) if fields and fields[0].startswith("@") else ""
    if not fields or fields[0].startswith("#"):
        return marker, None
    try:
        return marker, HostKeyEntry.from_line(" ".join(fields))
    except (InvalidHostKey, paramiko.SSHException, ValueError):
        return marker, None


def _names_match(names: list[str], wanted: str) -> bool:
    matched = False
    for name in names:
        if name.startswith("!") and _pattern(name[1:]).fullmatch(wanted):
            return False
        if name.startswith("|1|"):
            matched = matched or _hash_matches(name, wanted)
        else:
            matched = matched or _pattern(name).fullmatch(wanted) is not None
    return matched


def _hash_matches(hashed: str, wanted: str) -> bool:
    try:
        return HostKeys.hash_host(wanted, hashed) == hashed
    except (ValueError, IndexError, AssertionError):
        # A mangled salt: the line names no host at all.
        return False


def _pattern(name: str) -> re.Pattern[str]:
    escaped = re.escape(name.lower())
    return re.compile(escaped.replace(r"\*", ".*").replace(r"\?", "."))


def _named(key: paramiko.PKey) -> str:
    return f"{key.get_name()} {key.fingerprint}"
