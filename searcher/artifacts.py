"""Files that rooms hand to each other: exported models, atomic writes, content hashes, dates, the cache folder."""

from __future__ import annotations

import contextlib
import datetime
import errno
import hashlib
import os
import secrets
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import platformdirs

from searcher.errors import BadInputError


@dataclass(frozen=True)
class ExportedModel:
    """A model file that a device's runtime can read.

    Attributes:
        name: the block's key or the architecture's text; identifies the model in a job.
        path: where the file lies on the host.
        sha256: hexadecimal hash of the file's bytes.
        numerical_error: how far its outputs on real inputs are from those of the fp32 file it was made from,
            relative to them, by Euclidean norms; None for an fp32 file.
    """

    name: str
    path: Path
    sha256: str
    numerical_error: float | None = None


def sha256_of(path: Path) -> str:
    """Return the hexadecimal SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary path beside `path`; rename it over `path` only when the body succeeds.

    A reader sees the old file or the whole new one, never half of it; on an error nothing of the old is lost.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}{path.suffix}")
    # What replaces a user's file is as readable as one that they make. mkstemp's would be private, and the umask, which
    # is the whole process's, can only be asked for by changing it: other threads make files too.
    temporary.touch(exist_ok=False)
    try:
        yield temporary
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def require_writable(path: Path, title: str) -> None:
    """Find out before long work whether its result can be written: parent folders are made, a file beside it is tried.

    Args:
        path: where the result will go.
        title: what a user calls it, such as `lookup table`.

    Raises:
        BadInputError: nothing can be written there, or a folder is in the way.
    """
    try:
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, "it is a folder")
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(prefix=f".{path.name}.", suffix=path.suffix, dir=path.parent):
            pass
    except OSError as e:
        raise BadInputError(f"cannot write the {title} {path}: {e.strerror or e}") from e


def write_text(path: Path, text: str) -> None:
    """Write a text file atomically, in UTF-8."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def cache_folder() -> Path:
    """Return the folder for what can be made again: `$PROFILER_CACHE`, else the user's cache folder."""
    chosen = os.environ.get("PROFILER_CACHE")
    return Path(chosen) if chosen else platformdirs.user_cache_path("profiler-agent")


def utc_now() -> str:
    """Return UTC date and time, ISO 8601, to the second."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
