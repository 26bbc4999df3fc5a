"""A device before it measures: met for the first time if need be, and its processors chosen."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace

from profiler_agent.records import Settings
from searcher.devices.clusters import cluster_processors
from searcher.devices.deploy import DevicePython, deploy_agent
from searcher.devices.device import Connect, Device, connect, meet
from searcher.devices.inquiry import DeviceInfo, ask_info
from searcher.workflows.progress import Progress, Work

_STAGE = "reach the device"


def meet_device(device: Device) -> Work[None]:
    """Accept new host keys, if the user wants that, and say which.

    Raises:
        TransportError: a server cannot be reached, or its key has changed.
    """
    for sentence in meet(device):
        yield Progress(_STAGE, 1, 1, sentence)


def prepare_device(device: Device, settings: Settings, connect: Connect = connect) -> Work[Settings]:
    """Return settings that pin to the processors that the device's profile or the user wants.

    The device is asked only where there is something to choose.

    Args:
        device: as the user names it.
        settings: as the user gives them; processors that they name are left as they are.
        connect: opens the way to the device.

    Raises:
        TransportError: the device cannot be reached, or the agent does not run there.
        BadInputError: the device does not tell which processors those are.
    """
    yield from meet_device(device)
    if settings.affinity is not None or device.wanted_cluster == "all":
        return settings
    environment = ask_device(device, connect).environment
    processors = cluster_processors(device.wanted_cluster, environment)
    if processors is None:
        note = f"all processors: the device tells of no cluster that is its {device.wanted_cluster} alone"
    else:
        note = f"pinned to the {device.wanted_cluster} cluster, processors {','.join(map(str, processors))}"
    yield Progress(_STAGE, 1, 1, note)
    return replace(settings, affinity=processors)


def ask_device(device: Device, connect: Connect = connect) -> DeviceInfo:
    """Ask a device what it is, which takes no runtime there.

    Raises:
        TransportError: the device cannot be reached, or the agent does not run there.
    """
    with closing(connect(device)) as transport:
        python = DevicePython(device.interpreter, (deploy_agent(transport, device.interpreter),))
        return ask_info(transport, python, runtimes=False)
