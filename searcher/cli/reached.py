"""The options that say how a device is reached, alike in all commands that measure."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from searcher.cli import options
from searcher.devices.device import Device
from searcher.devices.profile import Cluster


@dataclass(frozen=True)
class Reached:
    """How a device is reached; the attributes are those of `Device`."""

    profile_name: str | None = None
    python: str | None = None
    runtime_from: str | None = None
    identity: Path | None = None
    known_hosts: Path | None = None
    ssh_config: Path | None = None
    accept_new_host_key: bool = False

    def device(self, name: str, cluster: Cluster | None = None) -> Device:
        """Return the device of that name, reached so.

        Raises:
            BadInputError: as `Device` says.
        """
        return Device(name, cluster=cluster, **vars(self))


AS_USUAL = Reached()


def reaches_devices(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options in the place of its parameter `reached`, whose type is `Reached`."""
    signature = inspect.signature(command, eval_str=True)

    @functools.wraps(command)
    def with_options(**given: Any) -> None:
        own = {name: given.pop(name) for name in signature.parameters if name in given}
        command(**own, reached=_reached(**given))

    parameters: list[inspect.Parameter] = []
    for parameter in signature.parameters.values():
        parameters += _OPTIONS if parameter.annotation is Reached else [parameter]
    with_options.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    return with_options


def _reached(
    profile: options.ProfileName = None,
    python: options.Python = None,
    runtime_from: options.RuntimeFrom = None,
    identity: options.Identity = None,
    known_hosts: options.KnownHosts = None,
    ssh_config: options.SshConfig = None,
    accept_new_host_key: options.AcceptNewHostKey = False,
) -> Reached:
    return Reached(profile, python, runtime_from, identity, known_hosts, ssh_config, accept_new_host_key)


_OPTIONS = tuple(inspect.signature(_reached, eval_str=True).parameters.values())
NAMES = tuple(option.name for option in _OPTIONS)
"""Of the options, as parameters of a command."""
