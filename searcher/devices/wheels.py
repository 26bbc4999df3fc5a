"""Wheels of a runtime for a device's Python, found and downloaded on the host with pip, and kept in the cache.

What was found is taken again for a day without asking, so that a shelf of boards gets one version and a second run
needs no network. Then pip is asked again; where it cannot be asked, what there is goes on being used.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from searcher.artifacts import replacing, sha256_of
from searcher.devices.survey import DeviceSystem, PythonUnfitError
from searcher.devices.transport import printable
from searcher.documents import Document
from searcher.errors import BadInputError, SearcherError

FRESH_S, _OFFLINE_S = 24 * 3600.0, 3600.0

_PIP_TIMEOUT_S = 900
_ONE_AT_A_TIME = threading.Lock()
_DIGITS = 16
# Nothing older is still published for Python 3.8. A device that claims more than there will be for long gets no more.
_OLDEST_GLIBC_MINOR, _NEWEST_GLIBC_MINOR = 17, 99
_SYSTEM = "--runtime-from system takes a runtime that you install there"


class NoWheelsError(SearcherError):
    """Wheels could not be had: nothing fits the device's Python, or the package index cannot be reached."""


@dataclass(frozen=True)
class Wheel:
    """A wheel on the host.

    Attributes:
        name: of the file.
        sha256: of its bytes.
    """

    name: str
    sha256: str

    def path(self, folder: Path) -> Path:
        """Return where it lies below a cache's folder of wheels."""
        return folder / self.sha256[:_DIGITS] / self.name


@dataclass(frozen=True)
class Resolution:
    """What pip found for a device's Python.

    Attributes:
        requirements: what it was asked for.
        good_until_unix_s: when it is to be asked again.
        wheels: what fits, one for each requirement.
    """

    requirements: tuple[str, ...]
    good_until_unix_s: float
    wheels: tuple[Wheel, ...]
    schema_version: int = 1


_DOCUMENT = Document(Resolution, "list of wheels", 1)


def wheel_tags(system: DeviceSystem, device: str) -> list[str]:
    """Return pip's options for wheels that run on a device's Python.

    Raises:
        PythonUnfitError: no runtime publishes wheels for its kind; the message says what to do.
    """
    _require_common(system, device)
    glibc_minors = range(_glibc_minor(system), _OLDEST_GLIBC_MINOR - 1, -1)
    platforms = [f"manylinux_2_{minor}_{system.machine}" for minor in glibc_minors]
    platforms.append(f"manylinux2014_{system.machine}")
    major, minor, _ = system.version
    abis = [f"cp{major}{minor}{system.abi_flags}", *(() if system.abi_flags else ("abi3",)), "none"]
    tags = ["--python-version", f"{major}.{minor}", "--implementation", "cp"]
    for option, values in (("--platform", platforms), ("--abi", abis)):
        tags += [argument for value in values for argument in (option, value)]
    return tags


def _require_common(system: DeviceSystem, device: str) -> None:
    """Refuse Pythons that no wheel is made for."""
    what = f"the Python {system.python} of {device}"
    if system.libc == "bionic":
        raise PythonUnfitError(f"{what} is Android's, for which there are no wheels of runtimes: {_SYSTEM} (with pkg)")
    if system.libc == "musl":
        raise PythonUnfitError(
            f"{what} stands on musl, for which there are no wheels of runtimes: use a system with glibc, or {_SYSTEM}"
        )
    if system.system != "Linux" or system.libc != "glibc":
        raise PythonUnfitError(f"{what} is not of Linux with glibc, for which runtimes are brought: {_SYSTEM}")
    if system.implementation != "cpython":
        raise PythonUnfitError(f"{what} is {system.implementation}, and wheels of runtimes are made for CPython")
    if system.pointer_bits != 64:
        raise PythonUnfitError(
            f"{what} is a 32-bit program, for which there are no wheels of runtimes: "
            f"install a 64-bit system there, or {_SYSTEM}"
        )
    if _glibc_minor(system) < _OLDEST_GLIBC_MINOR:
        raise PythonUnfitError(f"{what} stands on glibc {system.libc_version}, which is too old for every wheel")


def _glibc_minor(system: DeviceSystem) -> int:
    major, minor, *_ = (*system.libc_version.split("."), "")
    return min(int(minor), _NEWEST_GLIBC_MINOR) if major == "2" and minor.isdecimal() else 0


class WheelCache:
    """Wheels that were downloaded, by what they were asked for and the Pythons that they are for.

    Args:
        folder: where they lie.
        now_s: wall clock, in s.
    """

    def __init__(self, folder: Path, now_s: Callable[[], float] = time.time) -> None:
        self._folder = folder
        self._now_s = now_s

    def wheels(self, requirements: tuple[str, ...], tags: list[str]) -> list[Wheel]:
        """Return the newest wheels that fit, one for each requirement, in their order.

        Args:
            requirements: as pip takes them.
            tags: as `wheel_tags` tells them.

        Raises:
            NoWheelsError: nothing fits, or pip cannot reach its index and nothing was found earlier.
        """
        # What one board of a shelf has waited for is there for the others.
        with _ONE_AT_A_TIME:
            return self._wheels(requirements, tags)

    def _wheels(self, requirements: tuple[str, ...], tags: list[str]) -> list[Wheel]:
        known = self._known(self._document(requirements, tags))
        # A clock that was set back makes nothing good for ever.
        if known is not None and 0 < known.good_until_unix_s - self._now_s() <= FRESH_S:
            return list(known.wheels)
        good_for_s = FRESH_S
        try:
            found = self._download(requirements, tags)
        except OSError as e:
            raise NoWheelsError(f"cannot keep wheels in {self._folder}: {e.strerror or e}") from e
        except NoWheelsError:
            if known is None:
                raise
            # A network that is away takes a minute to be found away, which not every run shall wait for.
            found, good_for_s = list(known.wheels), _OFFLINE_S
        # What agrees later with a table of this version finds it, also without a network.
        for asked in (requirements, _of_this_version(requirements, found)):
            self._save(Resolution(asked, self._now_s() + good_for_s, tuple(found)), tags)
        return found

    def _document(self, requirements: tuple[str, ...], tags: list[str]) -> Path:
        digest = hashlib.sha256("\n".join((*requirements, *tags)).encode()).hexdigest()
        return self._folder / f"{digest[:_DIGITS]}.json"

    def _save(self, found: Resolution, tags: list[str]) -> None:
        _DOCUMENT.save(found, self._document(found.requirements, tags))

    def path(self, wheel: Wheel) -> Path:
        """Return the file of a wheel."""
        return wheel.path(self._folder)

    def _known(self, document: Path) -> Resolution | None:
        """Return what was found earlier, if all of it is still there as it was."""
        try:
            known = _DOCUMENT.load(document)
            whole = all(sha256_of(self.path(wheel)) == wheel.sha256 for wheel in known.wheels)
        except (BadInputError, OSError):
            # None, or damaged, or of another version: it can be made again.
            return None
        return known if whole else None

    def _download(self, requirements: tuple[str, ...], tags: list[str]) -> list[Wheel]:
        self._folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".new-", dir=self._folder) as scratch:
            return [self._kept(file) for file in _downloaded(requirements, tags, Path(scratch))]

    def _kept(self, file: Path) -> Wheel:
        wheel = Wheel(file.name, sha256_of(file))
        with replacing(self.path(wheel)) as temporary:
            shutil.copyfile(file, temporary)
        return wheel


def _of_this_version(requirements: tuple[str, ...], found: list[Wheel]) -> tuple[str, ...]:
    """Return requirements of which the first one takes no other version than was found."""
    first, *others = requirements
    version = found[0].name.split("-")[1]
    return (first if "=" in first else f"{first}=={version}", *others)


def _downloaded(requirements: tuple[str, ...], tags: list[str], folder: Path) -> list[Path]:
    """Let pip download the newest wheel for each requirement; return them in the requirements' order."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-input"]
    command += ["--no-deps", "--only-binary", ":all:", "--dest", str(folder), "--retries", "2", *tags, *requirements]
    wanted = " and ".join(requirements)
    try:
        result = subprocess.run(command, capture_output=True, text=True, timeout=_PIP_TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired as e:
        raise NoWheelsError(f"pip took more than {_PIP_TIMEOUT_S} s to download {wanted}") from e
    wheels = {_distribution(path.name.split("-")[0]): path for path in folder.glob("*.whl")}
    names = [_distribution(requirement) for requirement in requirements]
    if result.returncode != 0 or not wheels.keys() >= set(names):
        raise NoWheelsError(_reason(wanted, result.stderr))
    return [wheels[name] for name in names]


def _distribution(requirement: str) -> str:
    """Return the name that a requirement, or a wheel's file name, begins with, in the one spelling of wheels."""
    name = re.match(r"[A-Za-z0-9._-]*", requirement)
    return re.sub(r"[._-]+", "_", name.group().lower()) if name else ""


def _reason(wanted: str, errors: str) -> str:
    if "No module named pip" in errors:
        return f"{sys.executable} has no pip, which downloads runtimes: give it one with {sys.executable} -m ensurepip"
    if "Retrying (" in errors or "connection" in errors.lower():
        return f"the package index cannot be reached, so {wanted} cannot be brought to the device"
    missing = re.search(r"No matching distribution found for (\S+)", errors)
    if missing is not None:
        way_out = "choose another runtime, or another Python there with --python"
        return f"no wheel of {missing[1]} fits the device's Python: {way_out}"
    lines = [line for line in errors.splitlines() if line.startswith("ERROR: ")]
    return f"pip cannot download {wanted}: {printable(lines[-1][7:]) if lines else 'it gave no reason'}"
