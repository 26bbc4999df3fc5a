"""A transport that counts the bytes that are sent by it: files, and what programs read."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from searcher.devices.transport import NO_VARIABLES, Transport


@dataclass
class Sent:
    """What was sent so far, over all connections that count here.

    Attributes:
        total_bytes: of files, and of what programs read from standard input.
    """

    total_bytes: int = 0


class CountingTransport:
    """Passes everything on to another transport; fits `Transport`."""

    def __init__(self, transport: Transport, sent: Sent) -> None:
        self._transport = transport
        self._sent = sent

    @property
    def description(self) -> str:
        """Return where this leads; see `Transport.description`."""
        return self._transport.description

    def exists(self, path: str) -> bool:
        """Say whether a file or folder is there; see `Transport.exists`."""
        return self._transport.exists(path)

    def send(self, files: Mapping[str, Path]) -> int:
        """Put files there and count their bytes; see `Transport.send`."""
        sent_bytes = self._transport.send(files)
        self._sent.total_bytes += sent_bytes
        return sent_bytes

    def run(
        self,
        arguments: Sequence[str],
        standard_input: bytes = b"",
        environment: Mapping[str, str] = NO_VARIABLES,
    ) -> Generator[str, None, None]:
        """Run a program, count what it reads, and yield its lines; see `Transport.run`."""
        self._sent.total_bytes += len(standard_input)
        return self._transport.run(arguments, standard_input, environment)

    def close(self) -> None:
        """Let go of the device; see `Transport.close`."""
        self._transport.close()
