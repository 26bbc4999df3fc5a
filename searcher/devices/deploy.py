"""Bringing the agent and models to a device, once: both lie there under names made of their contents."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Sequence
from pathlib import Path

from profiler_agent import records
from searcher.artifacts import ExportedModel, sha256_of
from searcher.devices.transport import Transport

# Sent after everything else: a folder without it is half-sent and never used. It lists the folder's files in
# the format of `sha256sum`, so that `sha256sum -c complete` checks them on the device.
_MARKER = "complete"

_NAME_DIGITS = 16


def agent_files() -> dict[str, Path]:
    """Return the source files of the installed agent by the names that they have below a `PYTHONPATH` folder."""
    package = Path(records.__file__).parents[1]
    files = {path.relative_to(package.parent).as_posix(): path for path in package.rglob("*.py")}
    return dict(sorted(files.items()))


def deploy_agent(transport: Transport) -> str:
    """Make sure that the host's version of the agent lies on a device.

    Returns:
        The folder there, relative to the working root, that belongs on `PYTHONPATH`.

    Raises:
        TransportError: the device cannot be reached or written to.
    """
    files = agent_files()
    listing = "".join(f"{sha256_of(path)}  {name}\n" for name, path in files.items())
    folder = f"agents/{hashlib.sha256(listing.encode()).hexdigest()[:_NAME_DIGITS]}"
    marker = f"{folder}/{_MARKER}"
    if not transport.exists(marker):
        transport.send({f"{folder}/{name}": path for name, path in files.items()})
        with tempfile.TemporaryDirectory() as scratch:
            local_marker = Path(scratch) / _MARKER
            local_marker.write_text(listing, encoding="utf-8")
            transport.send({marker: local_marker})
    return folder


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
