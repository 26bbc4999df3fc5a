"""The project's own JSON documents: frozen dataclasses with a schema version, validated when read, written whole."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Generic, TypeVar

from pydantic import TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from profiler_agent.records import RecordError
from searcher.artifacts import require_writable, write_text
from searcher.errors import BadInputError, SearcherError

Content = TypeVar("Content")

_LONGEST_PLACE = 300


class Document(Generic[Content]):
    """Reads and writes one kind of document.

    Attributes:
        title: what a user calls it, such as `lookup table`.
    """

    def __init__(self, content: type[Content], title: str, schema_version: int, advice: str | None = None) -> None:
        """Say what the documents are.

        Args:
            content: a frozen dataclass with a field `schema_version`.
            title: what a user calls it.
            schema_version: the only one that is read.
            advice: what to do with a document of another version; None where nothing can be done.
        """
        self._adapter: TypeAdapter[Content] = TypeAdapter(content)
        self._fields = _required_fields(content)
        self.title = title
        self._schema_version = schema_version
        self._advice = "" if advice is None else f": {advice}"

    def dump(self, content: Content) -> dict[str, Any]:
        """Return the content as JSON-ready plain data, its schema version first."""
        plain = self._adapter.dump_python(content, mode="json")
        return {"schema_version": plain.pop("schema_version"), **plain}

    def require_writable(self, path: Path) -> None:
        """Find out before long work whether the document can be written.

        Raises:
            BadInputError: it cannot.
        """
        require_writable(path, self.title)

    def save(self, content: Content, path: Path) -> None:
        """Write a document atomically, readable by people and by diff.

        Raises:
            BadInputError: the file cannot be written.
            SearcherError: a number is not finite, or a text not Unicode, which no document can say.
        """
        plain = self.dump(content)
        try:
            text = _written(plain)
        except ValueError as e:
            raise SearcherError(f"the {self.title} {path} is not written: it holds a number that is not finite") from e
        if not _is_unicode(text):
            raise SearcherError(f"the {self.title} {path} is not written: it holds a text that is not Unicode")
        self._accessing(lambda: write_text(path, text), "write", path)

    def text(self, content: Content) -> str:
        """Return the content as a JSON text, readable by people and by diff.

        Raises:
            ValueError: a number is not finite, which JSON cannot say.
        """
        return _written(self.dump(content))

    def load(self, path: Path) -> Content:
        """Read a document.

        Raises:
            BadInputError: the file cannot be read, is no such document, or has another schema version.
        """
        return self.parse(self._accessing(path.read_bytes, "read", path), str(path))

    def parse(self, raw: bytes | str, path: str) -> Content:
        """Read a document's text; `path` says in messages where it is from.

        Raises:
            BadInputError: it is no such document, or has another schema version.
        """
        try:
            plain = json.loads(raw, parse_float=_finite, parse_constant=_finite)
        except (ValueError, RecursionError) as e:
            raise BadInputError(f"{path} is no {self.title}: it is not JSON ({str(e)[:100]})") from e
        if not isinstance(plain, dict):
            raise BadInputError(f"{path} is no {self.title}: it holds no JSON object")
        version = plain.get("schema_version")
        if version is None:
            raise BadInputError(f"{path} is no {self.title}: it has no schema version")
        lacking = [name for name in self._fields if name not in plain]
        # Another version lacks a few fields, another kind of document most.
        if 2 * len(lacking) > len(self._fields):
            raise BadInputError(f"{path} is no {self.title}: it has no {lacking[0]}")
        if version != self._schema_version:
            raise BadInputError(
                f"{path} is no {self.title} that this version reads: its schema version is "
                f"{str(version)[:20]!r}, not {self._schema_version}{self._advice}"
            )
        try:
            content = self._adapter.validate_python(plain)
        except ValidationError as e:
            first = e.errors()[0]
            # A place may be named by a text of the file.
            named = ".".join(str(part) for part in first["loc"])[:_LONGEST_PLACE]
            place = "".join(sign if sign.isprintable() else "?" for sign in named) or "the document"
            raise BadInputError(f"{path} is no valid {self.title}: {place}: {_reason(first)}") from e
        except RecordError as e:
            raise BadInputError(f"{path} is no valid {self.title}: {e}") from e
        unwritable = _unwritable(content)
        if unwritable is not None:
            raise BadInputError(f"{path} is no valid {self.title}: it holds {unwritable}")
        return content

    def _accessing(self, access: Callable[[], Any], verb: str, path: Path) -> Any:
        try:
            return access()
        except OSError as e:
            raise BadInputError(f"cannot {verb} the {self.title} {path}: {e.strerror or e}") from e


def field_names(content: bytes) -> frozenset[str]:
    """Return the names of a JSON document's fields, by which kinds are told apart; none of what is no JSON object."""
    try:
        plain = json.loads(content)
    except (ValueError, RecursionError):
        return frozenset()
    return frozenset(plain) if isinstance(plain, dict) else frozenset()


def field_names_in(path: Path) -> frozenset[str]:
    """Return the names of the fields of a file, as `field_names`; none of what cannot be read at all."""
    try:
        return field_names(path.read_bytes())
    except OSError:
        return frozenset()


def _required_fields(content: type) -> list[str]:
    """Return the names of the fields that every document has, beside its schema version."""
    return [
        field.name
        for field in dataclasses.fields(content)
        if field.default is dataclasses.MISSING
        and field.default_factory is dataclasses.MISSING
        and field.name != "schema_version"
    ]


def _written(plain: dict[str, Any]) -> str:
    return json.dumps(plain, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text[:20]} is no number of JSON")
    return number


def _unwritable(content: object) -> str | None:
    """Return what no document may hold, though JSON or its reading lets it pass; None if there is no such thing.

    A text such as "nan" in the place of a number is read as that number, and an escape may be half of a sign, which no
    file in UTF-8 can hold.
    """
    left = [content]
    while left:
        one = left.pop()
        if isinstance(one, float):
            if not math.isfinite(one):
                return "a number that is not finite"
        elif isinstance(one, str | Path):
            if not _is_unicode(str(one)):
                return "a text that is not Unicode"
        elif dataclasses.is_dataclass(one):
            left.extend(vars(one).values())
        elif isinstance(one, Mapping):
            left.extend((*one.keys(), *one.values()))
        elif isinstance(one, list | tuple):
            left.extend(one)
    return None


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _reason(error: ErrorDetails) -> str:
    """Return what is wrong; pydantic writes a title before the message of a dataclass's own check."""
    return error["msg"].removeprefix("Value error, ").lower()
