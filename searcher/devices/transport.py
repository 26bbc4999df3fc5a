"""How the host reaches a device: put files there and run programs there, on this machine or over a network."""

from __future__ import annotations

import collections
import contextlib
import re
import threading
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from types import MappingProxyType
from typing import Protocol

from searcher.errors import SearcherError

NO_VARIABLES: Mapping[str, str] = MappingProxyType({})

CHUNK_BYTES = 64 * 1024
LINE_LIMIT_BYTES = 16 * 1024 * 1024
# Far more than the longest job tells; a program that says more has lost its mind.
OUTPUT_LIMIT_BYTES = 1024 * 1024 * 1024
# For answers that are kept as a whole, such as a description of the machine.
ANSWER_LIMIT_BYTES = 4 * 1024 * 1024
ERROR_TAIL_BYTES = 64 * 1024

# How long a program may take to end itself when it is told to, before it is killed.
GRACE_S = 5.0

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class TransportError(SearcherError):
    """A device could not be reached, refused something, or answered with what cannot be used."""


class UnsafePathError(TransportError):
    """A device path would leave the transport's working root."""


class UnreachableError(TransportError):
    """The device does not answer, or the link to it was lost."""


class HostKeyError(TransportError):
    """The device's host key is unknown, revoked, or not the one it had before."""


class AuthenticationError(TransportError):
    """The device does not let the user in, or the user's key cannot be used."""


class RemoteProgramError(TransportError):
    """A program on the device ended with a status other than zero.

    Attributes:
        program_status: the program's exit status; 128 + n when signal n ended it, 127 when it was not found,
            -1 when the device did not tell.
            (`exit_status` is, as for every error, what the command line ends with.)
        standard_error: the end of what the program wrote to standard error, as it wrote it.
    """

    def __init__(self, program: str, device: str, program_status: int, standard_error: str) -> None:
        self.program_status = program_status
        self.standard_error = standard_error
        lines = printable(standard_error).strip().splitlines()
        reason = lines[-1].strip() if lines else "it gave no reason"
        super().__init__(f"{printable(program)} on {device} ended with status {program_status}: {reason}")


class Transport(Protocol):
    """A way to one device; paths are POSIX and relative to the transport's own working root there."""

    @property
    def description(self) -> str:
        """Return where this leads, for messages: `local` or `ssh://user@host:port`."""
        ...

    def exists(self, path: str) -> bool:
        """Say whether a file or folder is there.

        Raises:
            UnsafePathError: the path is absolute, empty, or goes up.
            TransportError: the device cannot be asked.
        """
        ...

    def send(self, files: Mapping[str, Path]) -> int:
        """Put local files at device paths, in the mapping's order, making parent folders.

        Each file is written under a temporary name and renamed, so that nobody sees half of it.

        Returns:
            The bytes sent.

        Raises:
            UnsafePathError: a path is absolute, empty, or goes up; nothing was sent.
            TransportError: a file cannot be read here or written there; the earlier ones are in place.
        """
        ...

    def run(
        self,
        arguments: Sequence[str],
        standard_input: bytes = b"",
        environment: Mapping[str, str] = NO_VARIABLES,
    ) -> Generator[str, None, None]:
        """Run a program with the working root as its current folder; yield its output line by line as it comes.

        The program starts when the first line is asked for. When the caller stops (closes the generator, is
        interrupted), the program and what it started are told to end (SIGTERM to their process group), and
        killed after `GRACE_S` seconds. What a program leaves in its group when it ends is told to end as well:
        a program that must outlive this call starts a session of its own and redirects its output.

        Args:
            arguments: the program and its arguments, passed on as they are; no shell interprets them.
            standard_input: what the program reads, followed by the end of file.
            environment: variables that the program gets beside those of the device.

        Yields:
            Lines of standard output without their newline, undecodable bytes replaced.

        Raises:
            RemoteProgramError: the program ended with a status other than zero, after all its lines.
            UnreachableError: the link was lost.
            TransportError: a line is longer than `LINE_LIMIT_BYTES`, all lines are longer than `OUTPUT_LIMIT_BYTES`,
                or the arguments cannot be passed.
        """
        ...

    def close(self) -> None:
        """Let go of the device; a second call does nothing."""
        ...


def safe_path(path: str) -> PurePosixPath:
    """Return a device path, sure that it stays below the working root.

    Raises:
        UnsafePathError: the path is empty, absolute, goes up, or holds control characters.
    """
    pure = PurePosixPath(path)
    if not pure.parts or pure.is_absolute() or ".." in pure.parts or not path.isprintable():
        raise UnsafePathError(f"the device path {path!r} must be relative and stay below the working root")
    return pure


def check_program(arguments: Sequence[str], environment: Mapping[str, str]) -> None:
    """Refuse what no device can run as it was meant.

    Raises:
        TransportError: no program is named, a NUL lies in a text, or a variable's name is no name.
    """
    # `env NAME=value program` would take a program whose name holds "=" for one more variable.
    if not arguments or not arguments[0] or "=" in arguments[0]:
        raise TransportError(f"these arguments name no program to run: {list(arguments)!r}")
    for name in environment:
        if not _VARIABLE.fullmatch(name):
            raise TransportError(f"{name!r} cannot be the name of an environment variable")
    for text in (*arguments, *environment.values()):
        if "\0" in text:
            raise TransportError(f"a NUL character cannot be passed to a program: {text!r}")


def split_lines(
    read: Callable[[], bytes], limit_bytes: int = LINE_LIMIT_BYTES, output_limit_bytes: int = OUTPUT_LIMIT_BYTES
) -> Iterator[str]:
    """Yield the lines of a byte stream, without their newline, as soon as each is whole.

    Args:
        read: gives the next bytes, at least one; none at the end of the stream.
        limit_bytes: the longest line that is accepted.
        output_limit_bytes: the most that is accepted in all.

    Raises:
        TransportError: a line or the whole is longer; a device must not be able to fill the host's memory.
    """
    pending = bytearray()
    received = 0
    while chunk := read():
        received += len(chunk)
        if received > output_limit_bytes:
            raise TransportError(f"the device sent more than {output_limit_bytes} bytes for one answer")
        first, *others = chunk.split(b"\n")
        pending += first
        for start_of_next in others:
            _check_length(pending, limit_bytes)
            yield pending.decode("utf-8", errors="replace")
            pending = bytearray(start_of_next)
        _check_length(pending, limit_bytes)
    if pending:
        yield pending.decode("utf-8", errors="replace")


def whole_answer(lines: Generator[str, None, None], limit_bytes: int = ANSWER_LIMIT_BYTES) -> list[str]:
    """Return all lines of a program whose answer is short; the program ends in any case.

    Raises:
        TransportError: they are too long, or what `Transport.run` raises.
    """
    kept: list[str] = []
    length = 0
    with contextlib.closing(lines):
        for line in lines:
            length += len(line) + 1
            if length > limit_bytes:
                raise TransportError(f"the device sent more than {limit_bytes} bytes for a short answer")
            kept.append(line)
    return kept


def _check_length(line: bytearray, limit_bytes: int) -> None:
    if len(line) > limit_bytes:
        start = printable(line[:40].decode("utf-8", errors="replace"))
        raise TransportError(f"the device sent a line longer than {limit_bytes} bytes, beginning {start!r}")


class ErrorTail:
    """Reads a program's standard error in the background, so that it never blocks, and keeps the end of it."""

    def __init__(self, read: Callable[[], bytes]) -> None:
        self._read = read
        self._chunks: collections.deque[bytes] = collections.deque()
        self._kept_bytes = 0
        self._thread = start_thread(self._drain)

    def _drain(self) -> None:
        while chunk := self._read():
            self._chunks.append(chunk)
            self._kept_bytes += len(chunk)
            while self._kept_bytes - len(self._chunks[0]) >= ERROR_TAIL_BYTES:
                self._kept_bytes -= len(self._chunks.popleft())

    def text(self) -> str:
        """Return the end of what was written, at most `ERROR_TAIL_BYTES` bytes, undecodable ones replaced."""
        # A helper that left the process group may hold the stream open for ever; the program itself has ended.
        self._thread.join(timeout=1)
        return b"".join(tuple(self._chunks))[-ERROR_TAIL_BYTES:].decode("utf-8", errors="replace")


def start_thread(work: Callable[[], None]) -> threading.Thread:
    """Start background work that never keeps the host's process alive."""
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread


def printable(text: str) -> str:
    """Return a device's text fit for a terminal: line ends stay, other control characters are replaced."""
    return "".join(c if c.isprintable() or c == "\n" else "\N{REPLACEMENT CHARACTER}" for c in text)
