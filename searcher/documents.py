"""The project's own JSON documents: frozen dataclasses with a schema version, validated when read, written whole."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Generic, TypeVar

from pydantic import TypeAdapter, ValidationError

from searcher.artifacts import write_text
from searcher.errors import BadInputError

Content = TypeVar("Content")


class Document(Generic[Content]):
    """Reads and writes one kind of document.

    Attributes:
        title: what a user calls it, such as `lookup table`.
    """

    def __init__(self, content: type[Content], title: str, schema_version: int) -> None:
        self._adapter: TypeAdapter[Content] = TypeAdapter(content)
        self.title = title
        self._schema_version = schema_version

    def dump(self, content: Content) -> dict[str, Any]:
        """Return the content as JSON-ready plain data, its schema version first."""
        plain = self._adapter.dump_python(content, mode="json")
        return {"schema_version": plain.pop("schema_version"), **plain}

    def save(self, content: Content, path: Path) -> None:
        """Write a document atomically, readable by people and by diff.

        Raises:
            BadInputError: the file cannot be written.
        """
        text = json.dumps(self.dump(content), indent=2, ensure_ascii=False) + "\n"
        self._accessing(lambda: write_text(path, text), "write", path)

    def load(self, path: Path) -> Content:
        """Read a document.

        Raises:
            BadInputError: the file cannot be read, is no such document, or has another schema version.
        """
        raw = self._accessing(path.read_bytes, "read", path)
        try:
            plain = json.loads(raw)
        except (ValueError, RecursionError) as e:
            raise BadInputError(f"{path} is no {self.title}: it is not JSON ({str(e)[:100]})") from e
        version = plain.get("schema_version") if isinstance(plain, dict) else None
        if version != self._schema_version:
            raise BadInputError(
                f"{path} is no {self.title} that this version reads: its schema version is "
                f"{str(version)[:20]!r}, not {self._schema_version}"
            )
        try:
            return self._adapter.validate_python(plain)
        except ValidationError as e:
            first = e.errors()[0]
            place = ".".join(str(part) for part in first["loc"]) or "the document"
            raise BadInputError(f"{path} is no valid {self.title}: {place}: {first['msg'].lower()}") from e

    def _accessing(self, access: Callable[[], Any], verb: str, path: Path) -> Any:
        try:
            return access()
        except OSError as e:
            raise BadInputError(f"cannot {verb} the {self.title} {path}: {e.strerror or e}") from e
