"""Which device a user means, and the way to it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from searcher.artifacts import cache_folder
from searcher.devices.local import LocalTransport
from searcher.devices.ssh import SshTransport
from searcher.devices.ssh_address import parse_address
from searcher.devices.transport import Transport
from searcher.errors import BadInputError

LOCAL = "local"
SOURCES = DEPLOY, SYSTEM = "deploy", "system"


@dataclass(frozen=True)
class Device:
    """A device as the user names it.

    Attributes:
        name: `local` or `ssh://user@host:port`.
        python: the Python on the device; None means `python3` there, and this very Python on the local device.
        identity: a private key file, instead of ssh-agent and the user's default keys.
        known_hosts: instead of the user's own known_hosts file.
        runtime_from: `deploy` where the runtime is brought, `system` where the device's Python has it; None for what is
            usual (`prepare.python_setup` tells).
    """

    name: str = LOCAL
    python: str | None = None
    identity: Path | None = None
    known_hosts: Path | None = None
    runtime_from: str | None = None

    def __post_init__(self) -> None:
        """Refuse a name that no transport understands, and files that cannot be read.

        Raises:
            BadInputError: the name is neither `local` nor an SSH address, a word is unknown, or a file that the user
                names is missing.
        """
        if self.runtime_from not in (None, *SOURCES):
            raise BadInputError(f"--runtime-from takes {' or '.join(SOURCES)}, not {self.runtime_from!r}")
        if self.name != LOCAL and not self.name.startswith("ssh://"):
            raise BadInputError(f"unknown device {self.name!r}: give {LOCAL} or ssh://user@host:port")
        if self.name != LOCAL:
            parse_address(self.name)
        for option, file in (("--identity", self.identity), ("--known-hosts", self.known_hosts)):
            if file is not None:
                _require_readable(option, file)

    @property
    def interpreter(self) -> str:
        """The Python program to run on the device."""
        return self.python or (sys.executable if self.name == LOCAL else "python3")


def _require_readable(option: str, file: Path) -> None:
    """Open a file for a moment: better refused now than after minutes of exporting."""
    try:
        file.open("rb").close()
    except OSError as e:
        raise BadInputError(f"{option} {file} cannot be read: {e.strerror or e}") from e


def local_root() -> Path:
    """Return the working root of the local device."""
    return cache_folder() / "device"


Connect = Callable[[Device], Transport]


def connect(device: Device) -> Transport:
    """Open the way to a device; the caller closes it.

    Raises:
        TransportError: it cannot be reached, or its host key is unknown or has changed.
    """
    if device.name == LOCAL:
        return LocalTransport(local_root())
    address = parse_address(device.name)
    return SshTransport.connect(address, identity=device.identity, known_hosts=device.known_hosts)
