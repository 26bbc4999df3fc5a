"""Unpacks archives on the device, each whole or not at all: `python3 unpack.py [ARCHIVE SHA256 FOLDER]…`.

It runs on a device before the agent is there, sent through standard input, and so it imports nothing of the agent. An
archive is unpacked beside its folder, written through to the disk and renamed: nobody sees half of it, also after a
power cut. It is deleted in the end. Hosts that bring the same folder at once do not disturb each other.
"""

import hashlib
import os
import shutil
import sys
import tempfile
import time
import zipfile
from pathlib import Path
from typing import BinaryIO

# A folder that holds this file is whole. It lists the files for `sha256sum -c complete`; it is in the agent's archive,
# and is made for others.
COMPLETE = "complete"

_PARTIAL = ".unpacking-"
_ABANDONED_AFTER_S = 3600.0
_CHUNK_BYTES = 1 << 20


def unpack(archive: Path, sha256: str, folder: Path) -> None:
    """Unpack an archive to a folder, unless the whole folder is there, and delete the archive in any case.

    Raises:
        ValueError: the archive is not the one that was sent.
        OSError: the archive cannot be read, or the folder not written.
    """
    try:
        # Open from here on: another host that brings the same, and is faster, deletes it.
        with archive.open("rb") as stream:
            if not (folder / COMPLETE).exists():
                _require_as_sent(stream, sha256)
                _unpack_beside(stream, folder)
    except FileNotFoundError:
        if not (folder / COMPLETE).exists():
            raise
    finally:
        archive.unlink(missing_ok=True)


def _require_as_sent(stream: BinaryIO, sha256: str) -> None:
    if _sha256(stream) != sha256:
        raise ValueError("the archive did not arrive as it was sent")


def _sha256(stream: BinaryIO) -> str:
    hashed = hashlib.sha256()
    for chunk in iter(lambda: stream.read(_CHUNK_BYTES), b""):
        hashed.update(chunk)
    return hashed.hexdigest()


def _unpack_beside(stream: BinaryIO, folder: Path) -> None:
    _remove_abandoned(folder.parent)
    with tempfile.TemporaryDirectory(dir=str(folder.parent), prefix=_PARTIAL) as scratch:
        content = Path(scratch, "content")
        with zipfile.ZipFile(stream) as zipped:
            zipped.extractall(str(content))
        if not (content / COMPLETE).exists():
            _mark(content)
        os.sync()
        _move(content, folder, Path(scratch, "replaced"))


def _mark(content: Path) -> None:
    """Write the list of what was unpacked."""
    lines = []
    for path in sorted(content.rglob("*")):
        if path.is_file():
            with path.open("rb") as stream:
                lines.append(f"{_sha256(stream)}  {path.relative_to(content).as_posix()}\n")
    (content / COMPLETE).write_text("".join(lines), encoding="utf-8")


def _move(content: Path, folder: Path, replaced: Path) -> None:
    """Rename, making room where a damaged folder lies; one that another host has just brought is left."""
    if folder.exists() and not (folder / COMPLETE).exists():
        folder.rename(replaced)
    try:
        content.rename(folder)
    except OSError:
        if not (folder / COMPLETE).exists():
            raise


def _remove_abandoned(parent: Path) -> None:
    """Remove what was left by unpackings that were killed."""
    for path in parent.glob(_PARTIAL + "*"):
        if time.time() - path.stat().st_mtime > _ABANDONED_AFTER_S:
            shutil.rmtree(str(path), ignore_errors=True)


def main() -> int:
    """Unpack as the arguments say; return the exit status."""
    given = iter(sys.argv[1:])
    folder = ""
    try:
        for archive, sha256, folder in zip(given, given, given):
            unpack(Path(archive), sha256, Path(folder))
    except (OSError, ValueError, zipfile.BadZipFile, RuntimeError) as e:
        # zipfile raises RuntimeError where this Python has no zlib. What a full disk refuses is told without a name.
        if isinstance(e, OSError) and e.filename is None and e.strerror:
            print(f"cannot unpack into {os.path.abspath(folder)}: {e.strerror}", file=sys.stderr)
        else:
            print(f"cannot unpack: {e}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
