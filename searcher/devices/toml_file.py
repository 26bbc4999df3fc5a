"""TOML files that users write: read with bounds, and what is wrong in them told with file, line and key."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from searcher.errors import BadInputError

# Of keys, and of places in lists from 0, from the whole document to the value that is meant.
Place = tuple[str | int, ...]


def read_text(path: Path, title: str, largest_bytes: int) -> str:
    """Return what a file holds.

    Args:
        path: the file.
        title: what it should be, for messages: "fleet".
        largest_bytes: what no such file is larger than.

    Raises:
        BadInputError: it cannot be read, is too large, or is not UTF-8.
    """
    try:
        with path.open("rb") as file:
            content = file.read(largest_bytes + 1)
    except OSError as e:
        raise BadInputError(f"the {title} {path} cannot be read: {e.strerror or e}") from e
    if len(content) > largest_bytes:
        raise BadInputError(f"{path} is no {title}: it is larger than {largest_bytes} bytes")
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as e:
        raise BadInputError(f"{path} is no {title}: it is not UTF-8") from e


def existing(plain: Any, place: Iterable[str | int]) -> Place:
    """Cut from a place what is not in a document: a key that is missing, or what pydantic adds to its places."""
    found: list[str | int] = []
    for key in place:
        if isinstance(plain, dict):
            there = key in plain
        else:
            there = isinstance(plain, list) and isinstance(key, int) and key < len(plain)
        if not there:
            break
        found.append(key)
        plain = plain[key]
    return tuple(found)


def where(path: Path, text: str, place: Place) -> str:
    """Return file, line and key of a place in a text, for messages; places in lists are counted from 1."""
    line = _line_of(text, place)
    key = ".".join(str(part + 1) if isinstance(part, int) else part for part in place)
    return ", ".join(part for part in (str(path), line and f"line {line}", key) if part)


def _line_of(text: str, place: Place) -> int | None:
    """Return the line, counted from 1, in which the value at a place begins; None for the whole document.

    tomllib tells no lines. A beginning of the file that is TOML ends between values, so the first that has the place
    ends with its value, which starts behind the longest shorter one.
    """
    lines = text.splitlines(keepends=True)
    whole = 0
    for count in range(1, len(lines) + 1 if place else 0):
        try:
            plain: Any = tomllib.loads("".join(lines[:count]))
        except tomllib.TOMLDecodeError:
            continue
        if existing(plain, place) == place:
            return whole + 1
        whole = count
    return None
