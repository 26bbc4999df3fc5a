"""Files of others: read whole, within a bound, and told by their hash."""

from __future__ import annotations

import hashlib
import io
import zlib
from dataclasses import dataclass
from pathlib import Path

from searcher.errors import BadInputError

# The largest that are published have some ten megabytes.
MOST_BYTES = 64 * 2**20
_GZIP_MAGIC = b"\x1f\x8b"
_GZIP_WINDOW = zlib.MAX_WBITS | 16
# Members of a few bytes each would be unpacked for hours.
_MOST_MEMBERS = 100
_LONGEST_QUOTE = 60


@dataclass(frozen=True)
class ForeignFile:
    """What a file holds.

    Attributes:
        path: where it lies.
        sha256: of its bytes as they lie there, packed or not.
        content: its bytes, unpacked.
    """

    path: Path
    sha256: str
    content: bytes

    @property
    def source(self) -> str:
        """The file's name and hash, which tell what was imported."""
        return f"{self.path.name} (sha256 {self.sha256})"

    @property
    def text(self) -> str:
        """The content as UTF-8 text.

        Raises:
            BadInputError: it is none; the message names the line.
        """
        try:
            return self.content.decode("utf-8-sig")
        except UnicodeDecodeError as e:
            line = self.content.count(b"\n", 0, e.start) + 1
            raise BadInputError(f"{self.path}, line {line}: it is not UTF-8 text") from e

    def problem(self, line: int, sentence: str) -> BadInputError:
        """Return an error that names the file and the line, counted from 1."""
        return BadInputError(f"{self.path}, line {line}: {sentence}")


def read_foreign(path: Path, most_bytes: int = MOST_BYTES) -> ForeignFile:
    """Read a file; one that gzip packed is unpacked.

    Args:
        path: the file.
        most_bytes: that it may hold, packed and unpacked.

    Raises:
        BadInputError: it cannot be read, is larger, or is damaged.
    """
    try:
        if not path.is_file():
            # A pipe or a device would be read for ever.
            raise BadInputError(f"cannot read {path}: it is {'no file' if path.exists() else 'not there'}")
        with path.open("rb") as file:
            raw = file.read(most_bytes + 1)
    except OSError as e:
        raise BadInputError(f"cannot read {path}: {e.strerror or e}") from e
    if len(raw) > most_bytes:
        raise BadInputError(f"{path} is refused: it is larger than {most_bytes // 2**20} MB")
    content = _unpacked(raw, path, most_bytes) if raw.startswith(_GZIP_MAGIC) else raw
    return ForeignFile(path, hashlib.sha256(raw).hexdigest(), content)


def _unpacked(raw: bytes, path: Path, most_bytes: int) -> bytes:
    """Unpack all members of a gzip file, never more than is allowed."""
    unpacked = io.BytesIO()
    try:
        for _ in range(_MOST_MEMBERS):
            member = zlib.decompressobj(_GZIP_WINDOW)
            unpacked.write(member.decompress(raw, most_bytes + 1 - unpacked.tell()))
            if unpacked.tell() > most_bytes:
                raise BadInputError(f"{path} is refused: unpacked it is larger than {most_bytes // 2**20} MB")
            if not member.eof:
                raise BadInputError(f"{path} is damaged: its gzip data ends early")
            raw = member.unused_data.lstrip(b"\0")
            if not raw:
                return unpacked.getvalue()
    except zlib.error as e:
        raise BadInputError(f"{path} is damaged: {e}") from e
    raise BadInputError(f"{path} is refused: it is packed in more than {_MOST_MEMBERS} parts")


def quote(text: object) -> str:
    """Return the beginning of a foreign value as text that is safe to print."""
    told = text if isinstance(text, str) else type(text).__name__
    return repr(told if len(told) <= _LONGEST_QUOTE else told[:_LONGEST_QUOTE] + "…")
