"""What works on a device, told line by line: the way there, Python, runtimes, clusters, sensors, room, the doctor."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass

from searcher.devices.clusters import cluster_processors
from searcher.devices.deploy import DevicePython, deploy_agent
from searcher.devices.device import DEPLOY, Connect, Device, connect, meet
from searcher.devices.inquiry import DeviceInfo, ask_doctor, ask_info
from searcher.devices.prepare import prepare_python, python_setup
from searcher.devices.survey import PythonUnfitError
from searcher.devices.transport import (
    AuthenticationError,
    HostKeyError,
    RemoteProgramError,
    Transport,
    TransportError,
    printable,
    whole_answer,
)
from searcher.devices.wheels import NoWheelsError
from searcher.errors import BadInputError

OK, NOTE, FAILS = "ok", "note", "fails"
_OLDEST = (3, 8)
_TELL_VERSION = "import sys; print('.'.join(map(str, sys.version_info[:3])))"
_NOT_FOUND = 127
# The agent, a runtime and the models of a large space.
_ROOM_BYTES = 300_000_000
# What the doctor says where nothing disturbs; else something does, or cannot be told.
_QUIET = "ok"


@dataclass(frozen=True)
class Check:
    """One line of the report: what was looked at; `ok`, `note` or `fails`; a sentence."""

    check: str
    verdict: str
    sentence: str


def check_device(device: Device, connect: Connect = connect) -> Iterator[Check]:
    """Go to a device and tell what works there, until something fails without which nothing else can.

    Args:
        device: as the user names it.
        connect: opens the way to the device.

    Yields:
        Checks as they are made; a device of which none fails can measure.

    Raises:
        BadInputError: the user's files cannot be used.
    """
    host_key = "the one that is known"
    try:
        for sentence in meet(device):
            yield Check("host key", NOTE, sentence)
            host_key = "accepted just now, and the one that counts from here on"
        transport = connect(device)
    except TransportError as e:
        yield from _not_reached(e, host_key)
        return
    with closing(transport):
        yield Check("reachable", OK, transport.description)
        if not device.is_local:
            yield Check("host key", OK, host_key)
            yield Check("login", OK, "with a key")
        try:
            yield from _examined(transport, device)
        except TransportError as e:
            yield Check("agent", FAILS, str(e))


def _not_reached(error: TransportError, host_key: str) -> Iterator[Check]:
    """Tell how far the way went; `host_key` says what became of the server's key if it went that far."""
    if isinstance(error, HostKeyError | AuthenticationError):
        yield Check("reachable", OK, "an SSH server answers")
    if isinstance(error, AuthenticationError):
        yield Check("host key", OK, host_key)
    stages = {HostKeyError: "host key", AuthenticationError: "login"}
    yield Check(stages.get(type(error), "reachable"), FAILS, str(error))


def _examined(transport: Transport, device: Device) -> Iterator[Check]:
    runtime = device.profile.measure.runtime
    setup = python_setup(device, runtime)
    python = _python(transport, setup.interpreter)
    yield python
    if python.verdict == FAILS:
        return
    there = DevicePython(setup.interpreter, (deploy_agent(transport, setup.interpreter),))
    try:
        there = prepare_python(transport, setup, runtime)
    except (NoWheelsError, PythonUnfitError) as e:
        # The rest of the report holds all the same.
        yield Check("runtime", FAILS, str(e))
    info = ask_info(transport, there)
    yield Check("agent", OK, printable(f"runs there; the device is {info.device_fingerprint}"))
    yield from _runtimes(info, device)
    yield from _clusters(info, device)
    yield from _sensors(info, device)
    yield _room(info)
    for finding in ask_doctor(transport, there):
        remedy = f" (mend it with: {finding.remedy})" if finding.remedy else ""
        verdict = OK if finding.verdict == _QUIET else NOTE
        yield Check(printable(f"doctor: {finding.check}"), verdict, printable(finding.sentence + remedy))


def _python(transport: Transport, interpreter: str) -> Check:
    try:
        lines = whole_answer(transport.run([interpreter, "-c", _TELL_VERSION]))
        told = printable(lines[-1])[:40] if lines else ""
        version = tuple(int(part) for part in told.split("."))
    except RemoteProgramError as e:
        reason = f"the device has no program {interpreter!r}" if e.program_status == _NOT_FOUND else str(e)
        return Check("python", FAILS, f"{reason}: name another with --python, or in the profile")
    except ValueError:
        return Check("python", FAILS, f"{interpreter!r} there is no Python: asked for its version, it said {told!r}")
    if version < _OLDEST:
        return Check("python", FAILS, f"{interpreter!r} there is {told}; the agent needs 3.8 or newer")
    return Check("python", OK, f"{interpreter!r} is {told}")


def _runtimes(info: DeviceInfo, device: Device) -> Iterator[Check]:
    wanted = device.profile.measure.runtime
    usable = [name for name in info.working_runtimes if wanted in (name, _family(name))]
    for name, sentence in info.runtimes.items():
        works = name in info.working_runtimes
        # What was to be brought for this very check, and does not work, is told in the device's words.
        waits = not works and (usable or wanted not in (name, _family(name))) and _is_brought(name, device)
        told = f"not there; where wheels fit, it is brought with --runtime {name}" if waits else sentence
        yield Check(printable(f"runtime {name}"), OK if works else NOTE, printable(told))
    if not usable:
        yield Check("runtime", FAILS, f"no runtime of {wanted} opens a session there")


def _is_brought(runtime: str, device: Device) -> bool:
    """Say whether a measurement with a runtime would bring it to the device."""
    return python_setup(device, runtime).runtime_from == DEPLOY


def _family(runtime: str) -> str:
    return "onnx" if runtime == "onnxruntime" else "tflite"


def _clusters(info: DeviceInfo, device: Device) -> Iterator[Check]:
    clusters, speeds_mhz = info.environment.machine.clusters, info.environment.state.max_frequencies_mhz
    told = [f"processors {text}" for text in clusters]
    if len(speeds_mhz) == len(clusters):
        told = [f"{text} up to {mhz:.0f} MHz" for text, mhz in zip(told, speeds_mhz, strict=True)]
    try:
        processors = cluster_processors(device.wanted_cluster, info.environment)
    except BadInputError as e:
        yield Check("clusters", FAILS, str(e))
        return
    pinned = "all processors" if processors is None else f"processors {','.join(map(str, processors))}"
    listed = "; ".join(told) or "the device tells of none"
    yield Check(
        "clusters", OK if clusters else NOTE, printable(f"{listed}; measured on {pinned} ({device.wanted_cluster})")
    )


def _sensors(info: DeviceInfo, device: Device) -> Iterator[Check]:
    for name in dict.fromkeys((*device.profile.measure.sensors, *info.sensors)):
        reading = info.sensors.get(name)
        if reading is not None:
            yield Check(printable(f"sensor {name}"), OK, printable(reading))
        elif name in device.profile.measure.sensors:
            yield Check(f"sensor {name}", NOTE, "tells nothing, though the profile expects it")
        else:
            yield Check(printable(f"sensor {name}"), NOTE, "tells nothing")


def _room(info: DeviceInfo) -> Check:
    free_bytes = info.disk_free_bytes
    if free_bytes is None:
        return Check("disk", NOTE, "the device does not tell how much room it has")
    verdict = OK if free_bytes >= _ROOM_BYTES else NOTE
    return Check("disk", verdict, f"{free_bytes / 1e6:.0f} MB are free where the agent lies")
