"""The file of a measurer's answers: JSON lines that are only ever appended, by any number of processes.

The first line tells the version and whose answers they are, each other line one answer, with a checksum. Whoever
appends holds a lock and waits for the disk. A writer that is killed leaves half a line at worst: it is passed over, as
is every line that is damaged, and the next writer begins a new line. A file without a good first line is set aside.
History of the schema: 1, the first.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import math
import os
import secrets
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from searcher.search.scores.measuring import Measured

SCHEMA_VERSION = 1

_CHECKSUM = "crc32"


class MeasuredFile:
    """Answers by `score_key`; many processes may read and append at once.

    Attributes:
        trouble: why the file could not be used the last time, in one sentence; None if it could.
    """

    def __init__(self, path: Path, identity: Mapping[str, Any], names: tuple[str, ...]) -> None:
        """Open nothing yet.

        Args:
            path: of the file; its folders are made.
            identity: the measurer's, as JSON has it.
            names: of the values that every answer without a problem has.
        """
        self.trouble: str | None = None
        self._path = path
        self._names = names
        self._head = _line({"schema_version": SCHEMA_VERSION, "identity": identity, "names": names})
        self._known: dict[str, Measured] = {}
        self._inode = 0
        self._read_bytes = 0

    def read(self) -> Mapping[str, Measured]:
        """Return all answers, of those of one key the last; only what is new is read from the disk."""
        try:
            with self._path.open("rb") as file:
                self._read(file.fileno())
        except FileNotFoundError:
            self._forget(0)
        except OSError as e:
            self._complain("read", e)
        return self._known

    def _read(self, descriptor: int) -> None:
        status = os.fstat(descriptor)
        if status.st_ino != self._inode or status.st_size < self._read_bytes:
            self._forget(status.st_ino)
        if self._read_bytes == 0 and not self._has_head(descriptor):
            return
        content = os.pread(descriptor, status.st_size - self._read_bytes, self._read_bytes)
        # A last line without an end is still being written, or was left by somebody who was killed.
        whole = content[: content.rfind(b"\n") + 1]
        self._read_bytes += len(whole)
        for line in whole.split(b"\n"):
            answer = self._answer(line)
            if answer is not None:
                self._known[answer[0]] = answer[1]

    def _forget(self, inode: int) -> None:
        self._known, self._inode, self._read_bytes = {}, inode, 0

    def _has_head(self, descriptor: int) -> bool:
        return os.pread(descriptor, len(self._head), 0) == self._head

    def _answer(self, line: bytes) -> tuple[str, Measured] | None:
        told = _told(line)
        if told is None or not isinstance(told.get("score_key"), str):
            return None
        values, problem = told.get("values"), told.get("problem")
        if not isinstance(values, dict):
            return None
        if problem is None:
            is_answer = set(values) == set(self._names) and _are_numbers(values)
        else:
            is_answer = isinstance(problem, str) and not values
        return (told["score_key"], Measured(values, problem)) if is_answer else None

    def append(self, answers: Mapping[str, Measured]) -> None:
        """Add answers, and wait until the disk has them; where that cannot be, `trouble` tells why.

        Args:
            answers: by `score_key`.
        """
        lines = [
            _line(
                {
                    "score_key": key,
                    "values": {name: float(one.values[name]) for name in one.values},
                    "problem": one.problem,
                }
            )
            for key, one in answers.items()
        ]
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with self._locked() as descriptor:
                _write(descriptor, b"".join([self._start(descriptor), *lines]))
        except OSError as e:
            self._complain("write", e)

    @contextlib.contextmanager
    def _locked(self) -> Iterator[int]:
        """Open the file for nobody else to append; one that is no such file is set aside first."""
        while True:
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX)
                # Between opening and locking another process may have set the file aside.
                if not self._is_current(descriptor):
                    continue
                if os.fstat(descriptor).st_size and not self._has_head(descriptor):
                    self._path.rename(self._path.with_suffix(f".damaged-{secrets.token_hex(4)}"))
                    continue
                yield descriptor
                return
            finally:
                os.close(descriptor)

    def _is_current(self, descriptor: int) -> bool:
        try:
            return os.path.samestat(os.fstat(descriptor), self._path.stat())
        except FileNotFoundError:
            return False

    def _start(self, descriptor: int) -> bytes:
        """Return what comes before new lines: the first line of a new file, or the end of a line that was torn."""
        size = os.fstat(descriptor).st_size
        if size == 0:
            return self._head
        return b"" if os.pread(descriptor, 1, size - 1) == b"\n" else b"\n"

    def _complain(self, verb: str, e: OSError) -> None:
        self.trouble = f"scores are not kept: cannot {verb} {self._path}: {e.strerror or e}"


def _line(told: Mapping[str, Any]) -> bytes:
    """Return a line of JSON with its checksum; Python writes a float so that it is read back to the last bit."""
    text = _canonical(told)
    return f"{_canonical({**told, _CHECKSUM: zlib.crc32(text.encode())})}\n".encode()


def _told(line: bytes) -> dict[str, Any] | None:
    """Return what a line tells, or None if it is damaged."""
    try:
        told = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(told, dict):
        return None
    checksum = told.pop(_CHECKSUM, None)
    return told if checksum == zlib.crc32(_canonical(told).encode()) else None


def _canonical(told: Mapping[str, Any]) -> str:
    return json.dumps(told, sort_keys=True, separators=(",", ":"))


def _are_numbers(values: Mapping[str, object]) -> bool:
    return all(isinstance(value, float) and math.isfinite(value) for value in values.values())


def _write(descriptor: int, content: bytes) -> None:
    left = memoryview(content)
    while left:
        left = left[os.write(descriptor, left) :]
    os.fsync(descriptor)
