"""Addresses of devices that are reached over SSH: `ssh://user@host:port`."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from urllib.parse import SplitResult, quote, unquote, urlsplit

from searcher.errors import BadInputError

DEFAULT_PORT = 22

_HOST_NAME = re.compile(r"\w[\w.-]*")


@dataclass(frozen=True)
class SshAddress:
    """Where an SSH server listens and who logs in there.

    Attributes:
        user: the name on the device; None means the local user's name.
        host: a name or a numeric address, without brackets, in lower case.
        port: the TCP port.
    """

    user: str | None
    host: str
    port: int = DEFAULT_PORT

    def __str__(self) -> str:
        login = f"{quote(self.user)}@" if self.user is not None else ""
        # In a URL the "%" before an IPv6 zone is itself escaped (RFC 6874).
        host = f"[{self.host.replace('%', '%25')}]" if ":" in self.host else self.host
        return f"ssh://{login}{host}:{self.port}"

    @property
    def host_key_name(self) -> str:
        """Return what known_hosts files call this server: the port is named unless it is 22."""
        return self.host if self.port == DEFAULT_PORT else f"[{self.host}]:{self.port}"


def parse_address(text: str) -> SshAddress:
    """Read `ssh://[user@]host[:port]`; an IPv6 address stands in brackets.

    Raises:
        BadInputError: the text is anything else; passwords and paths are refused, as are odd names.
    """
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError as e:
        raise _bad(text, str(e)) from e
    # urlsplit drops tabs and line ends silently.
    if not text.isprintable() or " " in text:
        raise _bad(text, "it holds white space or control characters")
    if parts.scheme != "ssh":
        raise _bad(text, "it must begin with ssh://")
    if parts.path not in ("", "/") or "?" in text or "#" in text:
        raise _bad(text, "nothing may follow the host and the port")
    if port == 0 or parts.netloc.endswith(":"):
        raise _bad(text, "the port must be a number from 1 to 65535")
    return SshAddress(_user(text, parts), _host(text, parts), port or DEFAULT_PORT)


def names_port(text: str) -> bool:
    """Say whether a valid address names its port; else that of the SSH configuration counts."""
    return urlsplit(text).port is not None


def _user(text: str, parts: SplitResult) -> str | None:
    if parts.password is not None:
        raise _bad(text, "a password does not belong in an address; use a key")
    if parts.username is None:
        return None
    user = unquote(parts.username)
    if not user or user.startswith("-") or "@" in parts.username or not user.isprintable():
        raise _bad(text, "the user's name is missing or odd")
    return user


def _host(text: str, parts: SplitResult) -> str:
    host = parts.hostname or ""
    if "[" in parts.netloc:
        host = host.replace("%25", "%")
        try:
            ipaddress.IPv6Address(host)
        except ValueError as e:
            raise _bad(text, "what stands in brackets is no IPv6 address") from e
    elif not host:
        raise _bad(text, "the host is missing")
    elif not _HOST_NAME.fullmatch(host):
        raise _bad(text, "the host's name holds characters that no host name has")
    return host


def _bad(text: str, reason: str) -> BadInputError:
    # A password must not reach the terminal or a log by way of the complaint about it.
    shown = re.sub(r"://.*@", "://…@", text)
    return BadInputError(f"{shown!r} is no address of the form ssh://user@host:port: {reason}")
