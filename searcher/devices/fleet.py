"""A shelf of boards: the file that lists them, read strictly, and names for them that are safe as names of files."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import pydantic
from pydantic import ConfigDict, TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from searcher.devices.device import ChoiceError, Device
from searcher.devices.ssh_address import DEFAULT_PORT, parse_address
from searcher.devices.toml_file import existing, read_text, where
from searcher.errors import BadInputError

_LARGEST_BYTES = 1024 * 1024
_LONGEST_NAME = 80
_STRICT = ConfigDict(extra="forbid", strict=True)
_SSH = "ssh://"


@pydantic.dataclasses.dataclass(frozen=True, config=_STRICT)
class BoardEntry:
    """One board as a fleet's file lists it; what is None comes from the command line.

    Attributes:
        device: its name, as `--device` takes it.
        name: what it is called; None for a name made of the device's.
        identity: a private key file; relative to the fleet's file.
        known_hosts: a file of host keys, likewise.
        python: the Python there.
        profile: the device profile of a board that is named by its address.
    """

    device: str
    name: str | None = None
    identity: str | None = None
    known_hosts: str | None = None
    python: str | None = None
    profile: str | None = None


@pydantic.dataclasses.dataclass(frozen=True, config=_STRICT)
class _Fleet:
    board: tuple[BoardEntry, ...]
    schema_version: Literal[1] = 1


@dataclass(frozen=True)
class Board:
    """One board of a shelf.

    Attributes:
        name: safe as the name of a file, and of no other board of the shelf.
        device: how it is reached.
    """

    name: str
    device: Device


_ADAPTER = TypeAdapter(_Fleet)


def named_boards(names: Sequence[str], usual: Device) -> list[Board]:
    """Return the boards that several `--device` mean.

    Args:
        names: of the devices.
        usual: what else the user says of all of them.

    Raises:
        BadInputError: one is named twice, or is none.
    """
    for index, name in enumerate(names):
        if name in names[:index]:
            raise BadInputError(f"--device {name} is given twice")
    return _named([replace(usual, name=name) for name in names], [None] * len(names))


def read_fleet(path: Path, usual: Device) -> list[Board]:
    """Read a fleet's file.

    Args:
        path: the file.
        usual: what the user says of all boards; what the file says of one comes first.

    Raises:
        BadInputError: it cannot be read, or holds what no fleet holds; the message names file, line and key.
    """
    text = read_text(path, "fleet", _LARGEST_BYTES)
    entries = _entries(path, text)
    devices: list[Device] = []
    for index, entry in enumerate(entries):
        try:
            if entry.device in [device.name for device in devices]:
                raise BadInputError(f"{entry.device} is listed twice")
            devices.append(_device(entry, path.parent, usual))
        except ChoiceError as e:
            raise BadInputError(f"{where(path, text, ('board', index, e.key))}: {e.problem}") from e
        except BadInputError as e:
            raise BadInputError(f"{where(path, text, ('board', index, 'device'))}: {e}") from e
    return _named(devices, [entry.name for entry in entries])


def _entries(path: Path, text: str) -> tuple[BoardEntry, ...]:
    try:
        plain = tomllib.loads(text)
    except tomllib.TOMLDecodeError as e:
        raise BadInputError(f"{path} is no TOML: {e}") from e
    try:
        # As JSON, whose lists are strict enough for tuples and whose objects are for dataclasses.
        entries = _ADAPTER.validate_json(json.dumps(plain, default=str)).board
    except ValidationError as e:
        error = e.errors()[0]
        raise BadInputError(f"{where(path, text, existing(plain, error['loc']))}: {_reason(error)}") from e
    if not entries:
        raise BadInputError(f"{path} lists no board: it needs [[board]] with a device")
    return entries


def _device(entry: BoardEntry, folder: Path, usual: Device) -> Device:
    def file(listed: str | None, otherwise: Path | None) -> Path | None:
        return otherwise if listed is None else folder / Path(listed).expanduser()

    return replace(
        usual,
        name=entry.device,
        python=entry.python or usual.python,
        profile_name=entry.profile or (usual.profile_name if entry.device.startswith(_SSH) else None),
        identity=file(entry.identity, usual.identity),
        known_hosts=file(entry.known_hosts, usual.known_hosts),
    )


def _named(devices: Sequence[Device], names: Sequence[str | None]) -> list[Board]:
    boards: list[Board] = []
    # File systems of some hosts take names that differ in case for one.
    taken: set[str] = set()
    for device, name in zip(devices, names, strict=True):
        unique = _unique(_safe(name or _usual_name(device.name)), taken)
        taken.add(unique.lower())
        boards.append(Board(unique, device))
    return boards


def _usual_name(device: str) -> str:
    """Return the host of an address, or the name of a device that has one."""
    if not device.startswith(_SSH):
        return device.removesuffix(".toml").rpartition("/")[2]
    address = parse_address(device)
    return address.host if address.port in (None, DEFAULT_PORT) else f"{address.host}-{address.port}"


def _safe(name: str) -> str:
    """Return a name without what a file's name cannot hold or what would hide the file."""
    return re.sub(r"[^\w.-]+", "-", name, flags=re.ASCII).strip(".-")[:_LONGEST_NAME] or "board"


def _unique(name: str, taken: set[str]) -> str:
    chosen, number = name, 1
    while chosen.lower() in taken:
        number += 1
        chosen = f"{name}-{number}"
    return chosen


def _reason(error: ErrorDetails) -> str:
    name = error["loc"][-1] if error["loc"] else ""
    if error["type"] == "unexpected_keyword_argument":
        return f"a board has device, name, identity, known_hosts, python and profile, and no {name}"
    if error["type"] in ("missing", "missing_argument"):
        return f"{name} is missing"
    return error["msg"].removeprefix("Value error, ").lower()
