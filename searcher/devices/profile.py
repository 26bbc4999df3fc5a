"""Device profiles: TOML files that say how a board is reached and how it is measured, read strictly.

The project's own lie in `device_profiles` beside the packages; the user's in the folder that `$PROFILER_DEVICES` names,
else in `devices` in the user's configuration folder. A user's profile hides one of the project's with its name.
"""

from __future__ import annotations

import difflib
import json
import os
import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import platformdirs
from pydantic import AfterValidator, ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass
from pydantic_core import ErrorDetails

import searcher
from searcher.devices.runtime_packages import packages_of
from searcher.devices.ssh_address import SshAddress, parse_address
from searcher.devices.toml_file import existing, read_text, where
from searcher.errors import BadInputError

SCHEMA_VERSION = 1
_SUFFIX = ".toml"
_LARGEST_BYTES = 32 * 1024
_STRICT = ConfigDict(extra="forbid", strict=True)
_SECRET = re.compile(r"pass(word|wd|phrase|code)?|pwd|secret|token|credentials?|(private|api)_?key", re.IGNORECASE)

Cluster = Literal["fastest", "slowest", "all"]
Sensor = Literal["temperature", "frequency", "throttling", "power"]


def _known_runtime(name: str) -> str:
    try:
        packages_of(name)
    except BadInputError as e:
        # pydantic tells the place of a ValueError, and of no other.
        raise ValueError(str(e)) from e
    return name


Runtime = Annotated[str, AfterValidator(_known_runtime)]


@dataclass(frozen=True, config=_STRICT)
class Reach:
    """How a device is reached.

    Attributes:
        way: `ssh`, or `local` for this machine.
        address: a host name, a numeric address, or an alias of the user's SSH configuration.
        port: None for that of the SSH configuration, else 22.
        user: None for that of the SSH configuration, else the local user's name.
    """

    way: Literal["ssh", "local"] = "ssh"
    address: str | None = None
    port: Annotated[int, Field(ge=1, le=65535)] | None = None
    user: str | None = None

    def __post_init__(self) -> None:
        if self.address is not None:
            self.ssh_address()

    def ssh_address(self) -> SshAddress:
        """Return where the device listens.

        Raises:
            BadInputError: the address is missing or none.
        """
        if self.address is None:
            raise BadInputError("the profile holds no address: give ssh://user@host:port and --profile")
        # An IPv6 address has two colons at least.
        if "://" in self.address or self.address.count(":") == 1:
            raise BadInputError("give only the name here: user and port have keys of their own")
        host = f"[{self.address}]" if ":" in self.address else self.address
        parsed = parse_address(f"ssh://{host}" + (f":{self.port}" if self.port else ""))
        return SshAddress(self.user if parsed.user is None else parsed.user, parsed.host, parsed.port)


@dataclass(frozen=True, config=_STRICT)
class PythonThere:
    """What runs the agent on a device.

    Attributes:
        interpreter: the Python program; None for the usual one.
        runtime_from: `deploy` where the host brings the runtime, `system` where the device's Python has it; None for
            what is usual.
        runtimes: identifiers of the runtimes that exist for the device.
    """

    interpreter: str | None = None
    runtime_from: Literal["deploy", "system"] | None = None
    runtimes: tuple[Runtime, ...] = ()


@dataclass(frozen=True, config=_STRICT)
class Measure:
    """How a device is measured unless the user asks otherwise.

    Attributes:
        runtime: identifier or family.
        cluster: the processors to pin to, by their speed.
        threads: threads of one operator.
        max_temperature_c: above it nothing counts; None for the kernel's own limits.
        sensors: what the device should tell of itself.
    """

    runtime: Runtime = "onnx"
    cluster: Cluster = "all"
    threads: Annotated[int, Field(ge=1)] = 1
    max_temperature_c: Annotated[float, Field(gt=0, le=150)] | None = None
    sensors: tuple[Sensor, ...] = ()


@dataclass(frozen=True, config=_STRICT)
class DeviceProfile:
    """One device as its file describes it."""

    title: str = ""
    reach: Reach = Reach()
    python: PythonThere = PythonThere()
    measure: Measure = Measure()
    notes: tuple[str, ...] = ()
    schema_version: Literal[1] = 1


_ADAPTER = TypeAdapter(DeviceProfile)


def own_folder() -> Path:
    """Return the folder of the project's own profiles, in a checkout and in an installation alike."""
    return Path(searcher.__file__).parents[1] / "device_profiles"


def user_folder() -> Path:
    """Return the folder of the user's profiles; it need not exist."""
    chosen = os.environ.get("PROFILER_DEVICES")
    return Path(chosen) if chosen else platformdirs.user_config_path("profiler-agent") / "devices"


def profile_files() -> dict[str, Path]:
    """Return the file of each profile by name, the user's before the project's."""
    files = {}
    for folder in (own_folder(), user_folder()):
        files.update({path.stem: path for path in sorted(folder.glob(f"*{_SUFFIX}")) if path.is_file()})
    return dict(sorted(files.items()))


def find_profile(name: str, meant: Literal["device", "profile"] = "device") -> Path:
    """Return the file of a profile.

    Args:
        name: of a profile, or a path that ends in `.toml`.
        meant: what the user gives with it, for messages: a device may be named by an address too.

    Raises:
        BadInputError: there is none of that name; the message names those that there are, the likeliest first.
    """
    if name.endswith(_SUFFIX):
        return Path(name)
    files = profile_files()
    if name not in files:
        similar = difflib.get_close_matches(name, files, n=1)
        guess = f" (did you mean {similar[0]}?)" if similar else ""
        ways = "local, ssh://user@host:port, " if meant == "device" else ""
        raise BadInputError(
            f"unknown {meant} {name!r}{guess}: give {ways}a .toml file, or one of the profiles {', '.join(files)}"
        )
    return files[name]


def read_profile(path: Path) -> DeviceProfile:
    """Read a profile.

    Raises:
        BadInputError: the file cannot be read, or holds what no profile holds; the message names file, line and key.
    """
    text = read_text(path, "device profile", _LARGEST_BYTES)
    try:
        plain = tomllib.loads(text)
    except tomllib.TOMLDecodeError as e:
        raise BadInputError(f"{path} is no TOML: {e}") from e
    for place in _places(plain):
        if _SECRET.search(place[-1]):
            raise BadInputError(
                f"{where(path, text, place)} looks like a secret, and a profile holds none:"
                " log in with a key, from ssh-agent or with --identity"
            )
    version = plain.get("schema_version")
    if version != SCHEMA_VERSION:
        told = "is missing" if version is None else f"is {str(version)[:20]!r}, not {SCHEMA_VERSION}"
        raise BadInputError(f"{where(path, text, ('schema_version',))} {told}")
    try:
        # As JSON, whose lists are strict enough for tuples and whose objects are for dataclasses.
        profile: DeviceProfile = _ADAPTER.validate_json(json.dumps(plain, default=str))
    except ValidationError as e:
        error = e.errors()[0]
        place = tuple(part for part in error["loc"] if isinstance(part, str))
        raise BadInputError(f"{where(path, text, existing(plain, place))}: {_reason(error)}") from e
    except BadInputError as e:
        raise BadInputError(f"{where(path, text, ('reach', 'address'))}: {e}") from e
    return profile


def _places(table: Mapping[str, Any], above: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for key, value in table.items():
        yield (*above, key)
        if isinstance(value, dict):
            yield from _places(value, (*above, key))


def _reason(error: ErrorDetails) -> str:
    if error["type"] == "unexpected_keyword_argument":
        return "a profile has no such key"
    return error["msg"].removeprefix("Value error, ").lower()


def profile_document(profile: DeviceProfile) -> dict[str, Any]:
    """Return a profile as JSON-ready plain data."""
    plain: dict[str, Any] = _ADAPTER.dump_python(profile, mode="json")
    return plain
