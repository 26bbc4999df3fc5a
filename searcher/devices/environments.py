"""Python environments of their own for runtimes that cannot live beside the host's packages.

tflite-runtime needs numpy 1, and the host's packages need numpy 2: on the local device it gets an environment of its
own, made once with pip and kept in the cache. On other devices the user's Python is what it is.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

from searcher.artifacts import cache_folder
from searcher.devices.device import LOCAL, Device
from searcher.devices.transport import printable
from searcher.errors import SearcherError

_REQUIREMENTS = {"tflite-runtime": ("tflite-runtime", "numpy<2")}
_PIP_TIMEOUT_S = 600
_NAME_DIGITS = 16


class EnvironmentFailedError(SearcherError):
    """A runtime's environment could not be made."""


def interpreter_for(device: Device, runtime: str) -> str:
    """Return the Python that measures with a runtime on a device, making its environment on the local one if need be.

    Args:
        device: as the user names it; a Python that the user chose is taken as it is.
        runtime: identifier or family.

    Raises:
        EnvironmentFailedError: the environment cannot be made: no network, say.
    """
    if device.name != LOCAL or device.python is not None or runtime not in _REQUIREMENTS:
        return device.interpreter
    return str(_environment(_REQUIREMENTS[runtime]) / "bin" / "python")


def _environment(requirements: tuple[str, ...]) -> Path:
    """Return the folder of an environment, made under another name and renamed when it is whole."""
    text = " ".join((sys.version, sys.prefix, *requirements))
    folder = cache_folder() / "environments" / hashlib.sha256(text.encode()).hexdigest()[:_NAME_DIGITS]
    if not folder.exists():
        try:
            folder.parent.mkdir(parents=True, exist_ok=True)
            _make(requirements, folder)
        except OSError as e:
            raise EnvironmentFailedError(f"cannot make an environment in {folder.parent}: {e.strerror or e}") from e
    return folder


def _make(requirements: tuple[str, ...], folder: Path) -> None:
    with tempfile.TemporaryDirectory(prefix=".new-", dir=folder.parent) as scratch:
        new = Path(scratch) / "environment"
        venv.create(new, with_pip=False, symlinks=True)
        command = [sys.executable, "-m", "pip", "--python", str(new / "bin" / "python"), "install", "--quiet"]
        command += ["--disable-pip-version-check", "--only-binary", ":all:", *requirements]
        try:
            result = subprocess.run(command, capture_output=True, text=True, timeout=_PIP_TIMEOUT_S, check=False)
        except subprocess.TimeoutExpired as e:
            raise EnvironmentFailedError(f"pip took more than {_PIP_TIMEOUT_S} s for {requirements[0]}") from e
        if result.returncode != 0:
            errors = [line for line in result.stderr.splitlines() if line.startswith("ERROR: ")] or [
                "it gave no reason"
            ]
            reason = printable(errors[-1].removeprefix("ERROR: "))
            raise EnvironmentFailedError(f"pip cannot install {' and '.join(requirements)}: {reason}")
        # Scripts inside would name the old folder; only its Python is ever used. Another run may have been faster.
        if folder.exists():
            return
        shutil.move(new, folder)
