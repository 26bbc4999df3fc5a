"""Strict verification of SSH servers against a known_hosts file, with errors that say what to do.

paramiko's own reader stops at `@cert-authority` lines, keeps one key of a kind for a host and asks the server
for one kind only, so that good servers look changed; only its parser of single lines is used here.
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import paramiko
from paramiko.hostkeys import HostKeyEntry, HostKeys, InvalidHostKey

from searcher.devices.ssh_address import DEFAULT_PORT, SshAddress
from searcher.devices.transport import HostKeyError

_RSA_SIGNATURES = ("rsa-sha2-512", "rsa-sha2-256")


@dataclass(frozen=True)
class KnownKeys:
    """What known_hosts files say about one server.

    Attributes:
        address: the server.
        name: what the files call it.
        file: the first known_hosts file, where new keys go; it need not exist.
        trusted: the keys that the server may show.
        revoked: the keys that it must never show.
    """

    address: SshAddress
    name: str
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

    def remember(self, key: paramiko.PKey) -> str | None:
        """Write the key of a server that was never met into the file; every other key is judged by `verify`.

        The line is appended in one write and synced, so that no other line is ever lost; the name in it is hashed if
        the file's other names are.

        Returns:
            A sentence that tells the key's fingerprint; None where the key was known.

        Raises:
            HostKeyError: the file cannot be written, or `verify` refuses the key.
        """
        if self.trusted or key in self.revoked:
            self.verify(key)
            return None
        try:
            self.file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = os.open(self.file, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
            with open(descriptor, "r+b", buffering=0) as file:
                present = file.readall() or b""
                file.write(self._line(key, present))
                os.fsync(descriptor)
        except OSError as e:
            raise HostKeyError(f"the new host key cannot be written to {self.file}: {e.strerror or e}") from e
        return f"accepted the new host key of {self.address} ({_named(key)}) and wrote it to {self.file}"

    def _line(self, key: paramiko.PKey, present: bytes) -> bytes:
        hashed = any(line.startswith(b"|1|") for line in present.splitlines())
        name = HostKeys.hash_host(self.name) if hashed else self.name
        gap = "" if not present or present.endswith(b"\n") else "\n"
        return f"{gap}{name} {key.get_name()} {key.get_base64()}\n".encode()

    def _unknown(self, key: paramiko.PKey) -> str:
        port = "" if self.address.port == DEFAULT_PORT else f"-p {self.address.port} "
        scan = f"ssh-keyscan {port}{shlex.quote(self.address.host)} >> {shlex.quote(str(self.file))}"
        return (
            f"the host key of {self.address} is unknown ({_named(key)}): compare the fingerprint with that on the"
            " device (ssh-keygen -lf on its /etc/ssh/ssh_host_*_key.pub), then connect once with --accept-new-host-key,"
            f" or add it with: {scan}"
        )

    def _changed(self, key: paramiko.PKey) -> str:
        expected = " or ".join(_named(known) for known in self.trusted)
        remove = f"ssh-keygen -f {shlex.quote(str(self.file))} -R {shlex.quote(self.name)}"
        return (
            f"THE HOST KEY OF {self.address} HAS CHANGED, which may be an attack on the connection: expected"
            f" {expected} from {self.file}, got {_named(key)}; nothing was sent; only if you know why it changed,"
            f" remove the old one with: {remove}"
        )


def known_keys(
    address: SshAddress, files: Path | Sequence[Path] | None, name: str | None = None, *, may_lack: bool = False
) -> KnownKeys:
    """Read what known_hosts files (`~/.ssh/known_hosts` unless given) say about a server.

    Lines that cannot be read are passed over: a key that is not understood is not trusted.

    Args:
        address: the server.
        files: one file or several.
        name: what they call the server, where that is not its address.
        may_lack: whether files that were named need not exist.

    Raises:
        HostKeyError: a file was named but does not exist, or it exists and may not be read.
    """
    named = [files] if isinstance(files, Path) else list(files or ())
    paths = named or [Path(os.path.expanduser("~/.ssh/known_hosts"))]
    wanted = name or address.host_key_name
    keys: dict[str, list[paramiko.PKey]] = {"": [], "@revoked": []}
    for path in paths:
        for line in _known_lines(path, may_lack=may_lack or not named):
            marker, entry = _parsed(line)
            if entry is not None and marker in keys and _names_match(entry.hostnames, wanted):
                keys[marker].append(entry.key)
    return KnownKeys(address, wanted, paths[0], tuple(keys[""]), tuple(keys["@revoked"]))


def _known_lines(path: Path, *, may_lack: bool) -> list[str]:
    try:
        return path.read_text(encoding="utf-8", errors="replace").splitlines()
    except FileNotFoundError as e:
        if may_lack:
            return []
        raise HostKeyError(f"the known_hosts file {path} does not exist") from e
    except OSError as e:
        raise HostKeyError(f"the known_hosts file {path} cannot be read: {e.strerror}") from e


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
