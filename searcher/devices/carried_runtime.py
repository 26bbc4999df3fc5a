"""The runtime for a device that nobody can ask: chosen by what its user says of it, unpacked here, carried there."""

from __future__ import annotations

import re
import zipfile
from pathlib import Path

from searcher.artifacts import cache_folder
from searcher.devices.runtime_packages import packages_of
from searcher.devices.survey import OLDEST, DeviceSystem
from searcher.devices.wheels import NoWheelsError, WheelCache, wheel_tags
from searcher.errors import BadInputError

# Those for which runtimes publish wheels.
MACHINES = ("aarch64", "x86_64")


def described(python_version: str, machine: str, glibc: str) -> DeviceSystem:
    """Return a device's Python as its user describes it: CPython on 64-bit Linux with glibc.

    Args:
        python_version: such as `3.11`; further numbers do not matter.
        machine: architecture, as `uname -m` tells it.
        glibc: version of its C library, or an older one, as `ldd --version` tells it.

    Raises:
        BadInputError: no runtime can be carried to such a device, or a word is none.
    """
    numbers = re.fullmatch(r"(\d{1,3})\.(\d{1,3})(\.\d{1,3})?", python_version)
    if numbers is None:
        raise BadInputError(f"--python-version takes a version such as 3.11, not {python_version!r}")
    version = (int(numbers[1]), int(numbers[2]), 0)
    if version < OLDEST:
        raise BadInputError(f"the agent needs Python 3.8 or newer, and --python-version is {python_version}")
    if machine not in MACHINES:
        raise BadInputError(f"--machine takes {' or '.join(MACHINES)}, for which there are runtimes, not {machine!r}")
    if not re.fullmatch(r"2\.\d{1,2}", glibc):
        raise BadInputError(f"--glibc takes a version such as 2.31, not {glibc!r}")
    return DeviceSystem(version, "cpython", "", "Linux", machine, 64, "glibc", glibc, frozenset())


def unpack_runtime(runtime: str, system: DeviceSystem, folder: Path) -> tuple[str, ...]:
    """Unpack a runtime, and numpy, into one folder that belongs on `PYTHONPATH` there.

    Args:
        runtime: identifier or family; of a family the newest that has wheels for such a device.
        system: the device's Python.
        folder: is made.

    Returns:
        The names of the wheels, the runtime's first.

    Raises:
        NoWheelsError: wheels cannot be had.
        PythonUnfitError: there are none for such a device.
        BadInputError: no runtime has that name.
        OSError: the folder cannot be written.
    """
    tags = wheel_tags(system, "the device")
    cache = WheelCache(cache_folder() / "wheels")
    refusals: list[NoWheelsError] = []
    for choice in packages_of(runtime):
        try:
            wheels = cache.wheels(choice.requirements(None), tags)
        except NoWheelsError as e:
            refusals.append(e)
            continue
        for wheel in wheels:
            with zipfile.ZipFile(cache.path(wheel)) as archive:
                archive.extractall(folder)
        return tuple(wheel.name for wheel in wheels)
    raise NoWheelsError("; ".join(map(str, refusals))) from refusals[-1]
