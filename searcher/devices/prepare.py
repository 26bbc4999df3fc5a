"""The Python that measures on a device, made ready: the agent, and the runtime where the device does not have it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from searcher.artifacts import cache_folder
from searcher.devices.deploy import DevicePython, deploy_agent, deploy_packages
from searcher.devices.device import DEPLOY, SYSTEM, Device, local_root
from searcher.devices.local import LocalTransport
from searcher.devices.runtime_packages import MODULES, NUMPY, RuntimePackages, packages_of
from searcher.devices.survey import DeviceSystem, PythonUnfitError, survey
from searcher.devices.transport import RemoteProgramError, Transport, printable
from searcher.devices.wheels import NoWheelsError, WheelCache, wheel_tags
from searcher.errors import SearcherError

# The host's environment cannot hold it: it needs another numpy than the exporters.
_NEVER_OF_THE_HOST = "tflite-runtime"


@dataclass(frozen=True)
class PythonSetup:
    """Which Python measures, and where its runtime comes from.

    Attributes:
        interpreter: the Python program on the device.
        runtime_from: `deploy` or `system`.
        versions: of runtimes that are brought, by identifier; others are the newest that fit.
    """

    interpreter: str
    runtime_from: str = SYSTEM
    versions: Mapping[str, str] = field(default_factory=dict)


def python_setup(device: Device, runtime: str, versions: Mapping[str, str] | None = None) -> PythonSetup:
    """Return what measures on a device, as its user means it.

    Without the user's word the runtime is brought to devices that are reached over SSH, unless the user names the
    Python there, which then is taken for one with a runtime. This machine's own Python has the exporters' runtimes, but
    never tflite-runtime.

    Args:
        device: as the user names it.
        runtime: identifier or family.
        versions: of runtimes, by identifier, that the measuring is to agree with; others are the newest that fit.
    """
    lacking = not device.is_local or runtime == _NEVER_OF_THE_HOST
    usual = DEPLOY if lacking and device.python is None else SYSTEM
    runtime_from = device.runtime_from or device.profile.python.runtime_from or usual
    return PythonSetup(device.interpreter, runtime_from, versions or {})


def prepare_python(transport: Transport, setup: PythonSetup, runtime: str) -> DevicePython:
    """Make sure that agent and runtime lie on a device.

    Args:
        transport: the way to the device.
        setup: the Python there, and where its runtime comes from.
        runtime: identifier or family; of a family the newest is brought that works there.

    Raises:
        PythonUnfitError: that Python is missing, too old, or has no runtime and none can be brought.
        NoWheelsError: wheels cannot be had.
        BadInputError: no runtime has that name.
        UnreachableError: the link was lost.
        TransportError: the device refuses something.
    """
    choices = packages_of(runtime)
    system = survey(transport, setup.interpreter, MODULES)
    agent = DevicePython(setup.interpreter, (deploy_agent(transport, setup.interpreter),))
    if setup.runtime_from == SYSTEM:
        _require_runtime(system, choices, setup.interpreter, transport.description)
        return agent
    tags = wheel_tags(system, transport.description)
    refusals: list[SearcherError] = []
    for choice in choices:
        try:
            requirements = choice.requirements(setup.versions.get(choice.runtime))
            there = _with_packages(transport, agent, requirements, tags)
            if len(choices) > 1:
                _require_working(transport, there, choice)
            return there
        except (NoWheelsError, PythonUnfitError) as e:
            refusals.append(e)
    if len(refusals) == 1:
        raise refusals[0]
    raise NoWheelsError("; ".join(map(str, refusals))) from refusals[-1]


def _require_runtime(system: DeviceSystem, choices: tuple[RuntimePackages, ...], interpreter: str, device: str) -> None:
    if NUMPY in system.modules and any(choice.module in system.modules for choice in choices):
        return
    missing = NUMPY if NUMPY not in system.modules else " or ".join(choice.distribution for choice in choices)
    raise PythonUnfitError(
        f"{interpreter} on {device} has no {missing}: install it there, or let --runtime-from deploy bring the runtime"
    )


def _with_packages(
    transport: Transport, agent: DevicePython, requirements: tuple[str, ...], tags: list[str]
) -> DevicePython:
    cache = WheelCache(cache_folder() / "wheels")
    wheels = {wheel.sha256: cache.path(wheel) for wheel in cache.wheels(requirements, tags)}
    return DevicePython(agent.interpreter, (*agent.path, *deploy_packages(transport, agent.interpreter, wheels)))


def _require_working(transport: Transport, python: DevicePython, choice: RuntimePackages) -> None:
    """Let the agent make an interpreter: a runtime that can be imported may still not work."""
    try:
        for _ in python.run_agent(transport, ("info", "--runtime", choice.runtime)):
            pass
    except RemoteProgramError as e:
        said = printable(e.standard_error).strip().splitlines()
        reason = said[-1].removeprefix("agent: ") if said else str(e)
        raise PythonUnfitError(f"{choice.runtime} does not work on {transport.description}: {reason}") from e


def local_variables(runtime: str) -> dict[str, str]:
    """Return the environment variables with which this very Python has the agent and a runtime, brought if need be.

    Raises:
        SearcherError: the runtime cannot be brought.
    """
    setup = python_setup(Device(), runtime)
    python = prepare_python(LocalTransport(local_root()), setup, runtime)
    return {"PYTHONPATH": ":".join(str(local_root() / folder) for folder in python.path)}
