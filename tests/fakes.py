"""Stand-ins for what the host talks to, for exact and instant tests."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from searcher.devices.deploy import agent_files
from searcher.devices.transport import NO_VARIABLES, TransportError, check_program, safe_path

# What a board with a common Python tells of itself.
BOARD = {
    "version": [3, 11, 2],
    "implementation": "cpython",
    "abi_flags": "",
    "system": "Linux",
    "machine": "aarch64",
    "pointer_bits": 64,
    "libc": "glibc",
    "libc_version": "2.36",
    "modules": ["numpy", "onnxruntime", "ai_edge_litert", "tflite_runtime"],
}

Program = Callable[[Sequence[str], bytes], Iterable[str]]


@dataclass(frozen=True)
class FakeRun:
    """One call of `FakeTransport.run`, made when its program starts."""

    arguments: tuple[str, ...]
    standard_input: bytes
    environment: dict[str, str]


class FakeTransport:
    """A device in memory: a dictionary of files, and one scripted program that yields lines or raises.

    Beside that program it can unpack archives and tell what its Python is, as every device with a Python can.

    Attributes:
        tells: the answer about its Python, or why there is none.
        files: the bytes of each file by its path.
        runs: the times that the scripted program was started.
        ended: how many of them came to an end, their own or by the caller's will.
        sent_bytes: all bytes of files ever sent.
        input_bytes: all that programs were given to read.
        closed: whether `close` was called.
    """

    def __init__(self, program: Program | None = None) -> None:
        self._program = program or _not_found
        self.tells: str | TransportError = json.dumps(BOARD)
        self.files: dict[str, bytes] = {}
        self.runs: list[FakeRun] = []
        self.ended = 0
        self.sent_bytes = 0
        self.input_bytes = 0
        self.closed = False

    @property
    def description(self) -> str:
        return "fake"

    def exists(self, path: str) -> bool:
        wanted = str(safe_path(path))
        return any(name == wanted or name.startswith(f"{wanted}/") for name in self.files)

    def send(self, files: Mapping[str, Path]) -> int:
        targets = {str(safe_path(path)): source for path, source in files.items()}
        sent = 0
        for target, source in targets.items():
            try:
                self.files[target] = source.read_bytes()
            except OSError as e:
                raise TransportError(f"cannot read {source}: {e.strerror}") from e
            sent += len(self.files[target])
        self.sent_bytes += sent
        return sent

    def run(
        self,
        arguments: Sequence[str],
        standard_input: bytes = b"",
        environment: Mapping[str, str] = NO_VARIABLES,
    ) -> Generator[str, None, None]:
        check_program(arguments, environment)
        self.input_bytes += len(standard_input)
        if standard_input == agent_files()["profiler_agent/unpack.py"].read_bytes():
            for order in range(2, len(arguments), 3):
                self._unpack(*arguments[order : order + 3])
            return
        if standard_input == agent_files()["profiler_agent/survey.py"].read_bytes():
            if isinstance(self.tells, TransportError):
                raise self.tells
            yield from self.tells.splitlines()
            return
        self.runs.append(FakeRun(tuple(arguments), standard_input, dict(environment)))
        try:
            yield from self._program(arguments, standard_input)
        finally:
            self.ended += 1

    def close(self) -> None:
        self.closed = True

    def _unpack(self, archive: str, sha256: str, folder: str) -> None:
        content = self.files.pop(archive)
        assert hashlib.sha256(content).hexdigest() == sha256
        with zipfile.ZipFile(io.BytesIO(content)) as zipped:
            self.files.update({f"{folder}/{name}": zipped.read(name) for name in zipped.namelist()})
        self.files.setdefault(f"{folder}/complete", b"")


def _not_found(arguments: Sequence[str], _: bytes) -> Iterable[str]:
    raise TransportError(f"the fake device has no program {arguments[0]!r}")
