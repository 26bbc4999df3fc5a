"""Which device a user means, and the way to it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from searcher.artifacts import cache_folder
from searcher.devices.local import LocalTransport
from searcher.devices.profile import Cluster, DeviceProfile, find_profile, read_profile
from searcher.devices.ssh import SshTransport
from searcher.devices.ssh_address import names_port, parse_address
from searcher.devices.ssh_login import introduce
from searcher.devices.ssh_route import Route, SshConfiguration, with_choices
from searcher.devices.transport import Transport
from searcher.errors import BadInputError

LOCAL = "local"
_SSH = "ssh://"
SOURCES = DEPLOY, SYSTEM = "deploy", "system"


class ChoiceError(BadInputError):
    """What the user says of a device, beside its name, cannot be used.

    Attributes:
        key: what it is, as a fleet's file calls it: `identity`, `known_hosts`, `ssh_config` or `profile`.
        problem: what is wrong, without the name of an option.
    """

    def __init__(self, key: str, problem: str, sentence: str) -> None:
        super().__init__(sentence)
        self.key = key
        self.problem = problem


@dataclass(frozen=True)
class Device:
    """A device as the user names it.

    Attributes:
        name: `local`, `ssh://user@host:port`, the name of a profile, or the path of one that ends in `.toml`.
        python: the Python on the device; None means the profile's, else `python3` there, and this very Python on the
            local device.
        identity: a private key file, instead of ssh-agent and the user's default keys.
        known_hosts: instead of the user's own known_hosts file.
        runtime_from: `deploy` where the runtime is brought, `system` where the device's Python has it; None for the
            profile's word, else what is usual (`prepare.python_setup` tells).
        profile_name: the profile of a device whose name is an address or `local`.
        ssh_config: instead of the user's own SSH configuration.
        accept_new_host_key: whether keys of servers that were never met are accepted and written down.
        cluster: the processors to pin to, by their speed, instead of the profile's.
    """

    name: str = LOCAL
    python: str | None = None
    identity: Path | None = None
    known_hosts: Path | None = None
    runtime_from: str | None = None
    profile_name: str | None = None
    ssh_config: Path | None = None
    accept_new_host_key: bool = False
    cluster: Cluster | None = None

    def __post_init__(self) -> None:
        """Find the profile; refuse a name that says no way to a device, and files that cannot be read.

        Raises:
            BadInputError: the name is none of a device, its profile cannot be used, a word is unknown, or a file that
                the user names is missing.
        """
        if self.runtime_from not in (None, *SOURCES):
            raise BadInputError(f"--runtime-from takes {' or '.join(SOURCES)}, not {self.runtime_from!r}")
        if self.profile_name is not None and self.name != LOCAL and not self.name.startswith(_SSH):
            find_profile(self.name)
            raise BadInputError(
                f"the device {self.name} is a profile: --profile goes with ssh://user@host:port or local"
            )
        for field, file in (("identity", self.identity), ("ssh_config", self.ssh_config)):
            if file is not None:
                _require_readable(field, file)
        # The first key of all makes the file.
        if self.known_hosts is not None and (self.known_hosts.exists() or not self.accept_new_host_key):
            _require_readable("known_hosts", self.known_hosts)
        # Read at once: what cannot be used is told before any work.
        _ = self.profile
        if not self.is_local:
            self.route()

    @cached_property
    def profile(self) -> DeviceProfile:
        """What is known of the device.

        Raises:
            BadInputError: there is no such profile, or it cannot be used.
        """
        if self.profile_name is not None:
            try:
                return read_profile(find_profile(self.profile_name, "profile"))
            except BadInputError as e:
                raise ChoiceError("profile", str(e), str(e)) from e
        return DeviceProfile() if self.name.startswith(_SSH) else read_profile(find_profile(self.name))

    @property
    def is_local(self) -> bool:
        """Whether this is the very machine."""
        return self.name == LOCAL or (not self.name.startswith(_SSH) and self.profile.reach.way == LOCAL)

    @property
    def interpreter(self) -> str:
        """The Python program to run on the device."""
        return self.python or self.profile.python.interpreter or (sys.executable if self.is_local else "python3")

    @property
    def wanted_cluster(self) -> Cluster:
        """The processors to pin to, unless the user names them by number."""
        return self.cluster or self.profile.measure.cluster

    def route(self) -> Route:
        """Return the servers on the way to a device that is reached over SSH.

        Raises:
            BadInputError: the address or the SSH configuration cannot be used.
        """
        if self.name.startswith(_SSH):
            address, port_given = parse_address(self.name), names_port(self.name)
        else:
            address, port_given = self.profile.reach.ssh_address(), self.profile.reach.port is not None
        route = SshConfiguration(self.ssh_config).route_to(address, port_given)
        return with_choices(route, self.identity, self.known_hosts)


def _require_readable(field: str, file: Path) -> None:
    """Open a file for a moment: better refused now than after minutes of exporting."""
    try:
        file.open("rb").close()
    except OSError as e:
        problem = f"{file} cannot be read: {e.strerror or e}"
        raise ChoiceError(field, problem, f"--{field.replace('_', '-')} {problem}") from e


def local_root() -> Path:
    """Return the working root of the local device."""
    return cache_folder() / "device"


Connect = Callable[[Device], Transport]


def connect(device: Device) -> Transport:
    """Open the way to a device; the caller closes it. Host keys are verified, new ones refused: see `meet`.

    Raises:
        TransportError: it cannot be reached, or its host key is unknown or has changed.
    """
    if device.is_local:
        return LocalTransport(local_root())
    return SshTransport.through(device.route())


def meet(device: Device) -> Iterator[str]:
    """Accept the host keys of servers that were never met, if the user wants that; every later way there is strict.

    Yields:
        A sentence for each key when it is accepted, whatever becomes of the login then.

    Raises:
        TransportError: a server cannot be reached, or shows a key that is not the one of before.
    """
    if device.accept_new_host_key and not device.is_local:
        yield from introduce(device.route())
