"""What the Python on a device is, asked of it before anything is brought there; a device is not trusted."""

from __future__ import annotations

import collections
import re
from collections.abc import Sequence
from dataclasses import dataclass

from pydantic import TypeAdapter, ValidationError

from searcher.devices.deploy import agent_files
from searcher.devices.transport import RemoteProgramError, Transport, TransportError, printable

OLDEST = (3, 8)

_PROGRAM = "profiler_agent/survey.py"
_NOT_FOUND = 127
_VERSION_BOUND = 1000
_WORD = re.compile(r"[A-Za-z0-9_.+-]{0,40}")


class PythonUnfitError(TransportError):
    """The Python on the device cannot do what is wanted of it."""


@dataclass(frozen=True)
class DeviceSystem:
    """A device's Python and what it stands on.

    Attributes:
        version: of Python: major, minor, micro.
        implementation: in small letters: `cpython`.
        abi_flags: behind the version in names of its binary interface: `t` of one without a global lock.
        system: kernel: `Linux`.
        machine: architecture of the kernel: `aarch64`.
        pointer_bits: 32 or 64, of this Python.
        libc: `glibc`, `musl`, `bionic` (Android) or empty.
        libc_version: its version, or Android's API level; may be empty.
        modules: those that were asked for and are there.
    """

    version: tuple[int, int, int]
    implementation: str
    abi_flags: str
    system: str
    machine: str
    pointer_bits: int
    libc: str
    libc_version: str
    modules: frozenset[str]

    def __post_init__(self) -> None:
        """Refuse what could not be part of a file's name, or of a sentence.

        Raises:
            ValueError: a text is no plain word, or a version none of Python.
        """
        if not all(0 <= part < _VERSION_BOUND for part in self.version):
            raise ValueError("the version is none of Python")
        texts = (self.implementation, self.abi_flags, self.system, self.machine, self.libc, self.libc_version)
        for text in (*texts, *self.modules):
            if not _WORD.fullmatch(text):
                raise ValueError(f"{text[:40]!r} is no plain word")

    @property
    def python(self) -> str:
        """Python's version as people write it."""
        return ".".join(map(str, self.version))


_ADAPTER = TypeAdapter(DeviceSystem)


def survey(transport: Transport, interpreter: str, modules: Sequence[str] = ()) -> DeviceSystem:
    """Ask a device's Python what it is.

    Args:
        transport: the way to the device.
        interpreter: the Python program there.
        modules: names of top-level modules to look for.

    Raises:
        PythonUnfitError: there is no such program, it is no Python, or it is too old for the agent.
        UnreachableError: the link was lost.
        TransportError: its answer is none.
    """
    device = transport.description
    program = agent_files()[_PROGRAM].read_bytes()
    try:
        # However much it says, the last line alone is kept.
        lines = collections.deque(transport.run([interpreter, "-", *modules], standard_input=program), maxlen=1)
    except RemoteProgramError as e:
        raise _unfit(interpreter, device, e) from e
    try:
        system = _ADAPTER.validate_json(lines[-1], strict=True)
    except (ValidationError, IndexError) as e:
        said = printable(lines[-1])[:80] if lines else "nothing"
        raise TransportError(f"{interpreter} on {device} was asked what it is and said {said!r}") from e
    if system.version < OLDEST:
        raise PythonUnfitError(
            f"{interpreter} on {device} is Python {system.python}, and the agent needs 3.8 or newer: "
            "put a newer one beside it, and name it with --python"
        )
    return system


def _unfit(interpreter: str, device: str, failure: RemoteProgramError) -> TransportError:
    if failure.program_status == _NOT_FOUND:
        return PythonUnfitError(
            f"there is no {interpreter} on {device}: install Python 3.8 or newer there, or name one with --python"
        )
    if re.search(r"^(SyntaxError|ImportError|ModuleNotFoundError)\b", failure.standard_error, re.MULTILINE):
        return PythonUnfitError(
            f"{interpreter} on {device} is older than the agent's Python 3.8: name a newer one with --python"
        )
    return failure
