"""The way to the machine that the host itself runs on."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
from collections.abc import Generator, Mapping, Sequence
from pathlib import Path
from typing import IO

from searcher.artifacts import replacing
from searcher.devices import transport
from searcher.devices.transport import (
    CHUNK_BYTES,
    NO_VARIABLES,
    ErrorTail,
    RemoteProgramError,
    TransportError,
    check_program,
    safe_path,
    split_lines,
    start_thread,
)

_NOT_FOUND = 127
_NOT_EXECUTABLE = 126
_SIGNALLED = 128


class LocalTransport:
    """Runs programs on this machine, below a folder of its own; fits `Transport`."""

    def __init__(self, root: Path) -> None:
        self._root = root

    @property
    def description(self) -> str:
        """Return `local`."""
        return "local"

    def exists(self, path: str) -> bool:
        """Say whether a file or folder is there; see `Transport.exists`."""
        place = self._root / safe_path(path)
        try:
            return place.exists()
        except OSError as e:
            raise TransportError(f"cannot look for {place}: {e.strerror or e}") from e

    def send(self, files: Mapping[str, Path]) -> int:
        """Copy files below the root and return the bytes copied; see `Transport.send`."""
        targets = {self._root / safe_path(path): source for path, source in files.items()}
        return sum(_copy(source, target) for target, source in targets.items())

    def run(
        self,
        arguments: Sequence[str],
        standard_input: bytes = b"",
        environment: Mapping[str, str] = NO_VARIABLES,
    ) -> Generator[str, None, None]:
        """Run a program and yield its lines; see `Transport.run`."""
        check_program(arguments, environment)
        process = self._start(arguments, environment)
        try:
            output, errors = _pipes(process, standard_input)
            yield from split_lines(lambda: os.read(output.fileno(), CHUNK_BYTES))
            status = process.wait()
        finally:
            _end_group(process)
        if status != 0:
            shell_status = _SIGNALLED - status if status < 0 else status
            raise RemoteProgramError(arguments[0], self.description, shell_status, errors.text())

    def _start(self, arguments: Sequence[str], environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
        try:
            self._root.mkdir(parents=True, exist_ok=True)
        except OSError as e:
            raise TransportError(f"cannot make the working root {self._root}: {e.strerror}") from e
        try:
            return subprocess.Popen(
                list(arguments),
                cwd=self._root,
                env={**os.environ, **environment},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                # A group of its own: it can be ended whole, and Ctrl-C in the terminal reaches the host alone.
                start_new_session=True,
            )
        except OSError as e:
            status = _NOT_FOUND if isinstance(e, FileNotFoundError) else _NOT_EXECUTABLE
            reason = f"cannot be started: {e.strerror}"
            raise RemoteProgramError(arguments[0], self.description, status, reason) from e

    def close(self) -> None:
        """Do nothing: there is no link to close."""


def _copy(source: Path, target: Path) -> int:
    try:
        with replacing(target) as temporary:
            shutil.copyfile(source, temporary)
            return temporary.stat().st_size
    except OSError as e:
        raise TransportError(f"cannot copy {source} to {target}: {e.strerror or e}") from e


def _pipes(process: subprocess.Popen[bytes], standard_input: bytes) -> tuple[IO[bytes], ErrorTail]:
    stdin, stdout, stderr = process.stdin, process.stdout, process.stderr
    if stdin is None or stdout is None or stderr is None:
        raise TransportError("the program was started without pipes")

    def feed() -> None:
        # A program may end, or close its input, before it has read everything.
        with contextlib.suppress(BrokenPipeError), stdin:
            stdin.write(standard_input)

    def read_errors() -> bytes:
        chunk = os.read(stderr.fileno(), CHUNK_BYTES)
        if not chunk:
            stderr.close()
        return chunk

    start_thread(feed)
    return stdout, ErrorTail(read_errors)


def _end_group(process: subprocess.Popen[bytes]) -> None:
    """End the program if it still runs, and whatever it left behind in its process group."""
    running = process.poll() is None
    # Nobody reads on: a program that waits to write must not wait out its grace.
    if process.stdout is not None:
        process.stdout.close()
    _signal_group(process, signal.SIGTERM)
    try:
        if running:
            process.wait(transport.GRACE_S)
    except subprocess.TimeoutExpired:
        pass
    finally:
        # Also when a second Ctrl-C cuts the grace short.
        if running:
            _signal_group(process, signal.SIGKILL)
            process.wait()


def _signal_group(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    # The group's id is the program's own process id, which is not given away again in the moment between its end
    # and this call. An empty group is gone, one of zombies may refuse.
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, number)
