"""Bringing the agent, runtimes and models to a device, once: all lie there under names made of their contents."""

from __future__ import annotations

import hashlib
import tempfile
import zipfile
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from profiler_agent import records
from searcher.artifacts import ExportedModel, sha256_of
from searcher.devices.transport import RemoteProgramError, Transport, TransportError, printable

# Lies in a folder that is whole. It lists the files in the format of `sha256sum`, so that `sha256sum -c complete`
# checks them on the device.
_MARKER = "complete"

_NAME_DIGITS = 16
_UNPACK = "profiler_agent/unpack.py"
# One moment for all, so that equal files make equal archives; the earliest that a zip archive knows.
_LONG_AGO = (1980, 1, 1, 0, 0, 0)


@dataclass(frozen=True)
class DevicePython:
    """What runs the agent on a device.

    Attributes:
        interpreter: the Python program there.
        path: folders for `PYTHONPATH`, relative to the working root: the agent's, and those of packages.
    """

    interpreter: str
    path: tuple[str, ...]

    def run_agent(
        self, transport: Transport, arguments: Sequence[str], standard_input: bytes = b""
    ) -> Generator[str, None, None]:
        """Run an `agent` command there and yield its lines; see `Transport.run`."""
        command = [self.interpreter, "-m", "profiler_agent", *arguments]
        return transport.run(command, standard_input, {"PYTHONPATH": ":".join(self.path)})


def agent_files() -> dict[str, Path]:
    """Return the source files of the installed agent by the names that they have below a `PYTHONPATH` folder."""
    package = Path(records.__file__).parents[1]
    files = {path.relative_to(package.parent).as_posix(): path for path in package.rglob("*.py")}
    return dict(sorted(files.items()))


def deploy_agent(transport: Transport, interpreter: str) -> str:
    """Make sure that the host's version of the agent lies on a device.

    It goes there as one compressed archive, which the device's Python checks and unpacks.

    Args:
        transport: the way to the device.
        interpreter: a Python there; 3.8 or newer, without any package.

    Returns:
        The folder there, relative to the working root, that belongs on `PYTHONPATH`.

    Raises:
        TransportError: the device cannot be reached or written to, or its Python cannot unpack the archive.
    """
    folder = f"agents/{hashlib.sha256(_listing(agent_files())).hexdigest()[:_NAME_DIGITS]}"
    if not transport.exists(f"{folder}/{_MARKER}"):
        with tempfile.TemporaryDirectory() as scratch:
            archive = Path(scratch) / "agent.zip"
            pack_agent(archive)
            _bring(transport, interpreter, {folder: archive})
    return folder


def deploy_packages(transport: Transport, interpreter: str, wheels: Mapping[str, Path]) -> tuple[str, ...]:
    """Make sure that packages lie on a device, unpacked; what is missing is unpacked there in one go.

    Args:
        transport: the way to the device.
        interpreter: a Python there; 3.8 or newer, without any package.
        wheels: files by their hashes; a wheel is an archive of what belongs in a `PYTHONPATH` folder.

    Returns:
        The folders there, relative to the working root, in the wheels' order.

    Raises:
        TransportError: the device cannot be reached or written to, or its Python cannot unpack an archive.
    """
    folders = {f"packages/{sha256[:_NAME_DIGITS]}": wheel for sha256, wheel in wheels.items()}
    missing = {folder: wheel for folder, wheel in folders.items() if not transport.exists(f"{folder}/{_MARKER}")}
    if missing:
        _bring(transport, interpreter, missing)
    return tuple(folders)


def pack_agent(archive: Path) -> None:
    """Write the archive as which the installed agent travels."""
    files = agent_files()
    pack({name: path.read_bytes() for name, path in files.items()} | {_MARKER: _listing(files)}, archive)


def _listing(files: Mapping[str, Path]) -> bytes:
    return "".join(f"{sha256_of(path)}  {name}\n" for name, path in files.items()).encode()


def pack(files: Mapping[str, bytes], archive: Path) -> None:
    """Write a compressed zip archive of files by their names in it; equal files make equal archives."""
    with zipfile.ZipFile(archive, "w") as zipped:
        for name, content in files.items():
            zipped.writestr(zipfile.ZipInfo(name, _LONG_AGO), content, zipfile.ZIP_DEFLATED, compresslevel=9)


def _bring(transport: Transport, interpreter: str, archives: Mapping[str, Path]) -> None:
    """Send archives and unpack each to its folder."""
    # An archive appears under its name only when it is whole, and is deleted when it is unpacked: one that is there was
    # sent before a link was lost.
    there = {f"{folder}.zip": archive for folder, archive in archives.items()}
    transport.send({name: archive for name, archive in there.items() if not transport.exists(name)})
    orders = [text for folder, archive in archives.items() for text in (f"{folder}.zip", sha256_of(archive), folder)]
    # The device has nothing of the agent yet, so this part of it goes through standard input.
    program = agent_files()[_UNPACK].read_bytes()
    try:
        for _ in transport.run([interpreter, "-", *orders], standard_input=program):
            pass
    except RemoteProgramError as e:
        lines = printable(e.standard_error).strip().splitlines()
        if not lines or not lines[-1].startswith("cannot unpack"):
            raise
        raise TransportError(f"{interpreter} on {transport.description} {lines[-1].strip()}") from e


def deploy_models(transport: Transport, models: Sequence[ExportedModel]) -> dict[str, str]:
    """Make sure that model files lie on a device; equal files are sent once, under one path.

    Returns:
        The path there, relative to the working root, of each model's file by the model's name.

    Raises:
        TransportError: the device cannot be reached or written to.
    """
    paths = {model.name: f"models/{model.sha256}{model.path.suffix}" for model in models}
    sources = {paths[model.name]: model.path for model in models}
    # A file appears under its name only when it is whole, so one that is there need not be sent again.
    transport.send({path: source for path, source in sources.items() if not transport.exists(path)})
    return paths
