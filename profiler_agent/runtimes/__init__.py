"""The runtimes that measure models, behind one way to open a session."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Tuple

from profiler_agent.errors import BadInputError, SessionError
from profiler_agent.runtimes.session import Runtime

# Identifier, family, module; within a family the newest first. A module imports its runtime at its top, so it
# is loaded only in the worker process that measures with it.
_RUNTIMES = (
    ("onnxruntime", "onnx", "profiler_agent.runtimes.onnx"),
    ("litert", "tflite", "profiler_agent.runtimes.litert"),
    ("tflite-runtime", "tflite", "profiler_agent.runtimes.tflite_runtime"),
)
_FAMILY_OF_SUFFIX = {".tflite": "tflite"}


def resolve_runtime(name: str) -> Tuple[str, ...]:
    """Return the identifiers to try for an identifier or a family, best first.

    Raises:
        BadInputError: the name is neither.
    """
    matches = tuple(identifier for identifier, family, _ in _RUNTIMES if name in (identifier, family))
    if not matches:
        known = sorted({name for identifier, family, _ in _RUNTIMES for name in (identifier, family)})
        raise BadInputError(f"unknown runtime {name!r}; this agent knows {', '.join(known)}")
    return matches


def family_of_file(model: Path) -> str:
    """Return the family of runtimes that a file's name speaks of: `tflite` for .tflite, else `onnx`."""
    return _FAMILY_OF_SUFFIX.get(model.suffix.lower(), "onnx")


def family_of_runtime(identifier: str) -> str:
    """Return the family of a runtime."""
    return next(family for name, family, _ in _RUNTIMES if name == identifier)


def known_runtimes() -> Tuple[str, ...]:
    """Return all runtime identifiers."""
    return tuple(identifier for identifier, _, _ in _RUNTIMES)


def load_runtime(identifier: str) -> Runtime:
    """Import a runtime.

    Raises:
        SessionError: it is not installed here, or its import fails.
    """
    module_name = next(module for name, _, module in _RUNTIMES if name == identifier)
    try:
        runtime: Runtime = importlib.import_module(module_name).RUNTIME
    except ImportError as e:
        raise SessionError("runtime_missing", f"the runtime {identifier} cannot be imported: {e}") from e
    return runtime


def check_readable(path: Path) -> None:
    """Refuse a path that is no readable file before a runtime words it in its own way.

    Raises:
        SessionError: it is missing, no file, or empty.
    """
    try:
        size = path.stat().st_size if path.is_file() else None
    except OSError as e:
        raise SessionError("unreadable_model", f"cannot read {path}: {e.strerror}") from e
    if size is None:
        kind = f"{path} is no regular file" if path.exists() else f"there is no file {path}"
        raise SessionError("unreadable_model", kind)
    if size == 0:
        raise SessionError("unreadable_model", f"the file {path} is empty")
